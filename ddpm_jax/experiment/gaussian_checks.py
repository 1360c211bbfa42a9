"""What cannot work together in an experiment with a Gaussian process, with the reasons.

What a part needs of the others it says itself (`refusals`); here is what is of the config: keys that mean nothing in
this family, and grids that cannot be made.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from ddpm_jax import denoisers, models, plugins, samplers, schedules
from ddpm_jax.data import Description
from ddpm_jax.experiment import gaussian
from ddpm_jax.experiment.options import (
    SCHEDULE_OPTIONS,
    make_objective,
    make_schedule,
    make_solver,
    make_training_times,
    model_options,
    schedule_options,
)
from ddpm_jax.processes import Gaussian, Refusal, Traits
from ddpm_jax.samplers import AnnealedLangevin
from ddpm_jax.schedules.keeping import KEEPS


def refusals(config: ConfigDict) -> Iterator[Refusal]:
    """Schedule with options, prediction, variance, objective, times and sampler, each with its dotted key."""
    yield from _foreign(config)
    made, why = _schedule(config)
    if made is None:
        yield from why
        return
    yield from why
    try:
        traits = gaussian.process(config, None).traits()
    except ValueError as error:
        yield Refusal("process.name", f"{config.process.name} cannot be made with these options: {error}")
        return
    yield from _prediction(config, traits)
    yield from _objective(config, traits, trained=isinstance(made, schedules.Trained))
    yield from _sampler(config, traits)
    yield from _grids(config)


def _foreign(config: ConfigDict) -> Iterator[Refusal]:
    """Keys of ordered processes."""
    for option, plain in (("order", "raster"), ("chunk", 1), ("sites", "pixels"), ("order_seed", 0)):
        if config.process[option] != plain:
            reason = f"is of an ordered process; noise goes to all sites at once: leave it {plain}"
            yield Refusal(f"process.{option}", reason)
    for option, plain in (
        ("order", ""),
        ("temperature", 1),
        ("top_k", 0),
        ("nucleus", 1),
        ("confidence_temperature", 0),
    ):
        if config.sampler[option] != plain:
            reason = f"is of an ordered process; leave it {plain if plain != '' else 'empty'}"
            yield Refusal(f"sampler.{option}", reason)
    if any(config.evaluation.curve_orders):
        yield Refusal("evaluation.curve_orders", "noise has no order; leave it empty")
    if config.evaluation.exact_images:
        yield Refusal("evaluation.exact_images", "is of an ordered process; leave it 0")


def _schedule(config: ConfigDict) -> tuple[Any, list[Refusal]]:
    """The schedule, if it can be made with its options and number of steps, and what is wrong with it."""
    section, name, steps, found = config.process, config.process.schedule, config.process.steps, []
    if name in KEEPS and name not in schedules.SCHEDULES:
        reason = f"{name} is a share of visible sites, for an ordered process; use cosine or vp"
        return None, [Refusal("process.schedule", reason)]
    table = "steps" in plugins.options(plugins.find(schedules.SCHEDULES, name))
    if table and not steps:
        reason = f"{name} is a table of T steps; for continuous time take another schedule, such as vp"
        return None, [Refusal("process.steps", reason)]
    taken = [option for option in SCHEDULE_OPTIONS if option in schedules.options(name)]
    for option in SCHEDULE_OPTIONS:
        if section[option] and option not in taken:
            reason = f"schedule {name!r} has no such option; it has {', '.join(taken) or 'none'}"
            found.append(Refusal(f"process.{option}", reason))
    if found:
        return None, found
    try:
        made = make_schedule(config)
        if plugins.dotted(name):
            plugins.made(name, Gaussian(made).traits, {})  # what of it is wrong is met here
    except ValueError as error:
        key = "steps" if table and not schedule_options(config) else "schedule"
        reason = f"{name} cannot be made with {steps} steps and these options: {error}"
        return None, [Refusal(f"process.{key}", reason)]
    if steps and section.t_min:
        found.append(Refusal("process.t_min", "in discrete time it is 1/T; leave it 0, or set config.process.steps=0"))
    return made, found


def _prediction(config: ConfigDict, traits: Traits) -> Iterator[Refusal]:
    model, schedule = config.model, config.process.schedule
    if model.prediction not in (*denoisers.PREDICTIONS, denoisers.CATEGORICAL):
        reason = f"{model.prediction} predicts hidden sites, for an ordered process; use v or epsilon"
        yield Refusal("model.prediction", reason)
    elif model.prediction == "score" and traits.sigma_start == 0:
        reason = f"the score is infinite where {schedule} begins, sigma(0) = 0; use epsilon"
        yield Refusal("model.prediction", reason)
    if model.time not in denoisers.C_NOISE:
        yield Refusal("model.time", f"{model.time} is for an ordered process; use thousand or log_snr")
    if models.causal(model.name):
        reason = f"{model.name} is causal, and noise removes all sites at once; use unet or transformer"
        yield Refusal("model.name", reason)
    said = gaussian.prediction(config)
    yield from of("model", said.refusals(traits, schedule, discrete=config.process.steps > 0))
    yield from of("model", models.refusals(model.name, model.time))


def _objective(config: ConfigDict, traits: Traits, trained: bool) -> Iterator[Refusal]:
    name, steps, section = config.process.schedule, config.process.steps, config.objective
    try:
        objective = make_objective(config, steps)
    except ValueError as error:
        yield Refusal("objective.name", str(error))
        return
    try:
        times = make_training_times(config, gaussian.started(config), steps, gaussian.t_min(config), decoder=0.0)
    except ValueError as error:
        yield Refusal("objective.times", str(error))
        return
    if "gaussian" not in objective.kinds:
        yield Refusal("objective.name", f"{section.name} is for an ordered process; use simple, v or bound")
    if "gaussian" not in times.kinds:
        yield Refusal("objective.times", "at t = 0 there is no noise to predict; use uniform")
    yield from of("objective", objective.refusals(section.name, traits, name))
    learned = config.model.variance == "learned"
    if objective.trains_variance and not learned:
        reason = f"{section.name} trains a variance; set config.model.variance=learned"
        yield Refusal("objective.name", reason)
    if learned and objective.trains_variance is False:
        reason = f"objective {section.name!r} does not train a variance; use hybrid or bound"
        yield Refusal("model.variance", reason)
    bound = section.name == "bound"
    if section.decoder and steps:
        yield Refusal("objective.decoder", "in discrete time the last interval is one of T; leave it 0")
    elif section.decoder and not bound and not trained:
        reason = f"only the bound has an interval of its own for the decoder, not {section.name}; use 0"
        yield Refusal("objective.decoder", reason)
    if trained:
        if not bound:
            reason = f"the schedule {name} is trained too, which only the bound can do; use bound"
            yield Refusal("objective.name", reason)
        if not steps and not section.decoder:
            reason = f"the start of {name} is trained, so its last interval must count: try 0.125"
            yield Refusal("objective.decoder", reason)
        if times.part_of_objective:
            reason = f"{name} is trained on the bound, which is a mean over uniform times; use stratified"
            yield Refusal("objective.times", reason)
        if config.sampler.spacing != "uniform":
            yield Refusal("sampler.spacing", f"the grid is fixed before {name} is trained; use uniform")


def _sampler(config: ConfigDict, traits: Traits) -> Iterator[Refusal]:
    section, process = config.sampler, config.process
    yield from solver_refusals(config, traits, causal=False)
    if not section.steps:
        yield Refusal("sampler.steps", "a Gaussian process has no number of steps of its own; use 100")
    if section.spacing in ("trailing", "leading") and traits.continuous:
        reason = f"{section.spacing} is for tables; with {process.schedule} use uniform or karras"
        yield Refusal("sampler.spacing", reason)
    if process.steps and section.steps > process.steps:
        yield Refusal("sampler.steps", f"{section.steps} is more than config.process.steps {process.steps}")


def solver_refusals(config: ConfigDict, traits: Traits, causal: bool) -> Iterator[Refusal]:
    """What of the solver and its options cannot be."""
    name = config.sampler.name
    try:
        solver = make_solver(config)
    except ValueError as error:
        yield Refusal("sampler.name", f"{name} cannot be made with these options: {error}")
        return
    found = list(solver.refusals(name, traits, causal))
    yield from of("sampler", found)
    if not any(one.part == "name" for one in found):
        yield from of("sampler", samplers.unread(name, config.sampler.to_dict()))


def _grids(config: ConfigDict) -> Iterator[Refusal]:
    """The grids of sampling and of the bound can be made, and Langevin moves on the first do not diverge."""
    section, evaluation = config.sampler, config.evaluation
    one_stratum = not config.process.steps and evaluation.likelihood_groups == 1
    if one_stratum:
        reason = "one stratum leaves no time between the prior and the decoder; use 100"
        yield Refusal("evaluation.likelihood_groups", reason)
    if not section.steps or 0 < config.process.steps < section.steps:
        return  # told already
    try:
        grid = gaussian.sampling_grid(config)
    except ValueError as error:
        yield Refusal("sampler.spacing", f"no grid of {section.steps} steps with this t_min and rho: {error}")
        return
    if len(grid) > 1 and not (np.diff(grid) < 0).all():
        reason = f"{section.steps} {section.spacing} steps are finer than the levels of training; use fewer"
        yield Refusal("sampler.steps", reason)
    elif section.name == "annealed_langevin":
        moves = AnnealedLangevin(section.langevin_step, section.corrector_steps)
        yield from of("sampler", moves.diverging(gaussian.started(config), grid))
    if one_stratum:
        return
    try:
        bound = gaussian.bound_grid(config)
    except ValueError as error:
        yield Refusal("evaluation.decoder_noise", f"no bound begins at this noise: {error}")
        return
    if len(bound) < 3:
        reason = f"{evaluation.decoder_noise} is above all noise but the last; lower it"
        yield Refusal("evaluation.decoder_noise", reason)


def of(section: str, found: Any) -> Iterator[Refusal]:
    """What parts refuse, with the dotted keys of the section that they are chosen in."""
    for part, reason in found:
        yield Refusal(f"{section}.{part}", reason)


def check_data(config: ConfigDict, description: Description) -> None:
    """The network on images of this shape.

    Raises:
        UserError: one line that starts with the key to change.
    """
    models.check(config.model.name, description.shape, **model_options(config, description))
