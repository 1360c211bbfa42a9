"""Classical rules for equations, along the lines of `coordinates.py`: Heun's, Adams and Bashforth's, PNDM's."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ddpm_jax.processes import Refusal, Traits
from ddpm_jax.processes.process import Images, Keys, Times
from ddpm_jax.samplers.coordinates import COORDINATES, Place, noise_ratio
from ddpm_jax.samplers.estimates import ReverseStep
from ddpm_jax.samplers.extrapolation import Past, even
from ddpm_jax.samplers.solver import Calls, Problem


@dataclass(frozen=True)
class AlongLine(ReverseStep):
    """A step by some mean of the velocity along a line, told as an estimate of x.

    >>> issubclass(Heun, AlongLine)
    True

    Attributes:
        coordinate: the line, of `COORDINATES`.
    """

    coordinate: str = "line"

    def __post_init__(self) -> None:
        if self.coordinate not in COORDINATES:
            raise ValueError(f"unknown coordinate {self.coordinate!r}; choose from {', '.join(COORDINATES)}")

    def place(self, problem: Problem, t: Times, like: Images) -> Place:
        """Of a time on the line."""
        return COORDINATES[self.coordinate](problem.process, t, like)

    def refusals(self, name: str, traits: Traits, causal: bool = False) -> Iterator[Refusal]:
        """Also a ratio that is infinite where the schedule starts."""
        yield from super().refusals(name, traits, causal)
        if traits.zero_terminal and self.coordinate == "noise_ratio":
            yield Refusal(*self.infinite(name))

    def infinite(self, name: str) -> tuple[str, str]:
        """What to change where alpha(1) = 0, and why."""
        return "coordinate", "sigma/alpha is infinite where alpha(1) = 0; use line"


@dataclass(frozen=True)
class Heun(AlongLine):
    """The mean of the velocities at both ends of the step: the trapezoidal rule, second order.

    >>> Heun().evaluations(18)
    35

    The far end is reached by a DDIM step. Where the last step ends at s = 0 there is no second evaluation. On schedules
    with alpha = 1 it is the method of Karras et al. 2022 (algorithm 1), on flow matching's paths Heun's method in t;
    `coordinate="noise_ratio"` takes theirs to any schedule with alpha(1) > 0.
    """

    churns: ClassVar[bool] = True

    def estimate(
        self, problem: Problem, keys: Keys, x_t: Images, memory: PyTree, t: Times, s: Times
    ) -> tuple[Images, PyTree]:
        """What the mean of both velocities comes to. No memory."""
        near = problem.posterior(x_t, t).mean

        def average() -> Images:
            x_s = problem.process.reverse(keys, x_t, near, t, s, 0.0)
            here, there = self.place(problem, t, x_t), self.place(problem, s, x_t)
            first, second = here.velocity(x_t, near), there.velocity(x_s, problem.posterior(x_s, s).mean)
            return here.clean(x_t, (first + second) / 2)

        return jax.lax.cond(jnp.asarray(s) > 0, average, lambda: near), memory

    def evaluations(self, steps: int) -> int:
        """Two a step, but one in the last."""
        return 2 * steps - 1

    def calls(self, problem: Problem, t: Times, s: Times) -> Calls:
        """One at each end; at s = 0 none."""
        return ((1, t), (s > 0, s))


@dataclass(frozen=True)
class AdamsBashforth(AlongLine):
    """The polynomial through the last velocities, over the step: explicit, one evaluation a step.

    >>> AdamsBashforth(solver_order=3).evaluations(20)
    20

    For steps of any lengths; of lower order in the first steps, and plain at s = 0. With `coordinate="noise_ratio"` it
    is k-diffusion's `lms`, and rho-AB of Zhang and Chen 2023 (DEIS, appendix).

    Attributes:
        solver_order: how many velocities, 1 to 4; 1 is DDIM.
    """

    solver_order: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.solver_order <= 4:
            raise ValueError(f"a solver_order of {self.solver_order} is not from 1 to 4")

    def start(self, problem: Problem, x: Images) -> Past:
        """No velocity yet."""
        return Past.none(x, self.solver_order)

    def estimate(
        self, problem: Problem, keys: Keys, x_t: Images, memory: Past, t: Times, s: Times
    ) -> tuple[Images, Past]:
        """What the polynomial's mean comes to. Memory: the velocities."""
        x_hat = problem.posterior(x_t, t).mean
        here, there = self.place(problem, t, x_t), self.place(problem, s, x_t)
        past = memory.then(here.velocity(x_t, x_hat), here.u)
        mean = past.mean(there.u, even(self.solver_order))
        return jnp.where(jnp.asarray(s) > 0, here.clean(x_t, mean), x_hat), past


@dataclass(frozen=True)
class DEIS(AdamsBashforth):
    """rho-AB of Zhang and Chen 2023: `AdamsBashforth` in sigma/alpha, by its own name.

    >>> DEIS().coordinate
    'noise_ratio'
    """

    coordinate: str = field(default="noise_ratio", init=False)

    def infinite(self, name: str) -> tuple[str, str]:
        """It has this coordinate alone."""
        return "name", f"{name} needs alpha(1) > 0; use adams_bashforth"


_PLMS = np.array([[24, 0, 0, 0], [36, -12, 0, 0], [46, -32, 10, 0], [55, -59, 37, -9]]) / 24
"""Adams and Bashforth's weights for even steps, by how many noises there were before."""


@dataclass(frozen=True)
class PNDM(ReverseStep):
    """PNDM without Runge-Kutta steps (PLMS; Liu et al. 2022, algorithm 2 and its eq. 12), as old checkpoints name it.

    >>> PNDM().evaluations(50)
    51

    The noise z is extrapolated as if steps were even, and a DDIM step taken with it. The first step goes twice, by one
    noise and by the mean of those at both its ends. Plain at s = 0. Needs alpha(1) > 0.
    """

    def refusals(self, name: str, traits: Traits, causal: bool = False) -> Iterator[Refusal]:
        """Also a schedule that ends in pure noise."""
        yield from super().refusals(name, traits, causal)
        if traits.zero_terminal:
            yield Refusal("name", f"{name} needs alpha(1) > 0; use adams_bashforth")

    def start(self, problem: Problem, x: Images) -> Past:
        """No noise yet."""
        return Past.none(x, 4)

    def estimate(
        self, problem: Problem, keys: Keys, x_t: Images, memory: Past, t: Times, s: Times
    ) -> tuple[Images, Past]:
        """x by the mean noise. Memory: the noises."""
        process: Any = problem.process
        x_hat = problem.posterior(x_t, t).mean
        here = noise_ratio(process, t, x_t)
        past = memory.then(here.velocity(x_t, x_hat), 0.0)

        def first() -> Images:
            x_s = process.reverse(keys, x_t, x_hat, t, s, 0.0)
            there = noise_ratio(process, s, x_t).velocity(x_s, problem.posterior(x_s, s).mean)
            return (past.values[0] + there) / 2

        def later() -> Images:
            return jnp.tensordot(jnp.asarray(_PLMS, x_t.dtype)[past.count - 1], past.values, axes=1)

        noise = jax.lax.cond((memory.count == 0) & (jnp.asarray(s) > 0), first, later)
        return jnp.where(jnp.asarray(s) > 0, here.clean(x_t, noise), x_hat), past

    def evaluations(self, steps: int) -> int:
        """One a step, and one more in the first unless it is the last."""
        return steps + (steps > 1)

    def calls(self, problem: Problem, t: Times, s: Times) -> Calls:
        """One at t, and in the first step one at s."""
        t, s = jnp.asarray(t), jnp.asarray(s)
        first = jnp.concatenate([jnp.ones(1, bool), t[1:] != s[:-1]])  # also after a restart
        return ((1, t), (first & (s > 0), s))
