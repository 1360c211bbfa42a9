"""Wrappers: a denoiser in, a denoiser out. Order of use: parameterisation, guidance, clipping. Never in training."""

from typing import Any

import jax
import jax.numpy as jnp

from ddpm_jax.denoisers.parameterisation import Denoise
from ddpm_jax.denoisers.posteriors import Normal
from ddpm_jax.processes.process import Images, Times


def clip(denoise: Denoise, low: float = -1.0, high: float = 1.0) -> Denoise:
    """Keep the posterior's mean within the range of the data (Ho et al. 2020, their code)."""

    def clipped(x_t: Images, t: Times, condition: Any) -> Normal:
        posterior = denoise(x_t, t, condition)
        return Normal(jnp.clip(posterior.mean, low, high), posterior.variance)

    return clipped


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
        conditional = jax.tree.map(lambda leaf: leaf[:half], both)
        return conditional.guide(jax.tree.map(lambda leaf: leaf[half:], both), weight)

    return guided
