"""Steps from t down to s. Each maker binds a process and an estimate; all end at s = 0 with the estimate itself."""

from typing import Any

import jax.numpy as jnp

from ddpm_jax import keys as random
from ddpm_jax.processes import Gaussian, Process
from ddpm_jax.processes.process import Images, Keys, Times
from ddpm_jax.samplers.estimates import Estimate
from ddpm_jax.samplers.loop import Step
from ddpm_jax.schedules import time_of_log_snr


def posterior_step(process: Process, estimate: Estimate, eta: float) -> Step:
    """The process's own reverse step, a draw of q(x_s | x_t, x_hat). `eta` scales its fresh randomness."""

    def step(keys: Keys, x_t: Images, memory: Any, t: Times, s: Times) -> tuple[Images, Images, Any]:
        keys_estimate, keys_reverse = random.split(keys)
        x_hat, memory = estimate(keys_estimate, x_t, t, s, memory)
        return process.reverse(keys_reverse, x_t, x_hat, t, s, eta), x_hat, memory

    return step


def euler(process: Gaussian, estimate: Estimate, eta: float) -> Step:
    """Explicit Euler in t of dx = [f x - (1 + eta^2)/2 g^2 score] dt + eta g dw, run backwards.

    eta = 0 is the probability flow, eta = 1 Euler-Maruyama on the reverse equation (Song et al. 2021b, eq. 13 and 6).
    The estimate is the posterior's mean. The last step returns it: x_t without its noise (Jolicoeur-Martineau et al.
    2021, section 3.1). The schedule needs derivatives and, where eta > 0, alpha(1) > 0.
    """

    def step(keys: Keys, x_t: Images, memory: Any, t: Times, s: Times) -> tuple[Images, Images, Any]:
        keys_estimate, keys_noise = random.split(keys)
        x_hat, memory = estimate(keys_estimate, x_t, t, s, memory)
        drift = process.velocity(x_t, x_hat, t)
        noise = jnp.zeros_like(x_t)
        if eta:
            _, squared = process.drift_diffusion(t, x_t)
            drift = drift - eta**2 / 2 * squared * process.score(x_t, x_hat, t)
            noise = eta * jnp.sqrt(squared * (t - s)) * random.normal(keys_noise, x_t.shape)
        return jnp.where(s > 0, x_t - (t - s) * drift + noise, x_hat), x_hat, memory

    return step


def reverse_diffusion(process: Gaussian, estimate: Estimate) -> Step:
    """Undo the forward step x_t = a x_s + b noise: x_s = (2 - a) x_t + b^2 score + b noise.

    a = alpha_t/alpha_s and b^2 = sigma_t^2 - a^2 sigma_s^2, which makes Song et al. 2021b's eq. 46 a sampler for any
    schedule, tables too: with alpha = 1 it is their VE form, with a^2 = 1 - beta and b^2 = beta their VP form
    (algorithms 2 and 3). Biased at first order in the step. Needs alpha(1) > 0. The estimate is the posterior's mean,
    and what the last step returns.
    """

    def step(keys: Keys, x_t: Images, memory: Any, t: Times, s: Times) -> tuple[Images, Images, Any]:
        keys_estimate, keys_noise = random.split(keys)
        x_hat, memory = estimate(keys_estimate, x_t, t, s, memory)
        alpha_t, sigma_t = process.at(t, x_t)
        alpha_s, sigma_s = process.at(s, x_t)
        a = alpha_t / alpha_s
        squared = jnp.maximum(jnp.square(sigma_t) - jnp.square(a * sigma_s), 0)
        noise = jnp.sqrt(squared) * random.normal(keys_noise, x_t.shape)
        x_s = (2 - a) * x_t + squared * process.score(x_t, x_hat, t) + noise
        return jnp.where(s > 0, x_s, x_hat), x_hat, memory

    return step


def churn(
    process: Gaussian,
    step: Step,
    steps: int,
    amount: float,
    low: float = 0.0,
    high: float = float("inf"),
    noise: float = 1.0,
) -> Step:
    """Before each step add noise and go back in time (Karras et al. 2022, algorithm 2), on any schedule.

    From t the process moves forward to the later time whose sigma/alpha is 1 + gamma times as large, or to t = 1 if
    that is sooner, and the step starts there. gamma = min(amount/steps, sqrt 2 - 1) where low <= sigma/alpha <= high,
    else 0.

    Args:
        process: whose forward step adds the noise.
        step: a step without memory of times.
        steps: N, the number of steps in the grid.
        amount: S_churn; 0 leaves the step as it is.
        low: S_min, a ratio sigma/alpha.
        high: S_max, a ratio sigma/alpha.
        noise: S_noise, the factor on the noise that is added; a little above 1 makes up for detail that a network
            removes.
    """
    gamma = min(amount / steps, 2**0.5 - 1)

    def churned(keys: Keys, x_t: Images, memory: Any, t: Times, s: Times) -> tuple[Images, Images, Any]:
        keys_forward, keys_step = random.split(keys)
        alpha, sigma = process.at(t, x_t)
        inside = (sigma >= low * alpha) & (sigma <= high * alpha)
        later = time_of_log_snr(process.schedule, process.log_snr(t, x_t) - 2 * jnp.log1p(gamma))
        later = jnp.where(inside & (t < 1), jnp.clip(later, t, 1), t)
        scaled = process.at(later, x_t)[0] / alpha * x_t
        added = process.forward(keys_forward, x_t, t, later) - scaled
        x_later = jnp.where(later > t, scaled + noise * added, x_t)
        return step(keys_step, x_later, memory, later, s)

    return churned if gamma > 0 else step
