"""How far deterministic solvers stray from the exact map, at equal network evaluations.

Every solver goes from the same starts x_1 = sigma(1) z to time 0, given the exact posterior mean, in float64. The exact
map is the probability flow, by Dormand and Prince's method of the eighth order (SciPy) at a tolerance of 1e-10, in

    dw/du = w/(1 + rho^2) - x_hat/sqrt(1 + rho^2),   w = x_t/sqrt(alpha^2 + sigma^2), rho = sigma/alpha, u = log rho,

which holds for every schedule: it is other code, in another variable, than any solver's here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import laws
import numpy as np
from jaxtyping import Array, Float

from ddpm_jax import samplers, schedules
from ddpm_jax.processes import Gaussian
from ddpm_jax.samplers import Problem, Solver, StepSolver, Tsit5
from ddpm_jax.samplers.optimised import shortest, step_errors
from ddpm_jax.schedules.grids import OF_TABLES, SPACINGS, make_grid
from ddpm_jax.schedules.table import Table

BUDGETS = (5, 7, 10, 15, 20, 30, 50)
SCHEDULES = ("flow", "vp", "cosine", "ve", "edm", "ddpm_linear")
ENTRIES = 1000
"""Of the table."""
STARTS, SEED = 64, 0
CANDIDATES, IMAGES = 100, 64
"""Of the optimised grid: times to choose from, and draws of the law to choose by."""
FARTHEST, NEAREST, TOLERANCE = 1e7, 1e-5, 1e-10
"""sigma/alpha where the exact map starts in place of infinity, and where it takes the estimate; its tolerance."""
ADAPTIVE, TOLERANCES = ("flow", "vp", "edm"), (1e-1, 1e-2, 1e-3)
"""The schedules and tolerances of the adaptive solver."""

SOLVERS: dict[str, Solver] = {
    "ddim": samplers.DDIM(),
    "euler": samplers.Euler(),
    "heun": samplers.Heun(),
    "dpm_2s": samplers.DPM2S(),
    "dpm_2m": samplers.DPM2M(),
    "dpm_3m": samplers.DPM3M(),
    "unipc": samplers.UniPC(),
    "unipc, order 3": samplers.UniPC(solver_order=3),
    "adams_bashforth": samplers.AdamsBashforth(),
    "deis": samplers.DEIS(),
    "pndm": samplers.PNDM(),
}
"""All that add no noise and walk a grid."""

Grid = Float[np.ndarray, " points"]
Points = Float[np.ndarray, "batch D"]


def schedule_of(name: str) -> Any:
    """The schedule; a table has `ENTRIES` entries."""
    return schedules.make(name, ENTRIES if name.startswith("ddpm") else 0)


def able(solver: Solver, process: Gaussian) -> bool:
    """Whether the solver can go with the process."""
    return not list(solver.refusals("", process.traits()))


def steps_within(solver: Solver, budget: int) -> int:
    """The most steps that take no more evaluations than the budget; at least 1."""
    return max(steps for steps in range(1, budget + 1) if (solver.evaluations(steps) or 0) <= budget or steps == 1)


@dataclass(frozen=True, eq=False)
class Grids:
    """All grids of a schedule for a law, by name and number of steps.

    Attributes:
        schedule: t -> (alpha, sigma).
        times: what the optimised grid chooses from.
        steps: the error of each step between two of them.
    """

    schedule: Any
    times: Grid
    steps: Float[np.ndarray, "K K"]

    @classmethod
    def of(cls, law: laws.Mixture, schedule: Any) -> "Grids":
        """Measure the steps between candidates, as `samplers.optimised_grid` does once for every number of steps."""
        process = Gaussian(schedule)
        times = make_grid(schedule, CANDIDATES, "log_snr", schedule.t_min)[:-1]
        x = jnp.asarray(law.sample(IMAGES, SEED))
        return cls(schedule, times, step_errors(process, law.denoiser(process), x, times, jax.random.key(SEED)))

    @property
    def names(self) -> list[str]:
        """Those there are."""
        plain = [name for name in SPACINGS if isinstance(self.schedule, Table) or name not in OF_TABLES]
        return [*plain, "optimised"]

    def grid(self, name: str, steps: int) -> Grid:
        """`[steps + 1]`, from 1 to 0. `leading` may begin below 1."""
        if name != "optimised":
            return make_grid(self.schedule, steps, name, self.schedule.t_min)
        if steps == 1:
            return np.array([1.0, 0.0])
        return np.append(self.times[shortest(self.steps, steps - 1)], 0.0)


def stepper(solver: StepSolver, problem: Problem) -> Callable[..., Any]:
    """A compiled step of the solver: one program serves all grids, where the package's loop is compiled for each."""

    def step(keys: Array, x: Array, memory: Any, t: Array, s: Array) -> tuple[Array, Any]:
        keys_step, keys_correct = jax.random.split(keys)
        x, _, memory = solver.step(problem, keys_step, x, memory, t, s)
        return solver.correct(problem, keys_correct, x, s), memory

    return jax.jit(step)


def walked(solver: StepSolver, problem: Problem, step: Callable[..., Any], x: Array, grid: Grid, seed: int = 0) -> Any:
    """x at time 0, by the loop of `samplers.walk`."""
    memory, keys = solver.start(problem, x), jax.random.split(jax.random.key(seed), len(grid))
    for number in range(len(grid) - 1):
        t, s = (np.asarray(time, x.dtype) for time in grid[number : number + 2])
        x, memory = step(keys[number], x, memory, t, s)
    return x


def root_mean_square(difference: Any) -> float:
    """Over images and values."""
    return float(np.sqrt(np.mean(np.square(np.asarray(difference)))))


def exact_map(law: laws.Mixture, schedule: Any, z: Points, tolerance: float = TOLERANCE) -> tuple[Points, Points]:
    """Where the probability flow takes sigma(1) z at time 0; and the estimate on the way, at the schedule's t_min.

    The second differs from the first by what the last step of every grid leaves out.
    """
    from scipy.integrate import solve_ivp

    mean = jax.jit(law.mean)

    def estimate(w: Any, rho: float) -> Any:
        scale = 1 / np.sqrt(1 + rho**2)
        return np.asarray(mean(w.reshape(z.shape), np.asarray(scale), np.asarray(rho * scale)))

    def slope(u: float, w: Any) -> Any:
        rho = np.exp(u)
        return w / (1 + rho**2) - estimate(w, rho).ravel() / np.sqrt(1 + rho**2)

    (alpha, sigma), (alpha_end, sigma_end) = (
        [float(level) for level in schedule(np.asarray(time))] for time in (1.0, schedule.t_min)
    )
    ratio = min(sigma / alpha, FARTHEST) if alpha > 0 else FARTHEST
    places, w, ends = np.log([ratio, sigma_end / alpha_end, NEAREST]), z.ravel() * sigma / np.hypot(alpha, sigma), []
    for here, there in pairwise(places):
        w = solve_ivp(slope, (here, there), w, method="DOP853", rtol=tolerance, atol=tolerance / 100).y[:, -1]
        ends.append(estimate(w, np.exp(there)))
    return ends[1], ends[0]


def measure(name: str, schedule_name: str, budgets: tuple[int, ...] = BUDGETS, only: Any = None) -> dict[str, Any]:
    """The errors of all solvers with all grids on one law and schedule: `solvers[solver][grid][budget]`.

    Args:
        name: of the law.
        schedule_name: of the schedule.
        budgets: network evaluations.
        only: solvers to measure; all by default.
    """
    with jax.enable_x64(True):
        law, schedule = laws.LAWS[name](), schedule_of(schedule_name)
        process, grids = Gaussian(schedule), Grids.of(law, schedule)
        z = np.random.default_rng(SEED).standard_normal((STARTS, law.means.shape[1]))
        exact, near = exact_map(law, schedule, z)
        start = jnp.asarray(z * float(schedule(np.asarray(1.0))[1]))
        found: dict[str, Any] = {}
        for label, solver in SOLVERS.items():
            if able(solver, process) and (only is None or label in only):
                ended = _ends(solver, Problem(process, law.denoiser(process)), start, grids, budgets)
                found[label] = {grid: {} for grid in grids.names}
                for grid, budget, x in ended:
                    found[label][grid][str(budget)] = root_mean_square(x - exact)
        many = make_grid(schedule, 500, "log_snr", schedule.t_min)
        solver, problem = samplers.UniPC(solver_order=3), Problem(process, law.denoiser(process))
        fine = walked(solver, problem, stepper(solver, problem), start, many)
        return {
            "solvers": found,
            "deviation": root_mean_square(exact - exact.mean(axis=0)),
            "last_step": root_mean_square(near - exact),
            "reference_loose": root_mean_square(exact_map(law, schedule, z, 100 * TOLERANCE)[0] - exact),
            "reference_unipc_500": root_mean_square(fine - near),
        }


def _ends(
    solver: Any, problem: Problem, x: Array, grids: Grids, budgets: tuple[int, ...]
) -> Iterator[tuple[str, int, Any]]:
    step = stepper(solver, problem)
    for grid in grids.names:
        for budget in budgets:
            yield grid, budget, walked(solver, problem, step, x, grids.grid(grid, steps_within(solver, budget)))


def adaptive(name: str, schedule_name: str) -> dict[str, dict[str, float]]:
    """The error of the adaptive solver and its evaluations, a mean over images, by tolerance."""
    with jax.enable_x64(True):
        law, schedule = laws.LAWS[name](), schedule_of(schedule_name)
        process, found = Gaussian(schedule), {}
        z = np.random.default_rng(SEED).standard_normal((STARTS, law.means.shape[1]))
        exact, _ = exact_map(law, schedule, z)
        start = jnp.asarray(z * float(schedule(np.asarray(1.0))[1]))
        grid = make_grid(schedule, 2, "uniform", schedule.t_min)
        problem = Problem(process, law.denoiser(process), grid=grid)
        for tolerance in TOLERANCES:
            solve = jax.jit(partial(Tsit5(tolerance, tolerance).solve, problem, jax.random.key(0)))
            x, _, evaluations = solve(start)
            error, mean = root_mean_square(x - exact), float(np.mean(evaluations))
            found[f"{tolerance:g}"] = {"evaluations": mean, "error": error}
        return found
