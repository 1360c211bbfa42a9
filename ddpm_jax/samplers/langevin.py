"""Langevin moves: x + e score + sqrt(2 e) noise leaves the law of x_t as it is, up to a bias of the step size e."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ddpm_jax import keys as random
from ddpm_jax.processes import Refusal
from ddpm_jax.processes.process import Images, Keys, Times
from ddpm_jax.samplers.solver import Calls, Problem
from ddpm_jax.samplers.stepping import StepSolver
from ddpm_jax.samplers.steps import ReverseDiffusion


@dataclass(frozen=True)
class PredictorCorrector(ReverseDiffusion):
    """A step of reverse diffusion, then Langevin moves at the level just reached (Song et al. 2021b, algorithms 4, 5).

    >>> PredictorCorrector(corrector_steps=2).evaluations(10)
    28

    The step size is e = 2 (snr |noise| / |score|)^2, so that `snr` is the ratio of the two parts of a move. Where the
    score is a normal's, moves widen the law's variance by about snr^2, whatever the grid. No moves at s = 0.

    Two things differ from the paper. The norms are an example's, not a mean over the batch, because randomness belongs
    to the example; so this is for images: with few dimensions an example's norms are far from steady. And the VP form's
    factor 1 - beta_i is left out: it belongs to one table of 1000 steps, where it lies in 0.98 ... 1, and the norm of
    the score already scales the step as alpha^2.

    Attributes:
        snr: r of the step size.
        corrector_steps: moves at each level.
        predict: take the predictor's steps; else the state goes to the next level unchanged, and the moves alone bring
            it there (their "corrector only").
    """

    snr: float = 0.16
    corrector_steps: int = 1
    predict: bool = True

    def step(
        self, problem: Problem, keys: Keys, x_t: Images, memory: PyTree, t: Times, s: Times
    ) -> tuple[Images, Images, PyTree]:
        """One step of reverse diffusion, or none. No memory."""
        if self.predict:
            return super().step(problem, keys, x_t, memory, t, s)
        x = jax.lax.cond(s > 0, lambda: x_t, lambda: problem.posterior(x_t, t).mean)
        return x, x, memory

    def correct(self, problem: Problem, keys: Keys, x_s: Images, s: Times) -> Images:
        """`corrector_steps` moves at level s; none at s = 0."""

        def move(j: Any, carry: tuple[Keys, Images, Times]) -> tuple[Keys, Images, Times]:
            keys, x, s = carry
            score = problem.process.score(x, problem.posterior(x, s).mean, s)
            noise = random.normal(random.fold_in(keys, j), x.shape, x.dtype)
            axes = tuple(range(1, x.ndim))
            power = 2 * self.snr**2 * jnp.square(noise).sum(axes, keepdims=True)
            size = power / jnp.square(score).sum(axes, keepdims=True)
            return keys, x + size * score + jnp.sqrt(2 * size) * noise, s

        def moved() -> Images:
            return jax.lax.fori_loop(0, self.corrector_steps, move, (keys, x_s, s))[1]

        return jax.lax.cond(s > 0, moved, lambda: x_s)

    def evaluations(self, steps: int) -> int:
        """One a step, and one a move; the last step has none. Without a predictor only the last step has one."""
        return (steps if self.predict else 1) + (steps - 1) * self.corrector_steps

    def calls(self, problem: Problem, t: Times, s: Times) -> Calls:
        """One at t, and the moves at s."""
        return ((1 if self.predict else s == 0, t), (self.corrector_steps * (s > 0), s))


@dataclass(frozen=True)
class AnnealedLangevin(StepSolver):
    """Annealed Langevin dynamics (Song and Ermon 2019, algorithm 1): stay at level t for some moves, then go to s.

    >>> AnnealedLangevin(corrector_steps=5).evaluations(20)
    101

    A move is x + e/2 score + sqrt(e) noise with e = epsilon sigma_i^2/sigma_L^2 in the paper's letters, where sigma_L
    is that of the grid's last level (in units of alpha). Where the score is a normal's, moves widen the law's variance
    by about a quarter of epsilon/sigma_L^2 (2e-5/0.01^2 = 0.2 there), whatever the grid, and diverge at 4. The state
    goes to the next level unchanged.

    Attributes:
        langevin_step: epsilon, in units of x^2.
        corrector_steps: moves a level.
        end: end with the estimate at the last level, which costs one more evaluation (Jolicoeur-Martineau et al.
            2021); else with that level's x_t, as first published.
    """

    langevin_step: float = 2e-5
    corrector_steps: int = 100
    end: bool = True
    etas: ClassVar[tuple[float, float]] = (1, 1)

    def relative_step(self, problem: Problem, like: Images) -> Any:
        """The step size over the level's variance, free of units."""
        assert problem.grid is not None
        return self.langevin_step * problem.process.snr(jnp.asarray(problem.grid[-2], like.dtype), like)

    def step(
        self, problem: Problem, keys: Keys, x_t: Images, memory: PyTree, t: Times, s: Times
    ) -> tuple[Images, Images, PyTree]:
        """The moves at level t. No memory."""
        process, size = problem.process, self.relative_step(problem, x_t)
        _, sigma = process.at(t, x_t)

        def move(j: Any, carry: tuple[Images, Images]) -> tuple[Images, Images]:
            x, _ = carry
            x_hat = problem.posterior(x, t).mean
            noise = random.normal(random.fold_in(keys, j), x.shape, x.dtype)
            drift = jnp.square(sigma) * process.score(x, x_hat, t)
            return x + size / 2 * drift + jnp.sqrt(size) * sigma * noise, x_hat

        x, x_hat = jax.lax.fori_loop(0, self.corrector_steps, move, (x_t, jnp.zeros_like(x_t)))
        if self.end:
            x_hat = jax.lax.cond(s > 0, lambda: x_hat, lambda: problem.posterior(x, t).mean)
            x = jnp.where(s > 0, x, x_hat)
        return x, x_hat, memory

    def evaluations(self, steps: int) -> int:
        """One a move, and one for the end."""
        return steps * self.corrector_steps + self.end

    def calls(self, problem: Problem, t: Times, s: Times) -> Calls:
        """The moves at t, and one more before s = 0 for the end."""
        return ((self.corrector_steps, t), (self.end * (s == 0), t))

    def diverging(self, schedule: Any, grid: np.ndarray) -> Iterator[Refusal]:
        """Whether its moves diverge at the last level of a grid."""
        alpha, sigma = schedule(np.asarray(grid[-2:-1], np.float32))
        ratio = float((sigma / alpha)[0]) ** 2
        if self.langevin_step >= 4 * ratio:
            yield Refusal(
                "langevin_step",
                f"moves diverge from 4 (sigma/alpha)^2 at the last level, here {4 * ratio:.2g}; use {0.2 * ratio:.2g}",
            )
