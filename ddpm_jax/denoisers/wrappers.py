"""Wrappers: a denoiser in, a denoiser out. Never in training.

Order of use: parameterisation, guidance, clipping or temperature. Guidance and temperature serve a causal network's
`start` and `advance` too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from ddpm_jax.denoisers.categorical import check_tempering
from ddpm_jax.denoisers.gaussian import Denoise
from ddpm_jax.denoisers.posteriors import Normal
from ddpm_jax.processes.process import Images, Times


def clip(denoise: Denoise, low: float = -1.0, high: float = 1.0) -> Denoise:
    """Keep the posterior's mean within the range of the data (Ho et al. 2020, their code)."""
    return change_mean(denoise, lambda mean: jnp.clip(mean, low, high))


def threshold(denoise: Denoise, quantile: float) -> Denoise:
    """Dynamic thresholding (Saharia et al. 2022, section 2.3): clip an image's mean to [-m, m] and divide it by m.

    m is the quantile of the image's absolute values, at least 1.
    """

    def mean(x: Images) -> Images:
        most = jnp.quantile(jnp.abs(x.reshape(x.shape[0], -1)), quantile, axis=1)
        most = jnp.maximum(most, 1).reshape(-1, *(1,) * (x.ndim - 1))
        return jnp.clip(x, -most, most) / most

    return change_mean(denoise, mean)


def change_mean(denoise: Denoise, change: Callable[[Images], Images]) -> Denoise:
    """A denoiser whose posterior is a normal about the changed mean, of the same variance."""

    def changed(x_t: Images, t: Times, condition: Any) -> Normal:
        posterior = denoise(x_t, t, condition)
        return Normal(change(posterior.mean), posterior.variance)

    return changed


def as_point(denoise: Denoise) -> Denoise:
    """Only the posterior's mean: what DDIM and ODE solvers step with, whose noise is the step's alone."""

    def point(x_t: Images, t: Times, condition: Any) -> Normal:
        return Normal(denoise(x_t, t, condition).mean)

    return point


@dataclass(frozen=True, eq=False)
class Guided:
    """Classifier-free guidance of a denoiser; made by `guide`."""

    denoise: Any
    weight: float
    null_condition: Any

    def __call__(self, x_t: Images, t: Times, condition: Any) -> Any:
        """The guided posterior: one call on a doubled batch."""
        t = jnp.broadcast_to(t, x_t.shape[:1])
        both = self.denoise(_stack(x_t, x_t), _stack(t, t), _stack(condition, self.null_condition))
        return self._combined(both, x_t.shape[0])

    def start(self, count: int) -> Any:
        """Of a causal network: what it remembers of twice as many images."""
        return self.denoise.start(2 * count)

    def advance(self, cache: Any, x: Images, step: int | Int[Array, ""], condition: Any) -> tuple[Any, Any, Any]:
        """Of a causal network: the guided posterior of the sites of one group."""
        conditions = _stack(condition, self.null_condition)
        both, numbers, cache = self.denoise.advance(cache, _stack(x, x), step, conditions)
        return self._combined(both, x.shape[0]), numbers, cache

    def _combined(self, both: Any, half: int) -> Any:
        return both.rows(slice(None, half)).guide(both.rows(slice(half, None)), self.weight)


def _stack(a: Any, b: Any) -> Any:
    return jax.tree.map(lambda *pair: jnp.concatenate(pair), a, b)


def guide(denoise: Denoise, weight: float, null_condition: Any) -> Guided:
    """Classifier-free guidance (Ho and Salimans 2022): both predictions from one call on a doubled batch.

    `null_condition` has the shape of the condition, with the value that means "none" everywhere; weight = 1 is the
    conditional model as it is.
    """
    return Guided(denoise, weight, null_condition)


@dataclass(frozen=True, eq=False)
class Tempered:
    """A denoiser whose posteriors are tempered; made by `temper`."""

    denoise: Any
    temperature: float
    top_k: int
    nucleus: float

    def __call__(self, x_t: Images, t: Times, condition: Any) -> Any:
        """The tempered posterior."""
        return self._changed(self.denoise(x_t, t, condition))

    def start(self, count: int) -> Any:
        """Of a causal network: what it remembers before the first group."""
        return self.denoise.start(count)

    def advance(self, cache: Any, x: Images, step: int | Int[Array, ""], condition: Any) -> tuple[Any, Any, Any]:
        """Of a causal network: the tempered posterior of the sites of one group."""
        posterior, numbers, cache = self.denoise.advance(cache, x, step, condition)
        return self._changed(posterior), numbers, cache

    def _changed(self, posterior: Any) -> Any:
        return posterior.tempered(self.temperature, self.top_k, self.nucleus)


def temper(denoise: Denoise, temperature: float = 1.0, top_k: int = 0, nucleus: float = 1.0) -> Denoise:
    """Posteriors proportional to p^(1/temperature), cut to the likeliest levels: see `Categorical.tempered`.

    After guidance. The denoiser itself where nothing is to be changed.

    Raises:
        ValueError: temperature <= 0, top_k < 0 or a nucleus outside (0, 1].
    """
    check_tempering(temperature, top_k, nucleus)
    if (temperature, top_k, nucleus) == (1, 0, 1):
        return denoise
    return Tempered(denoise, temperature, top_k, nucleus)
