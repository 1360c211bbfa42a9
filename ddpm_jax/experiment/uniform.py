"""The parts of an experiment with uniform corruption, values replaced by chance, and what cannot work together."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from ddpm_jax import models, plugins
from ddpm_jax.data import Description
from ddpm_jax.denoisers import UniformPrediction
from ddpm_jax.errors import fail
from ddpm_jax.experiment import options
from ddpm_jax.experiment.options import make_solver, model_options, of, own, tried
from ddpm_jax.files import Record
from ddpm_jax.generative import Measure, Model, Sampling, default_estimator
from ddpm_jax.processes import PROCESSES, Refusal, Uniform
from ddpm_jax.processes.ordered import SPACINGS
from ddpm_jax.schedules.grids import grid_of_times


def model(config: ConfigDict, description: Description) -> Model:
    """What is trained."""
    said, process, times = UniformPrediction(), make_process(config, description.values), _times(config)
    numbers = said.numbers(description.channels, description.levels)
    return Model(
        description=description,
        process=process,
        network=models.make(config.model.name, description.shape, numbers, **model_options(config, description)),
        prediction=said,
        objective=options.make_objective(config, config.process.steps),
        times=times,
        **options.drops(config),
        estimator=default_estimator(process, said, times, config.evaluation.likelihood_groups),
    )


def make_process(config: ConfigDict, values: np.ndarray) -> Uniform:
    """Replacement of values; `values` are those that a pixel can take."""
    function = plugins.find(PROCESSES, config.process.name)
    parts = {"keep": options.make_keep(config), "values": values, **own(config, "process.name")}
    return plugins.made(config.process.name, function, parts, Uniform)


def _times(config: ConfigDict) -> Any:
    return options.make_times_of_keeping(config, config.process.steps)


def facts(config: ConfigDict, model: Model) -> Record:
    """Evaluations and intervals."""
    return {
        "network_evaluations": model.estimator.evaluations,
        "intervals": config.process.steps or "continuous time",
    }


def measures(config: ConfigDict, model: Model) -> dict[str, Measure]:
    """None but the bound."""
    return {}


def sampling(config: ConfigDict, model: Model, steps: int | None = None, order: str | None = None) -> Sampling:
    """How images are drawn; there is no order."""
    return Sampling(
        make_solver(config), _grid(config, model.process, steps), **options.guidance(config), **options.cuts(config)
    )


def _grid(config: ConfigDict, process: Any, steps: int | None = None) -> np.ndarray:
    """The sampler's times; in discrete time those of training."""
    section, total = config.sampler, config.process.steps
    if options.steps_by_hand(config, steps):
        return grid_of_times(process.keep, tuple(map(float, section.times)), 0.0, total)
    return process.grid(steps or section.steps, section.spacing, discrete=total)


def refusals(config: ConfigDict) -> Iterator[Refusal]:
    """Process, network, objective, times and sampler, each with its dotted key."""
    process, model, sampler = config.process, config.model, config.sampler
    yield from options.keeping_refusals(config)
    if (yield from tried("process.exponent", "", options.make_keep, config)) is None:
        return
    words = f"{process.name} cannot be made with these options: "
    made = yield from tried("process.name", words, make_process, config, np.linspace(-1, 1, 2))
    if made is None:
        return
    traits = made.traits()
    if models.causal(model.name):
        reason = f"{model.name} is causal, and all values are replaced at once; use unet or transformer"
        yield Refusal("model.name", reason)
    yield from of("model", models.refusals(model.name, model.time))
    objective = yield from tried("objective.name", "", options.make_objective, config, process.steps)
    times = yield from tried("objective.times", "", _times, config)
    if objective is not None and times is not None:
        yield from options.of_kind(traits.kind, objective, times)
        yield from of("objective", objective.refusals(config.objective.name, traits, process.schedule))
    yield from options.solver_refusals(config, traits, causal=False)
    if not (options.steps_by_hand(config) or sampler.steps):
        yield Refusal("sampler.steps", "uniform corruption has no number of steps of its own; use 100")
        return
    if sampler.spacing not in SPACINGS:
        return  # refused as a name
    grid = yield from tried("sampler.times", "", _grid, config, made)
    if grid is not None and not (np.diff(grid) < 0).all():
        reason = f"{sampler.steps} {sampler.spacing} steps are finer than the {process.steps} of training; use fewer"
        yield Refusal("sampler.steps", reason)


def check_data(config: ConfigDict, description: Description) -> None:
    """The levels, and the network on images of this shape.

    Raises:
        UserError: one line that starts with the key to change.
    """
    if description.levels is None:
        fail("data.name", f"{description.name!r} has real values; uniform corruption replaces levels")
    models.check(config.model.name, description.shape, **model_options(config, description))
