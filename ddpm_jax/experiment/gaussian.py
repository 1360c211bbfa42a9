"""The parts of an experiment with a Gaussian process: information is removed by noise."""

from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from ddpm_jax import models, plugins, schedules
from ddpm_jax.data import Description
from ddpm_jax.denoisers import CATEGORICAL, GaussianPrediction
from ddpm_jax.experiment.options import (
    make_objective,
    make_schedule,
    make_solver,
    make_training_times,
    model_options,
    own,
)
from ddpm_jax.generative import Bound, Measure, Model, ProbabilityFlow, Sampling
from ddpm_jax.processes import PROCESSES, Gaussian
from ddpm_jax.schedules.grids import make_grid


def model(config: ConfigDict, description: Description) -> Model:
    """What is trained."""
    said, objective = prediction(config), config.objective
    numbers = said.numbers(description.channels, description.levels)
    network = models.make(config.model.name, description.shape, numbers, **model_options(config, description))
    values = None if description.levels is None else description.values
    schedule, steps = started(config), config.process.steps
    return Model(
        description=description,
        process=process(config, values),
        network=network,
        prediction=said,
        objective=make_objective(config, steps),
        times=make_training_times(config, schedule, steps, t_min(config)),
        condition_drop=objective.condition_drop,
        estimator=estimator(config),
    )


def process(config: ConfigDict, values: np.ndarray | None) -> Gaussian:
    """Removal of information; `values` are those that a pixel can take."""
    function = plugins.find(PROCESSES, config.process.name)
    options = own(config, "process.name")
    parts = {"schedule": make_schedule(config), "values": values, **options}
    return plugins.made(config.process.name, function, parts, Gaussian)


def prediction(config: ConfigDict) -> GaussianPrediction:
    """What the network's output means."""
    section = config.model
    steps = config.process.steps or 1000
    return GaussianPrediction(
        section.prediction, section.variance, section.time, section.input, steps, section.sigma_data
    )


def started(config: ConfigDict) -> schedules.Schedule:
    """The schedule as it is before training: itself, if it has no parameters."""
    return Gaussian(make_schedule(config)).start().known


def t_min(config: ConfigDict) -> float:
    """The least time that a network sees."""
    section: Any = config.process
    return 1 / section.steps if section.steps else section.t_min or getattr(make_schedule(config), "t_min", 1e-3)


def estimator(config: ConfigDict) -> Bound:
    """The variational bound."""
    steps = config.process.steps
    groups = (config.evaluation.likelihood_groups or None) if steps else None
    return Bound(bound_grid(config), groups, continuous=not steps)


def facts(config: ConfigDict, model: Model) -> dict[str, Any]:
    """Evaluations, intervals, and where the decoder takes over."""
    bound: Bound = model.estimator
    return {
        "network_evaluations": bound.evaluations,
        "intervals": config.process.steps or "continuous time",
        "decoder": "discrete",
        "decoder_from": float(bound.grid[-2]),
    }


def measures(config: ConfigDict, model: Model) -> dict[str, Measure]:
    """The likelihood by the probability-flow ODE."""
    section = config.evaluation
    if not section.ode_images:
        return {}
    flow = ProbabilityFlow(t_min(config), section.ode_divergence, section.ode_draws, section.ode_tolerance)
    kept = {"divergence": section.ode_divergence}
    return {"ode": Measure("ODE", flow, section.ode_images, "ode", "uniform", section.ode_draws, kept)}


def sampling(config: ConfigDict, model: Model, steps: int | None = None, order: str | None = None) -> Sampling:
    """How images are drawn; noise has no order."""
    section = config.sampler
    return Sampling(
        make_solver(config),
        sampling_grid(config, steps),
        guidance=section.guidance,
        clip=section.clip,
        threshold=section.threshold,
        # draws of x serve the Markov process with a variance of its own
        point=section.eta < 1 or config.model.prediction == CATEGORICAL,
    )


def sampling_grid(config: ConfigDict, steps: int | None = None) -> np.ndarray:
    """The sampler's time grid, of `steps` intervals if given. In discrete time it visits the times of training."""
    section, total = config.sampler, config.process.steps
    grid = make_grid(started(config), steps or section.steps, section.spacing, t_min(config), section.rho)
    return np.round(grid * total) / total if total else grid


def bound_grid(config: ConfigDict) -> np.ndarray:
    """The intervals of the variational bound: those of discrete time, or strata of continuous time.

    The last, the decoder's, may begin where there is still noise: any beginning gives a bound.
    """
    steps, section, schedule = config.process.steps, config.evaluation, started(config)
    trained = isinstance(make_schedule(config), schedules.Trained)  # such a schedule begins where it is best
    least = t_min(config)
    if section.decoder_noise and not trained:
        with jax.ensure_compile_time_eval():  # a grid is a constant, also where a program that uses it is traced
            noise = np.asarray(-2 * np.log(section.decoder_noise), np.float32)
            least = max(least, float(schedules.time_of_log_snr(schedule, noise)))
    if steps:
        times = np.arange(steps, 0, -1) / steps
        return np.append(times[times >= least - 0.5 / steps], 0.0)
    # Strata of one width in log-SNR make the terms alike; a learned schedule sees to that itself.
    return make_grid(schedule, section.likelihood_groups or 1000, "uniform" if trained else "log_snr", least)
