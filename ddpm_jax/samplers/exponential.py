"""Solvers of the equation in lambda = log(alpha/sigma): DPM-Solver++ and UniPC (Lu et al. 2022b; Zhao et al. 2023).

From t to s, x_s = (sigma_s/sigma_t) x_t + alpha_s int exp(lambda - lambda_s) x_hat dlambda (Lu et al. 2022b, eq. 8). So
a step is the process's own with a mean of x_hat over it, and a polynomial in lambda gives that mean.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ddpm_jax import keys as random
from ddpm_jax.processes.process import Images, Keys, Times
from ddpm_jax.samplers.estimates import NoisyStep, ReverseStep
from ddpm_jax.samplers.extrapolation import Past, decaying, even, mean
from ddpm_jax.samplers.solver import Calls, Problem
from ddpm_jax.schedules import time_of_log_snr
from ddpm_jax.schedules.grids import NEAR_END
from ddpm_jax.schedules.table import Table


def log_ratio(problem: Problem, t: Times, like: Images) -> Float[Array, ""]:
    """lambda = log(alpha/sigma)."""
    return (problem.process.log_snr(t, like) / 2).reshape(())


@dataclass(frozen=True)
class DPM2M(NoisyStep):
    """DPM-Solver++(2M) (Lu et al. 2022b, algorithm 2): the line through the last two estimates, at mid-step.

    >>> DPM2M().evaluations(20)
    20

    With h = lambda_s - lambda_t and h' the step before, x_hat + h/(2 h') (x_hat - last). The deterministic step (eta =
    0) makes it second order, with one evaluation a step; eta = 1 is their SDE-DPM-Solver++(2M). Plain on the first step
    and at s = 0, and on the second where alpha(1) = 0: h' is infinite, and the error h^2 log(1/h).
    """

    most: ClassVar[int] = 2

    def start(self, problem: Problem, x: Images) -> Past:
        """No estimate yet."""
        return Past.none(x, self.most)

    def moments(self, problem: Problem, x_t: Images, t: Times, s: Times) -> list:
        """Of the weight over the step."""
        return even(self.most)

    def estimate(
        self, problem: Problem, keys: Keys, x_t: Images, memory: Past, t: Times, s: Times
    ) -> tuple[Images, Past]:
        """The polynomial's mean. Memory: the estimates."""
        x_hat = problem.posterior(x_t, t).mean
        past = memory.then(x_hat, log_ratio(problem, t, x_t))
        several = past.mean(log_ratio(problem, s, x_t), self.moments(problem, x_t, t, s))
        return jnp.where((jnp.asarray(s) > 0) & (past.count > 0), several, x_hat), past


@dataclass(frozen=True)
class DPM3M(DPM2M):
    """DPM-Solver++(3M): the parabola through the last three estimates, with the weight of the exact solution.

    >>> DPM3M().evaluations(20)
    20

    Third order at eta = 0 (Lu et al. 2022b, section 4.2); with fresh noise k-diffusion's `dpmpp_3m_sde`, whose weight
    decays with that of x_t. Lower orders on the first steps, and plain at s = 0. Where a step of lambda is far longer
    than the next, as the first of `ddpm_cosine` is on an even grid, its parabola errs widely with fresh noise.
    """

    most: ClassVar[int] = 3

    def moments(self, problem: Problem, x_t: Images, t: Times, s: Times) -> list:
        """Of exp(-d), where exp(-d) is what the step leaves of x_t/sigma_t, times alpha_t/alpha_s."""
        step = log_ratio(problem, s, x_t) - log_ratio(problem, t, x_t)
        ratio = jnp.exp(-2 * step)
        share = jnp.asarray(self.share(ratio), x_t.dtype)
        fresh = jnp.minimum(share**2 * (1 - ratio), 1)
        return decaying(step - jnp.log1p(-jnp.minimum(fresh, 1 - 1e-12)) / 2, self.most)


@dataclass(frozen=True)
class DPM2S(ReverseStep):
    """DPM-Solver++(2S) (Lu et al. 2022b, algorithm 1) with r = 1/2: the estimate at mid-step, reached by a DDIM step.

    >>> DPM2S().evaluations(10)
    19

    Second order, two evaluations a step and nothing to remember. The middle is that of lambda; where alpha(1) = 0 it
    is taken to start at t = 1 - 1e-3. On a table the middle is the entry that is nearest, or s where none lies between,
    and the line through both estimates is read at mid-step. Plain at s = 0.
    """

    def estimate(
        self, problem: Problem, keys: Keys, x_t: Images, memory: PyTree, t: Times, s: Times
    ) -> tuple[Images, PyTree]:
        """On the line through the estimates at t and at mid-step. No memory."""
        near = problem.posterior(x_t, t).mean

        def halfway() -> Images:
            at, weight = self._middle(problem, x_t, t, s)
            x_at = problem.process.reverse(keys, x_t, near, t, at, 0.0)
            return near + weight * (problem.posterior(x_at, at).mean - near)

        return jax.lax.cond(jnp.asarray(s) > 0, halfway, lambda: near), memory

    def _middle(self, problem: Problem, x_t: Images, t: Times, s: Times) -> tuple[Array, Array]:
        """The time of the middle, and the weight of its estimate on the line through both, read at mid-step."""
        schedule = problem.process.known
        last = 1 - 1 / schedule.steps if isinstance(schedule, Table) else NEAR_END
        now, end = log_ratio(problem, t, x_t), log_ratio(problem, s, x_t)
        start = jnp.where(jnp.isfinite(now), now, log_ratio(problem, jnp.asarray(last, now.dtype), x_t))
        at = time_of_log_snr(schedule, start + end)
        middle = log_ratio(problem, at, x_t)
        between = (start < middle) & (middle < end)
        middle = jnp.where(between, middle, end)
        weight = (end - start) / (2 * jnp.where(middle > start, middle - start, 1))
        return jnp.where(between, at, s), jnp.where(middle > start, weight, 0.5)

    def evaluations(self, steps: int) -> int:
        """Two a step, but one in the last."""
        return 2 * steps - 1

    def calls(self, problem: Problem, t: Times, s: Times) -> Calls:
        """One at t, and one in the middle; at s = 0 none."""
        x = jnp.zeros((1, 1), jnp.asarray(t).dtype)
        middle = jax.vmap(lambda t, s: self._middle(problem, x, t, s)[0])(t, s)
        return ((1, t), (s > 0, jnp.where(s > 0, middle, s)))


@dataclass(frozen=True)
class UniPC(ReverseStep):
    """UniPC (Zhao et al. 2023): a step by the polynomial through past estimates, mended once the next is known.

    >>> UniPC(solver_order=3).evaluations(20)
    20

    At t the network answers at the x_t that was predicted. With its answer the last step is taken again (their UniC,
    algorithm 1), which costs nothing more, and then the next (UniP, algorithm 2). Their B_2(h) variant in x: the line
    has its weight at mid-step, in the predictor of order 2 and in the corrector of the first step; all other weights
    are those of the exact solution. Order p of the predictor makes order p + 1. Plain at s = 0.

    Attributes:
        solver_order: how many estimates the predictor takes, 1 to 3.
    """

    solver_order: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.solver_order <= 3:
            raise ValueError(f"a solver_order of {self.solver_order} is not from 1 to 3")

    def start(self, problem: Problem, x: Images) -> tuple[Past, Images, Images, Times]:
        """No estimate yet, no step to mend."""
        return Past.none(x, self.solver_order), x, x, jnp.zeros((), x.dtype)

    def estimate(
        self, problem: Problem, keys: Keys, x_t: Images, memory: Any, t: Times, s: Times
    ) -> tuple[Images, PyTree]:
        """The predictor's. Memory: the estimates, x at the last time, mended, what it became, and that time."""
        past = memory[0]
        step = log_ratio(problem, s, x_t) - past.places[0]
        exact = decaying(jnp.maximum(step, 0), self.solver_order)
        moments = [jnp.where(past.count == 2, flat, own) for flat, own in zip(even(len(exact)), exact, strict=True)]
        several = past.mean(log_ratio(problem, s, x_t), moments)
        return jnp.where((jnp.asarray(s) > 0) & (past.count > 0), several, past.values[0]), memory

    def step(
        self, problem: Problem, keys: Keys, x_t: Images, memory: Any, t: Times, s: Times
    ) -> tuple[Images, Images, PyTree]:
        """The last step again, then this one. Memory as for `estimate`."""
        keys_estimate, keys_reverse = random.split(keys)
        x_hat = problem.posterior(x_t, t).mean
        past, x_last, predicted, t_last = memory
        before, mean = jnp.where(t_last > 0, t_last, 1), self._corrected(problem, past, x_hat, t, x_t)
        mended = problem.process.reverse(keys_reverse, x_last, mean, before, t, 0.0)
        # what was done to the state after the last step is done to the mended one
        x_t = jnp.where(past.count > 0, mended + (x_t - predicted), x_t).astype(x_t.dtype)
        past = past.then(x_hat, log_ratio(problem, t, x_t))
        x_hat, _ = self.estimate(problem, keys_estimate, x_t, (past,), t, s)
        # the estimate falls back on the newest value, which is kept even where lambda is infinite
        x_s = problem.process.reverse(keys_reverse, x_t, x_hat, t, s, 0.0).astype(x_t.dtype)
        return x_s, x_hat, (past, x_t, x_s, jnp.asarray(t, x_t.dtype))

    def _corrected(self, problem: Problem, past: Past, x_hat: Images, t: Times, like: Images) -> Images:
        """The mean over the last step by the estimates before it and the new one at its end."""
        step = log_ratio(problem, t, like) - past.places[0]
        exact = decaying(jnp.maximum(step, 0), self.solver_order + 1)
        moments = [jnp.where(past.count == 1, flat, own) for flat, own in zip(even(len(exact)), exact, strict=True)]
        older = range(1, self.solver_order)
        places = [0.0, 1.0, *past.relative(step)[1:]]
        values = [past.values[0], x_hat, *(past.values[j] for j in older)]
        return mean(values, places, [True, True, *(j < past.count for j in older)], moments)
