"""Solvers that step along the equations of noise. All end at s = 0 with the estimate itself."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ddpm_jax import keys as random
from ddpm_jax.processes import Refusal, Traits
from ddpm_jax.processes.process import Images, Keys, Times
from ddpm_jax.samplers.solver import Calls, Problem, Solver
from ddpm_jax.samplers.stepping import StepSolver
from ddpm_jax.schedules import time_of_log_snr


@dataclass(frozen=True)
class Euler(StepSolver):
    """Explicit Euler in t of dx = [f x - (1 + eta^2)/2 g^2 score] dt + eta g dw, run backwards.

    >>> Euler(eta=1.0).evaluations(1000)
    1000

    eta = 0 is the probability flow, eta = 1 Euler-Maruyama on the reverse equation (Song et al. 2021b, eq. 13 and 6).
    The estimate is the posterior's mean. The last step returns it: x_t without its noise (Jolicoeur-Martineau et al.
    2021, section 3.1). The schedule needs derivatives and, where eta > 0, alpha(1) > 0.

    Attributes:
        eta: of the noise's deviation.
        noise_scale: a factor on the fresh noise.
    """

    eta: float = 0.0
    noise_scale: float = 1.0
    etas: ClassVar[tuple[float, float]] = (0, np.inf)
    churns: ClassVar[bool] = True
    derivatives: ClassVar[bool] = True

    @property
    def signal(self) -> bool:
        """Where there is fresh noise."""
        return True

    def refusals(self, name: str, traits: Traits, causal: bool = False) -> Iterator[Refusal]:
        """Also a scale of no noise."""
        yield from super().refusals(name, traits, causal)
        if self.noise_scale != 1 and not self.noisy:
            yield Refusal("noise_scale", "there is no fresh noise to scale; set eta above 0, or leave it 1")

    def step(
        self, problem: Problem, keys: Keys, x_t: Images, memory: PyTree, t: Times, s: Times
    ) -> tuple[Images, Images, PyTree]:
        """One step. No memory."""
        process, (_, keys_noise) = problem.process, random.split(keys)
        x_hat = problem.posterior(x_t, t).mean
        drift = process.velocity(x_t, x_hat, t)
        noise = jnp.zeros_like(x_t)
        if self.eta:
            _, squared = process.drift_diffusion(t, x_t)
            drift = drift - self.eta**2 / 2 * squared * process.score(x_t, x_hat, t)
            noise = (
                self.noise_scale
                * self.eta
                * jnp.sqrt(squared * (t - s))
                * random.normal(keys_noise, x_t.shape, x_t.dtype)
            )
        return jnp.where(s > 0, x_t - (t - s) * drift + noise, x_hat), x_hat, memory


@dataclass(frozen=True)
class ReverseDiffusion(StepSolver):
    """Undo the forward step x_t = a x_s + b noise: x_s = (2 - a) x_t + b^2 score + b noise.

    >>> ReverseDiffusion().evaluations(1000)
    1000

    a = alpha_t/alpha_s and b^2 = sigma_t^2 - a^2 sigma_s^2, which makes Song et al. 2021b's eq. 46 a sampler for any
    schedule, tables too: with alpha = 1 it is their VE form, with a^2 = 1 - beta and b^2 = beta their VP form
    (algorithms 2 and 3). Biased at first order in the step. Needs alpha(1) > 0. The estimate is the posterior's mean,
    and what the last step returns.

    Attributes:
        noise_scale: a factor on the fresh noise.
    """

    noise_scale: float = field(default=1.0, kw_only=True)
    etas: ClassVar[tuple[float, float]] = (1, 1)

    @property
    def signal(self) -> bool:
        """Always."""
        return True

    def step(
        self, problem: Problem, keys: Keys, x_t: Images, memory: PyTree, t: Times, s: Times
    ) -> tuple[Images, Images, PyTree]:
        """One step. No memory."""
        process, (_, keys_noise) = problem.process, random.split(keys)
        x_hat = problem.posterior(x_t, t).mean
        alpha_t, sigma_t = process.at(t, x_t)
        alpha_s, sigma_s = process.at(s, x_t)
        a = alpha_t / alpha_s
        squared = jnp.maximum(jnp.square(sigma_t) - jnp.square(a * sigma_s), 0)
        noise = self.noise_scale * jnp.sqrt(squared) * random.normal(keys_noise, x_t.shape, x_t.dtype)
        x_s = (2 - a) * x_t + squared * process.score(x_t, x_hat, t) + noise
        return jnp.where(s > 0, x_s, x_hat), x_hat, memory


@dataclass(frozen=True)
class Churned(StepSolver):
    """Before each step add noise and go back in time (Karras et al. 2022, algorithm 2), on any schedule.

    >>> from ddpm_jax.samplers import Heun
    >>> Churned(Heun(), amount=40.0).evaluations(256)
    511

    From t the process moves forward to the later time whose sigma/alpha is 1 + gamma times as large, or to t = 1 if
    that is sooner, and the step starts there. gamma = min(amount/N, sqrt 2 - 1) where low <= sigma/alpha <= high,
    else 0.

    Attributes:
        solver: whose steps are taken; it must not remember times.
        amount: S_churn; 0 leaves the step as it is.
        low: S_min, a ratio sigma/alpha.
        high: S_max, a ratio sigma/alpha.
        noise: S_noise, the factor on the noise that is added; a little above 1 makes up for detail that a network
            removes.
    """

    solver: Solver
    amount: float
    low: float = 0.0
    high: float = float("inf")
    noise: float = 1.0

    @property
    def _inner(self) -> StepSolver:
        if not isinstance(self.solver, StepSolver):
            raise ValueError(f"{type(self.solver).__name__} has no steps, before which churn could go")
        return self.solver

    def refusals(self, name: str, traits: Traits, causal: bool = False) -> Iterator[Refusal]:
        """Those of the solver, and what churn itself cannot go with."""
        yield from self.solver.refusals(name, traits, causal)
        if not self.solver.churns:
            yield Refusal("churn", f"{name} takes no churn; set it to 0 or use one of first_order, heun, euler")
        elif traits.kind != "gaussian":
            yield Refusal("churn", "churn is for Gaussian processes; set it to 0")
        if not self.low < self.high:
            yield Refusal("churn_max", f"{self.high} is not above config.sampler.churn_min: no step would be churned")

    def start(self, problem: Problem, x: Images) -> Any:
        """The solver's own."""
        return self._inner.start(problem, x)

    def evaluations(self, steps: int) -> int:
        """The solver's own."""
        return self._inner.evaluations(steps)

    def calls(self, problem: Problem, t: Times, s: Times) -> Calls:
        """The solver's own, in steps that start later."""
        return self._inner.calls(problem, self.later(problem, t), s)

    def later(self, problem: Problem, t: Times) -> Array:
        """The time to which a step from t goes back first."""
        process, t = problem.process, jnp.asarray(t)
        gamma = min(self.amount / problem.steps, 2**0.5 - 1)
        if not gamma > 0:
            return t
        like = jnp.atleast_1d(t)
        alpha, sigma = process.at(t, like)
        inside = (sigma >= self.low * alpha) & (sigma <= self.high * alpha)
        time = time_of_log_snr(process.schedule, process.log_snr(t, like) - 2 * jnp.log1p(gamma))
        return jnp.where(inside & (t < 1), jnp.clip(time, t, 1), t)

    def step(
        self, problem: Problem, keys: Keys, x_t: Images, memory: PyTree, t: Times, s: Times
    ) -> tuple[Images, Images, PyTree]:
        """Back in time, then the solver's step."""
        if not self.amount > 0:
            return self._inner.step(problem, keys, x_t, memory, t, s)
        process, (keys_forward, keys_step) = problem.process, random.split(keys)
        later = self.later(problem, t)
        scaled = process.at(later, x_t)[0] / process.at(t, x_t)[0] * x_t
        added = process.forward(keys_forward, x_t, t, later) - scaled
        x_later = jnp.where(later > t, scaled + self.noise * added, x_t)
        return self._inner.step(problem, keys_step, x_later, memory, later, s)
