"""Wrappers: a denoiser in, a denoiser out. Order of use: parameterisation, guidance, clipping. Never in training."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ddpm_jax.denoisers.parameterisation import Denoise
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


def guide(denoise: Denoise, weight: float, null_condition: Any) -> Denoise:
    """Classifier-free guidance (Ho and Salimans 2022): both predictions from one call on a doubled batch.

    `null_condition` has the shape of the condition, with the value that means "none" everywhere; weight = 1 is the
    conditional model as it is.
    """

    def guided(x_t: Images, t: Times, condition: Any) -> Any:
        def double(a: Any, b: Any) -> Any:
            return jax.tree.map(lambda *pair: jnp.concatenate(pair), a, b)

        t = jnp.broadcast_to(t, x_t.shape[:1])
        both = denoise(double(x_t, x_t), double(t, t), double(condition, null_condition))
        half = x_t.shape[0]
        return both.rows(slice(None, half)).guide(both.rows(slice(half, None)), weight)

    return guided
