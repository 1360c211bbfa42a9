"""Estimates of the clean image that a step is taken with: what tells one solver from another.

Along a deterministic step x_s = (sigma_s/sigma_t) x_t + sigma_s int x_hat d(alpha/sigma), from t to s: a solver is a
way to put one number for x_hat under that integral. All end plainly: at s = 0 the estimate is the denoiser's own.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ddpm_jax.denoisers import Denoise
from ddpm_jax.processes import Gaussian, Process
from ddpm_jax.processes.process import Images, Keys, Times

Estimate = Callable[[Keys, Images, Times, Times, Any], tuple[Images, Any]]
"""`(keys, x_t, t, s, memory) -> (x_hat, memory)`; the memory is a pytree of fixed shape, t and s one time for all."""


def first_order(denoise: Denoise, condition: Any = None) -> Estimate:
    """One draw of the posterior at (x_t, t), its mean where it is a point; at s = 0 what it ends a chain with.

    With eta = 1 this is ancestral sampling (Ho et al. 2020, algorithm 2), with eta = 0 and a point DDIM (Song et al.
    2021a). No memory.
    """

    def estimate(keys: Keys, x_t: Images, t: Times, s: Times, memory: Any) -> tuple[Images, Any]:
        posterior = denoise(x_t, t, condition)
        return jnp.where(jnp.asarray(s) > 0, posterior.sample(keys), posterior.final(keys)), memory

    return estimate


def heun(process: Process, denoise: Denoise, condition: Any = None) -> Estimate:
    """The mean of the estimates at both ends of the step: the trapezoidal rule, second order at eta = 0.

    The far end is reached by a DDIM step with the first estimate. Where the last step ends at s = 0 there is no second
    evaluation. In the variable alpha/sigma, where Karras et al. 2022 (algorithm 1) average dx/dsigma in sigma/alpha:
    an average of noise estimates would diverge where alpha(1) is tiny. No memory.
    """

    def estimate(keys: Keys, x_t: Images, t: Times, s: Times, memory: Any) -> tuple[Images, Any]:
        near = denoise(x_t, t, condition).mean

        def average() -> Images:
            x_s = process.reverse(keys, x_t, near, t, s, 0.0)
            return (near + denoise(x_s, s, condition).mean) / 2

        return jax.lax.cond(jnp.asarray(s) > 0, average, lambda: near), memory

    return estimate


def dpm_2m(process: Gaussian, denoise: Denoise, condition: Any = None) -> Estimate:
    """DPM-Solver++(2M) (Lu et al. 2022b, algorithm 2): the line through the last two estimates, at mid-step.

    With lambda = log(alpha/sigma), h = lambda_s - lambda_t and h' the step before, x_hat + h/(2 h') (x_hat - last).
    The deterministic step (eta = 0) makes it second order, with one evaluation a step; eta = 1 is their
    SDE-DPM-Solver++(2M). Plain on the first step and at s = 0, and on the second where alpha(1) = 0: h' is infinite,
    and the error h^2 log(1/h).

    Memory: the last estimate and its time, from `nothing_yet(x)`.
    """

    def estimate(keys: Keys, x_t: Images, t: Times, s: Times, memory: Any) -> tuple[Images, Any]:
        last, t_last = memory
        x_hat = denoise(x_t, t, condition).mean
        now = process.log_snr(t, x_t)
        ratio = (process.log_snr(s, x_t) - now) / (now - process.log_snr(t_last, x_t))
        weight = jnp.where((s > 0) & (t_last > 0), ratio / 2, 0)
        return x_hat + weight * (x_hat - last), (x_hat, jnp.asarray(t, x_t.dtype))

    return estimate


def nothing_yet(x: Images) -> tuple[Images, Times]:
    """The memory of `dpm_2m` before its first step: no estimate, and a time at which there is none."""
    return jnp.zeros_like(x), jnp.zeros((), x.dtype)
