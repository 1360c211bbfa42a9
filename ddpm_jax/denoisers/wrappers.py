"""Wrappers: a denoiser in, a denoiser out. Never in training.

Order of use: parameterisation, guidance (`guidance.py`), clipping or temperature. Guidance and temperature serve a
causal network's `start` and `advance` too.
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from ddpm_jax.denoisers.categorical import check_tempering
from ddpm_jax.denoisers.posteriors import Normal, Wrapper
from ddpm_jax.processes.process import Images, Times


@dataclass(frozen=True, eq=False)
class Only(Wrapper):
    """A denoiser that is told some of the conditions, where others beside it are told more."""

    denoise: Any
    names: tuple[str, ...]

    def __call__(self, x_t: Images, t: Times, condition: PyTree = None) -> Any:
        """The posterior under these alone."""
        return self.denoise(x_t, t, {name: condition[name] for name in self.names})


@dataclass(frozen=True, eq=False)
class Clipped(Wrapper):
    """The posterior's mean is kept within the range of the data (Ho et al. 2020, their code)."""

    denoise: Any
    low: float = -1.0
    high: float = 1.0

    def __call__(self, x_t: Images, t: Times, condition: PyTree = None) -> Normal:
        """A normal of the same variance about the clipped mean."""
        posterior = self.denoise(x_t, t, condition)
        return Normal(jnp.clip(posterior.mean, self.low, self.high), posterior.variance)


@dataclass(frozen=True, eq=False)
class Thresholded(Wrapper):
    """Dynamic thresholding (Saharia et al. 2022, section 2.3): an image's mean is clipped to [-m, m] and divided by m.

    m is the quantile of the image's absolute values, at least 1.
    """

    denoise: Any
    quantile: float

    def __call__(self, x_t: Images, t: Times, condition: PyTree = None) -> Normal:
        """A normal of the same variance about the mean thresholded."""
        posterior = self.denoise(x_t, t, condition)
        x = posterior.mean
        most = jnp.quantile(jnp.abs(x.reshape(x.shape[0], -1)), self.quantile, axis=1)
        most = jnp.maximum(most, 1).reshape(-1, *(1,) * (x.ndim - 1))
        return Normal(jnp.clip(x, -most, most) / most, posterior.variance)


@dataclass(frozen=True, eq=False)
class Pointed(Wrapper):
    """Only the posterior's mean: what DDIM and ODE solvers step with, whose noise is the step's alone."""

    denoise: Any

    def __call__(self, x_t: Images, t: Times, condition: PyTree = None) -> Normal:
        """The mean, as a point."""
        return Normal(self.denoise(x_t, t, condition).mean)


@dataclass(frozen=True, eq=False)
class Tempered(Wrapper):
    """Posteriors proportional to p^(1/temperature), cut to the likeliest levels: see `Categorical.tempered`.

    After guidance. Raises ValueError: temperature <= 0, top_k < 0 or a nucleus outside (0, 1].
    """

    denoise: Any
    temperature: float = 1.0
    top_k: int = 0
    nucleus: float = 1.0

    def __post_init__(self) -> None:
        check_tempering(self.temperature, self.top_k, self.nucleus)

    def __call__(self, x_t: Images, t: Times, condition: PyTree = None) -> Any:
        """The tempered posterior."""
        return self._changed(self.denoise(x_t, t, condition))

    @property
    def causal(self) -> bool:
        """Whether the denoiser can go on group by group."""
        return getattr(self.denoise, "causal", False)

    def start(self, count: int, condition: PyTree = None, groups: int | None = None) -> Any:
        """Of a causal network: what it remembers before the first group."""
        return self.denoise.start(count, condition, groups)

    def advance(self, cache: PyTree, x: Images, step: int | Int[Array, ""]) -> tuple[Any, Any, Any]:
        """Of a causal network: the tempered posterior of the sites of one group."""
        posterior, numbers, cache = self.denoise.advance(cache, x, step)
        return self._changed(posterior), numbers, cache

    def _changed(self, posterior: Any) -> Any:
        return posterior.tempered(self.temperature, self.top_k, self.nucleus)
