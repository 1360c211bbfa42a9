"""Solvers that take the steps of a grid, and the one loop that all of them walk by."""

import itertools
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from ddpm_jax import keys as random
from ddpm_jax.processes.process import Images, Keys, Times
from ddpm_jax.samplers.solver import After, Calls, Film, Problem, Solver


class StepSolver(Solver):
    """A solver that takes a step from t down to s, again and again, along the grid: one compiled loop.

    >>> from ddpm_jax.samplers import Tsit5
    >>> issubclass(Tsit5, StepSolver)
    False
    """

    walks: ClassVar[bool] = True

    @abstractmethod
    def step(
        self, problem: Problem, keys: Keys, x_t: Images, memory: PyTree, t: Times, s: Times
    ) -> tuple[Images, Images, PyTree]:
        """One step from t down to s, both one time for all: `(x_s, x_hat, memory)`."""

    def start(self, problem: Problem, x: Images) -> Any:
        """What it remembers before the first step: a pytree whose shapes stay."""
        return None

    def stages(self, problem: Problem, x: Images) -> tuple[int, ...]:
        """The steps, between the first and the last, before which what it remembers changes its shapes."""
        return ()

    def enter(self, problem: Problem, x: Images, memory: PyTree, last: int) -> Any:
        """What it remembers, in the shapes that it has up to step `last`."""
        return memory

    def correct(self, problem: Problem, keys: Keys, x_s: Images, s: Times) -> Images:
        """What it does to the state after a step."""
        return x_s

    def evaluations(self, steps: int) -> int:
        """One a step."""
        return steps

    def calls(self, problem: Problem, t: Times, s: Times) -> Calls:
        """The calls of the denoiser in steps from t to s, both arrays of as many times: one at t."""
        return ((1, t),)

    def solve(
        self,
        problem: Problem,
        keys: Keys,
        x: Images,
        frames: tuple[int, ...] = (),
        after: After | None = None,
    ) -> tuple[Images, Film, Int[Array, " batch"]]:
        """Walk down the grid. Step i uses `fold_in(keys, i)`; only the frames asked for are kept in memory."""
        x, film = walk(self, problem, keys, x, frames, after)
        return x, film, self.counted(problem, x)

    def counted(self, problem: Problem, x: Images) -> Int[Array, " batch"]:
        """The network evaluations of each of the images x."""
        times, falls = jnp.asarray(problem.grid, x.dtype), ~problem.rises
        return jnp.full(x.shape[0], problem.cost(self.calls(problem, times[:-1][falls], times[1:][falls])))


@dataclass(frozen=True, eq=False)
class Walk:
    """A walk down a grid, a step at a time: `walk` takes all of them in one program.

    Attributes:
        solver: whose steps they are.
        problem: with the grid, which says whether any step rises.
        keys: step i uses `fold_in(keys, i)`.
        after: see `Solver.solve`.
    """

    solver: StepSolver
    problem: Problem
    keys: Keys
    after: After | None = None

    def step(
        self, x_t: Images, memory: PyTree, i: int | Int[Array, ""], t: Times, s: Times
    ) -> tuple[Images, Images, Any]:
        """Step i, from t to s: x_s, the x_hat that it used, and what the solver remembers."""
        keys_step, keys_correct, keys_after = random.split(random.fold_in(self.keys, i), 3)

        def fall() -> tuple[Images, Images, Any]:
            x_s, x_hat, later = self.solver.step(self.problem, keys_step, x_t, memory, t, s)
            corrected = self.solver.correct(self.problem, keys_correct, x_s, s)
            return corrected.astype(x_t.dtype), x_hat.astype(x_t.dtype), later

        def rise() -> tuple[Images, Images, Any]:
            x_s = self.problem.process.forward(keys_step, x_t, t, s)
            return x_s.astype(x_t.dtype), x_t, self.solver.start(self.problem, x_t)

        x_s, x_hat, later = jax.lax.cond(s > t, rise, fall) if self.problem.rises.any() else fall()
        if self.after is not None:
            x_s = self.after(keys_after, x_s, s).astype(x_t.dtype)
        return x_s, x_hat, later


def walk(
    solver: StepSolver,
    problem: Problem,
    keys: Keys,
    x: Images,
    frames: tuple[int, ...] = (),
    after: After | None = None,
) -> tuple[Images, Film]:
    """x at time 0, and the pair of x_t before each step of `frames` with the x_hat that the step used."""
    times, one = jnp.asarray(problem.grid, x.dtype), Walk(solver, problem, keys, after)
    steps = len(times) - 1
    slots = np.full(steps, len(frames), np.int32)  # a step outside `frames` writes to a slot that is thrown away
    slots[list(frames)] = np.arange(len(frames))
    film = jnp.zeros((2, len(frames) + 1, *x.shape), x.dtype) if frames else None

    def body(carry: tuple, inputs: tuple) -> tuple[tuple, None]:
        x_t, memory, film = carry
        *which, slot = inputs
        x_s, x_hat, memory = one.step(x_t, memory, *which)
        if film is not None:
            film = film.at[:, slot].set(jnp.stack([x_t, x_hat]).astype(film.dtype))
        return (x_s, memory, film), None

    memory, inputs = solver.start(problem, x), (jnp.arange(steps), times[:-1], times[1:], jnp.asarray(slots))
    for first, last in itertools.pairwise((0, *solver.stages(problem, x), steps)):
        start = (x, solver.enter(problem, x, memory, last), film)
        stage = jax.tree.map(lambda every, rows=slice(first, last): every[rows], inputs)
        (x, memory, film), _ = jax.lax.scan(body, start, stage)
    if film is None:
        empty = jnp.zeros((0, *x.shape), x.dtype)
        return x, (empty, empty)
    return x, (film[0, :-1], film[1, :-1])
