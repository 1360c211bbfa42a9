"""Parameterisations: what a network's raw output means, raw = p(t) x + q(t) z, and what the network is told.

With x_t = alpha x + sigma z this is a linear system of two equations in (x, z). One solve serves every prediction.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ddpm_jax.denoisers.posteriors import Normal, Output
from ddpm_jax.processes.gaussian import Gaussian
from ddpm_jax.processes.process import Images, Times

Denoise = Callable[[Images, Times, Any], Any]  # (x_t, t, condition) -> posterior

PREDICTIONS: dict[str, Callable[[Array, Array], tuple[Array, Array]]] = {
    "x0": lambda alpha, sigma: (jnp.ones_like(alpha), jnp.zeros_like(alpha)),
    "epsilon": lambda alpha, sigma: (jnp.zeros_like(alpha), jnp.ones_like(alpha)),
    "v": lambda alpha, sigma: (-sigma, alpha),  # Salimans and Ho 2022
}
"""Each prediction's (p, q) from (alpha, sigma)."""

VARIANCES: dict[str, Callable[[Array, Array], Array | None]] = {
    "fixed_small": lambda alpha, sigma: None,
    "fixed_large": lambda alpha, sigma: jnp.square(sigma),
}
"""The variance of x given x_t that makes a step's variance DDPM's lower (beta tilde) or upper (beta) choice.

A point posterior gives q(x_s | x_t, x_hat), whose variance is beta tilde. A normal of variance sigma_t^2 adds
alpha_s^2 rho^4 sigma_t^2 to it, and the sum is beta (Ho et al. 2020, section 3.2). Both hold where
alpha^2 + sigma^2 = 1 and eta = 1.
"""


def solve(
    x_t: Images, raw: Images, alpha: Array, sigma: Array, p: Array, q: Array
) -> tuple[Images, Images, Float[Array, "..."]]:
    """(x, z, scale) from x_t = alpha x + sigma z and raw = p x + q z.

    With det = alpha q - sigma p: x = (q x_t - sigma raw)/det and z = (alpha raw - p x_t)/det. An error in raw is an
    error of scale = sigma/det in the recovered x, with the opposite sign. Needs det != 0.
    """
    det = alpha * q - sigma * p
    return (q * x_t - sigma * raw) / det, (alpha * raw - p * x_t) / det, sigma / det


def gaussian_denoiser(
    network: Callable[[Images, Float[Array, " batch"], Any], Images],
    process: Gaussian,
    prediction: str,
    variance: str,
    told: Callable[[Float[Array, " batch"]], Float[Array, " batch"]],
) -> Denoise:
    """A denoiser for a Gaussian process: `(x_t, t, condition) -> Normal`, for t > 0.

    Args:
        network: `(x_t, time, condition) -> raw`, parameters and mode already bound.
        process: whose alpha and sigma turn raw into the mean.
        prediction: a name in `PREDICTIONS`.
        variance: a name in `VARIANCES`.
        told: the time as the network wants to hear it, `[batch] -> [batch]`.
    """
    coefficients, spread = PREDICTIONS[prediction], VARIANCES[variance]

    def denoise(x_t: Images, t: Times, condition: Any) -> Normal:
        t = jnp.broadcast_to(t, x_t.shape[:1])
        alpha, sigma = process.at(t, x_t)
        p, q = coefficients(alpha, sigma)
        raw = network(x_t, told(t), condition)
        mean, _, scale = solve(x_t, raw, alpha, sigma, p, q)
        return Normal(mean, spread(alpha, sigma), Output(raw, p, q, scale))

    return denoise


def table_index(steps: int) -> Callable[[Float[Array, " batch"]], Float[Array, " batch"]]:
    """The time as published DDPM networks are told it: i - 1 = 0 ... T - 1 for t = i/T."""
    return lambda t: jnp.round(t * steps) - 1
