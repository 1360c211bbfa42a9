"""What cannot work together in an experiment with a Gaussian process, refused with the reason."""

from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from ddpm_jax import denoisers, models, samplers, schedules
from ddpm_jax.data import Description
from ddpm_jax.errors import fail
from ddpm_jax.experiment import gaussian_grids as grids
from ddpm_jax.experiment.options import (
    SCHEDULE_OPTIONS,
    model_options,
    objective_options,
    sampler_options,
    schedule_options,
)
from ddpm_jax.objectives import losses


def check(config: ConfigDict) -> None:
    """Schedule with options, prediction, variance, objective, times and sampler.

    Raises:
        UserError: one line that starts with the key to change.
    """
    alpha_end, sigma_start = _schedule(config)
    silent = alpha_end == 0
    _prediction(config, silent, sigma_start)
    _trained_schedule(config)
    _objective(config, silent, sigma_start)
    _sampler(config, silent)
    _grids(config)


def _schedule(config: ConfigDict) -> tuple[float, float]:
    """alpha(1) and sigma(0) of the schedule, if its options and number of steps can be."""
    process, name, steps = config.process, config.process.schedule, config.process.steps
    if name not in schedules.SCHEDULES:
        fail("process.schedule", f"{name} is a share of visible sites, for an ordered process; use cosine or vp")
    for option, plain in (("order", "raster"), ("chunk", 1), ("sites", "pixels"), ("order_seed", 0)):
        if process[option] != plain:
            fail(f"process.{option}", f"is of an ordered process; noise goes to all sites at once: leave it {plain}")
    table = name in schedules.TABLES
    if table and not steps:
        fail("process.steps", f"{name} is a table of T steps; for continuous time take another schedule, such as vp")
    taken = [option for option in SCHEDULE_OPTIONS if option in schedules.options(name)]
    for option in SCHEDULE_OPTIONS:
        if process[option] and option not in taken:
            fail(f"process.{option}", f"schedule {name!r} has no such option; it has {', '.join(taken) or 'none'}")
    try:
        family = schedules.make(name, steps, **schedule_options(config))
    except ValueError as error:
        key = "steps" if table and not schedule_options(config) else "schedule"
        fail(f"process.{key}", f"{name} cannot be made with {steps} steps and these options: {error}")
    if steps and process.t_min:
        fail("process.t_min", "in discrete time it is 1/T; leave it 0, or set config.process.steps=0")
    schedule = family.bind(family.init(jax.random.key(0)))
    alpha, sigma = map(np.asarray, schedule(np.asarray([1.0, 0.0], np.float32)))
    return float(alpha[0]), float(sigma[1])


def _prediction(config: ConfigDict, silent: bool, sigma_start: float) -> None:
    name, model = config.process.schedule, config.model
    if model.prediction not in (*denoisers.PREDICTIONS, denoisers.CATEGORICAL):
        fail("model.prediction", f"{model.prediction} predicts hidden sites, for an ordered process; use v or epsilon")
    if model.time not in denoisers.C_NOISE:
        fail("model.time", f"{model.time} is for an ordered process; use thousand or log_snr")
    if model.name in models.CAUSAL:
        fail("model.name", f"{model.name} is causal, and noise removes all sites at once; use unet or transformer")
    if model.prediction in denoisers.BLIND_AT_ZERO_ALPHA and silent:
        fail(
            "model.prediction",
            f"{name} ends in pure noise, alpha(1) = 0, where {model.prediction} says nothing of the image; "
            "use v, x0, F or velocity",
        )
    if model.prediction == "score" and sigma_start == 0:
        fail("model.prediction", f"the score is infinite where {name} begins, sigma(0) = 0; use epsilon")
    if model.prediction == "velocity" and name in schedules.TABLES:
        fail("model.prediction", f"it needs the schedule's derivatives, and {name} is a table; use v, or vp's schedule")
    if silent and model.time in ("log_sigma", "quarter_log_sigma", "log_snr"):
        fail("model.time", f"{model.time} is infinite where {name} ends, at alpha(1) = 0; use thousand")
    if model.variance == "learned" and not config.process.steps:
        fail("model.variance", "nothing trains a variance in continuous time; set config.process.steps or fixed_small")
    if model.prediction == denoisers.CATEGORICAL and model.variance != "fixed_small":
        fail("model.variance", f"a categorical prediction has no {model.variance} variance; use fixed_small")
    if model.name == "ncsnpp" and model.time in ("index", "thousand", "log_snr"):
        fail(
            "model.time",
            f"ncsnpp has Fourier features of scale 16, some 16 turns a unit, too fast for {model.time}; "
            "use log_sigma or quarter_log_sigma",
        )
    if model.time == "index" and not config.process.steps:
        fail("model.time", "there is no index in continuous time; use thousand, log_sigma or log_snr")


def _objective(config: ConfigDict, silent: bool, sigma_start: float) -> None:
    name, steps, section = config.process.schedule, config.process.steps, config.objective
    if section.name in ("likelihood", "regression", "causal_regression"):
        fail("objective.name", f"{section.name} is for an ordered process; use simple, v or bound")
    if section.times == "clean":
        fail("objective.times", "at t = 0 there is no noise to predict; use uniform")
    objective = losses.OBJECTIVES[section.name](objective_options(config, steps))
    if objective.blind_at_zero_alpha and silent:
        fail("objective.name", f"{section.name} asks for nothing at t = 1, where {name} has alpha = 0; use v or x0")
    if objective.needs_rates and name in schedules.TABLES:
        fail("objective.name", f"{section.name} needs the schedule's derivatives, and {name} is a table; use v")
    if section.name == "hybrid" and config.model.variance != "learned":
        fail("objective.name", "hybrid trains a variance; set config.model.variance=learned")
    if config.model.variance == "learned" and section.name not in ("hybrid", "bound"):
        fail("model.variance", f"objective {section.name!r} does not train a variance; use hybrid or bound")
    if section.name == "score" and sigma_start == 0:
        fail("objective.name", f"the score is infinite where {name} begins, sigma(0) = 0; use simple")
    if section.decoder and section.name != "bound":
        fail(
            "objective.decoder", f"only the bound has an interval of its own for the decoder, not {section.name}; use 0"
        )
    if section.decoder and steps:
        fail("objective.decoder", "in discrete time the last interval is one of T; leave it 0")


def _trained_schedule(config: ConfigDict) -> None:
    name, section = config.process.schedule, config.objective
    if name not in schedules.TRAINED:
        return
    if section.name != "bound":
        fail("objective.name", f"the schedule {name} is trained too, which only the bound can do; use bound")
    if not config.process.steps and not section.decoder:
        fail("objective.decoder", f"the start of {name} is trained, so its last interval must count: try 0.125")
    if section.times in ("log_normal", "logit_normal"):
        fail("objective.times", f"{name} is trained on the bound, which is a mean over uniform times; use stratified")
    if config.sampler.spacing != "uniform":
        fail("sampler.spacing", f"the grid is fixed before {name} is trained; use uniform")


def _sampler(config: ConfigDict, silent: bool) -> None:
    sampler, process = config.sampler, config.process
    table = process.schedule in schedules.TABLES
    refusal: Any = samplers.refusal(
        sampler.name,
        sampler_options(config),
        process="gaussian",
        continuous=not table,
        zero_terminal=silent,
    )
    if refusal:
        key, reason = refusal
        fail(f"sampler.{key}", reason)
    if not sampler.steps:
        fail("sampler.steps", "a Gaussian process has no number of steps of its own; use 100")
    for option, plain in (
        ("order", ""),
        ("temperature", 1),
        ("top_k", 0),
        ("nucleus", 1),
        ("confidence_temperature", 0),
    ):
        if sampler[option] != plain:
            fail(f"sampler.{option}", f"is of an ordered process; leave it {plain if plain != '' else 'empty'}")
    if sampler.spacing in ("trailing", "leading") and not table:
        fail("sampler.spacing", f"{sampler.spacing} is for tables; with {process.schedule} use uniform or karras")
    if process.steps and sampler.steps > process.steps:
        fail("sampler.steps", f"{sampler.steps} is more than config.process.steps {process.steps}")
    if sampler.churn and not sampler.churn_min < sampler.churn_max:
        fail(
            "sampler.churn_max", f"{sampler.churn_max} is not above config.sampler.churn_min: no step would be churned"
        )


def _grids(config: ConfigDict) -> None:
    """The grids of sampling and of the bound can be made, and Langevin moves on the first do not diverge."""
    sampler, evaluation = config.sampler, config.evaluation
    if evaluation.exact_images:
        fail("evaluation.exact_images", "is of an ordered process; leave it 0")
    if not config.process.steps and evaluation.likelihood_groups == 1:
        fail("evaluation.likelihood_groups", "one stratum leaves no time between the prior and the decoder; use 100")
    try:
        schedule, grid = grids.schedule_of(config), grids.sampling(config)
    except ValueError as error:
        fail("sampler.spacing", f"no grid of {sampler.steps} steps with this t_min and rho: {error}")
    if len(grid) > 1 and not (np.diff(grid) < 0).all():
        fail(
            "sampler.steps", f"{sampler.steps} {sampler.spacing} steps are finer than the levels of training; use fewer"
        )
    if sampler.name == "annealed_langevin":
        alpha, sigma = schedule(np.asarray(grid[-2:-1], np.float32))
        ratio = float((sigma / alpha)[0]) ** 2
        if sampler.langevin_step >= 4 * ratio:
            fail(
                "sampler.langevin_step",
                f"moves diverge from 4 (sigma/alpha)^2 at the last level, here {4 * ratio:.2g}; use {0.2 * ratio:.2g}",
            )
    try:
        bound = grids.bound(config)
    except ValueError as error:
        fail("evaluation.decoder_noise", f"no bound begins at this noise: {error}")
    if len(bound) < 3:
        fail("evaluation.decoder_noise", f"{evaluation.decoder_noise} is above all noise but the last; lower it")


def check_data(config: ConfigDict, description: Description) -> None:
    """The network on images of this shape.

    Raises:
        UserError: as `check`.
    """
    models.check(config.model.name, description.shape, **model_options(config, description))
