"""What follows from a schedule t -> (alpha, sigma): log-SNR and its inverse, derivatives, drift and diffusion."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddpm_jax.schedules.table import Pair, Schedule, Table, Time


def log_snr(schedule: Schedule, t: Time) -> Float[Array, "*time"]:
    """2 log(alpha/sigma), lambda in the literature; infinite where sigma = 0, minus infinite where alpha = 0."""
    alpha, sigma = schedule(t)
    return 2 * (jnp.log(alpha) - jnp.log(sigma))


def time_of_log_snr(schedule: Schedule, value: Time) -> Float[Array, "*time"]:
    """The t in (0, 1] whose log-SNR is `value`, for any schedule whose log-SNR falls in t.

    By bisection, with a relative error of t of about the dtype's. It is 1 where `value` is below the schedule's least,
    and next to 0 where it is above its largest. For a table it is the time of the entry with the nearest log-SNR.
    """
    if isinstance(schedule, Table):
        alphas, sigmas = schedule.alphas[1:], schedule.sigmas[1:]
        with np.errstate(divide="ignore"):
            entries = 2 * (np.log(alphas) - np.log(sigmas))
        middles = (entries[:-1] + entries[1:]) / 2
        if isinstance(value, np.ndarray) and value.dtype == np.float32:  # the same, without a program an operation
            index = 1 + np.searchsorted(-middles.astype(value.dtype), -value, side="right")
            return jnp.asarray((index / schedule.steps).astype(value.dtype))
        value = jnp.asarray(value)
        between = jnp.asarray(middles, value.dtype)
        index = 1 + jnp.searchsorted(-between, -value, side="right")
        return (index / schedule.steps).astype(value.dtype)
    value = jnp.asarray(value)

    def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        above = log_snr(schedule, middle) > value
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    rounds = 2 * jnp.finfo(value.dtype).nmant  # the digits of t, and as many again for zeros before them
    return jax.lax.fori_loop(0, rounds, halve, (jnp.zeros_like(value), jnp.ones_like(value)))[1]


def rates(schedule: Schedule, t: Time) -> Pair:
    """(alpha', sigma'), the derivatives in t. Raises ValueError for a table, which has none."""
    if isinstance(schedule, Table):
        raise ValueError("a table has no derivative in t; see `interpolated`")
    t = jnp.asarray(t)
    return jax.jvp(schedule, (t,), (jnp.ones_like(t),))[1]


def drift_diffusion(schedule: Schedule, t: Time) -> Pair:
    """(f, g^2) of the forward equation dx = f x dt + g dw: f = alpha'/alpha, g^2 = (sigma^2)' - 2 f sigma^2.

    It is the equation whose solution from x is alpha x + sigma z in law (Song et al. 2021b, eq. 29, solved for f and
    g). Infinite where alpha = 0. Raises ValueError for a table.
    """
    alpha, sigma = schedule(t)
    alpha_rate, sigma_rate = rates(schedule, t)
    drift = alpha_rate / alpha
    return drift, 2 * sigma * (sigma_rate - drift * sigma)
