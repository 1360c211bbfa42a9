"""How far the law of what is drawn is from a law in the plane, for solvers with fresh noise and some without.

The distance is the sliced one of Wasserstein: the mean over directions of int |F_n - F|, F_n the share of draws whose
projection is below a value and F that of the law, which is known. As many true draws have a distance too, by chance.
"""

from collections.abc import Callable
from typing import Any

import errors
import jax
import laws
import numpy as np

from ddpm_jax import samplers
from ddpm_jax.processes import Gaussian
from ddpm_jax.samplers import Churned, Problem, StepSolver

DRAWS, DIRECTIONS, PLACES = 2**13, 8, 1000
BUDGETS = (5, 10, 20, 50)
SCHEDULES = ("flow", "vp", "edm")
CHURN = 10.0

SOLVERS: dict[str, StepSolver] = {
    "ddpm": samplers.DDPM(),
    "dpm_2m, eta 1": samplers.DPM2M(eta=1.0),
    "dpm_3m, eta 1": samplers.DPM3M(eta=1.0),
    "euler, eta 1": samplers.Euler(eta=1.0),
    "reverse_diffusion": samplers.ReverseDiffusion(),
    f"heun, churn {CHURN:g}": Churned(samplers.Heun(), CHURN),
    "ddim": samplers.DDIM(),
    "dpm_2m": samplers.DPM2M(),
    "adams_bashforth": samplers.AdamsBashforth(),
}
"""With fresh noise, and below three without. Langevin's moves are for images: in two dimensions they are unsteady."""


def sliced(law: laws.Mixture) -> Callable[[Any], float]:
    """`draws [n, 2] -> distance` from this law."""
    from scipy.special import ndtr

    angles = np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    directions = np.stack([np.cos(angles), np.sin(angles)])
    places = np.linspace(-3, 3, PLACES)
    centres = law.means @ directions
    spread = np.sqrt(np.einsum("dm,kde,em->km", directions, law.covariances, directions))
    below = np.einsum("k,kmp->mp", law.weights, ndtr((places - centres[..., None]) / spread[..., None]))

    def distance(draws: Any) -> float:
        along = np.sort(np.clip(np.asarray(draws, np.float64) @ directions, -3, 3), axis=0)
        found = [np.searchsorted(column, places, side="right") / len(column) for column in along.T]
        return float(np.abs(np.stack(found) - below).mean() * 6)

    return distance


def measure(schedule_name: str) -> dict[str, Any]:
    """The distance of each solver with each grid: `solvers[solver][grid][budget]`, and that of true draws."""
    law, schedule = laws.plane(), errors.schedule_of(schedule_name)
    process, grids, distance = Gaussian(schedule), errors.Grids.of(law, schedule), sliced(law)
    denoise = law.denoiser(process)
    start = process.prior(jax.random.key(0), (DRAWS, 2))
    found: dict[str, Any] = {}
    for label, solver in SOLVERS.items():
        if not errors.able(solver, process):
            continue
        found[label] = {name: {} for name in grids.names}
        step, problem = None, Problem(process, denoise)
        for budget in BUDGETS:
            steps = errors.steps_within(solver, budget)
            if step is None or isinstance(solver, Churned):  # churn asks how many steps there are
                problem = Problem(process, denoise, grid=grids.grid("uniform", steps))
                step = errors.stepper(solver, problem)
            for name in grids.names:
                x = errors.walked(solver, problem, step, start, grids.grid(name, steps), seed=budget)
                found[label][name][str(budget)] = distance(x)
    true = [distance(law.sample(DRAWS, seed)) for seed in range(5)]
    return {"solvers": found, "true_draws": float(np.mean(true)), "true_draws_deviation": float(np.std(true, ddof=1))}
