"""Frechet distance of a trained run's samples against network evaluations, by several solvers.

Each solver has the grid that is best for it on the mixture of digits, on the run's schedule at as many evaluations.
DDIM also has the grid that is optimised for the run's own network. All else is the run's own sampling: its clipping,
its weights.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ddpm_jax import samplers
from ddpm_jax.errors import UserError
from ddpm_jax.samplers import StepSolver

BUDGETS = (5, 10, 20, 50)
OPTIMISED = "optimised"
SOLVERS: dict[str, tuple[StepSolver, str]] = {
    "ddpm": (samplers.DDPM(), "ddim"),
    "ddim": (samplers.DDIM(), "ddim"),
    "ddim, optimised": (samplers.DDIM(), OPTIMISED),
    "heun": (samplers.Heun(), "heun"),
    "dpm_2m": (samplers.DPM2M(), "dpm_2m"),
    "unipc": (samplers.UniPC(), "unipc"),
    "adams_bashforth": (samplers.AdamsBashforth(), "adams_bashforth"),
}
"""Each, and the solver whose best grid on the mixture it has, or `OPTIMISED`."""


def best_grid(solvers: dict[str, Any], name: str, budget: int) -> str:
    """The grid with the least error at so many evaluations, among those that need no network."""
    found = solvers.get(name, {})
    return min((grid for grid in found if grid != OPTIMISED), key=lambda grid: found[grid][str(budget)])


def measure(folder: Path, known: dict[str, Any], kept: dict[str, Any]) -> dict[str, Any]:
    """The figures of a run: `solvers[solver][budget]`, its own sampling, and the training images.

    Args:
        folder: the run's.
        known: the errors of solvers on the mixture, by schedule.
        kept: earlier figures of this run, `{}` or as they are given back: what is there is not measured again.

    Raises:
        UserError: the run's schedule was not measured there.
    """
    import ddpm_jax as dj
    from ddpm_jax.progress import bar

    run = dj.load_run(str(folder))
    config = run.experiment.config
    schedule = str(config.process.schedule)
    if config.process.name != "gaussian" or schedule not in known:
        raise UserError(f"--workdir: {folder} is not of one of the schedules {', '.join(known)}")
    own = run.experiment.sampling_in()
    found: dict[str, Any] = {name: {} for name in SOLVERS}
    wanted = [(name, budget) for name in SOLVERS for budget in BUDGETS]
    for name, budget in bar(wanted, f"{folder.name}: solver", "solvers"):
        solver, like = SOLVERS[name]
        if list(solver.refusals(name, run.model.process.traits())):
            continue
        grid_name = OPTIMISED if like == OPTIMISED else best_grid(known[schedule]["solvers"], like, budget)
        before = kept.get("solvers", {}).get(name, {}).get(str(budget))
        if before and before["grid"] == grid_name:
            found[name][str(budget)] = before
            continue
        grid = _grid(run, grid_name, max(n for n in range(1, budget + 1) if solver.evaluations(n) <= budget))
        found[name][str(budget)] = {
            "grid": grid_name,
            **quality(run, replace(own, solver=solver, grid=grid), config.seed),
        }
    described = f"{config.sampler.name}, {len(own.grid) - 1} steps, {config.sampler.spacing}"
    return {
        "schedule": schedule,
        "steps": run.step,
        "solvers": found,
        "own": kept.get("own") or {"name": described, **quality(run, own, config.seed)},
        **reference(run),
        "clip": bool(config.sampler.clip),
        "seed": int(config.seed),
    }


def quality(run: Any, sampling: Any, seed: int) -> dict[str, Any]:
    """Evaluations, and the quality of as many samples as the run's config measures."""
    from ddpm_jax.evaluation import drawing, figures

    count = figures.samples_to_measure(run.experiment.config, run.dataset)
    images, _, evaluations = drawing.sampler(run.experiment, run.plan, sampling)(run.params, seed, count)
    measured = figures.quality(run.experiment, images, run.dataset)
    kept = {name: measured[name] for name in ("frechet", "precision", "recall", "variance")}
    return {"evaluations": float(np.mean(evaluations)), **kept}


def reference(run: Any) -> dict[str, Any]:
    """What the distances are of, and that of as many training images."""
    from ddpm_jax.evaluation import figures
    from ddpm_jax.evaluation.embedding import features_of
    from ddpm_jax.metrics.quality import reference_lines

    count = figures.samples_to_measure(run.experiment.config, run.dataset)
    train, test = (run.dataset.split(split).first()[0] for split in ("train", "test"))
    features, levels = features_of(run.experiment, run.dataset), len(run.model.description.values)
    line = reference_lines(train, test, levels, features, count, progress=False).lines["train"]
    return {
        "train": {name: getattr(line, name) for name in ("frechet", "frechet_deviation", "precision", "recall")},
        "count": count,
        "features": f"{features.name} {features.hash}",
    }


def _grid(run: Any, name: str, steps: int) -> Any:
    """A grid of the run's process, with the times that its network knows."""
    times = run.model.times
    if name == OPTIMISED:
        return np.asarray(run.optimised_times(steps))
    return run.model.process.grid(steps, name, times.t_min, times.steps)
