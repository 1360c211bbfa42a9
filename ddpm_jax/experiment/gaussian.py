"""The parts of an experiment with a Gaussian process, noise, and what cannot work together in one.

What a part needs of the others it says itself (`refusals`); here is what is of the config alone.
"""

from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from ddpm_jax import models, plugins, schedules
from ddpm_jax.config.keys import KEYS
from ddpm_jax.data import Description
from ddpm_jax.denoisers import CATEGORICAL, LEARNED, ClassifierGuided, GaussianPrediction
from ddpm_jax.experiment import grids, options
from ddpm_jax.experiment.grids import sampling_process, t_min, walked_grid
from ddpm_jax.experiment.options import make_schedule, make_solver, of, options_set, own, tried
from ddpm_jax.files import Record
from ddpm_jax.generative import Bound, Measure, Model, ProbabilityFlow, Sampling, default_estimator
from ddpm_jax.processes import PROCESSES, Gaussian, Refusal, Traits

DECODER_VARIANCES = ("first_step", "second_step")
SECOND_STEP = DECODER_VARIANCES[1]
"""Whose variance the decoder of a point has: see `Gaussian.decoder_variance`."""


def model(config: ConfigDict, description: Description) -> Model:
    """What is trained."""
    said, steps = prediction(config), config.process.steps
    process = make_process(config, None if description.levels is None else description.values)
    numbers, evaluation = said.numbers(description.channels, description.levels), config.evaluation
    times = options.make_training_times(config, process.start().known, steps, t_min(config))
    return Model(
        description=description,
        process=process,
        network=models.make(
            config.model.name, description.shape, numbers, **options.model_options(config, description)
        ),
        prediction=said,
        objective=options.make_objective(config, steps),
        times=times,
        **options.drops(config),
        estimator=default_estimator(process, said, times, evaluation.likelihood_groups, evaluation.decoder_noise),
    )


def make_process(config: ConfigDict, values: np.ndarray | None = None) -> Gaussian:
    """Removal of information; `values` are those that a pixel can take."""
    function = plugins.find(PROCESSES, config.process.name)
    parts: dict[str, Any] = {"schedule": make_schedule(config), "values": values}
    if config.process.decoder_variance == SECOND_STEP:
        parts["second"] = 2 / config.process.steps
    parts |= own(config, "process.name")
    return plugins.made(config.process.name, function, parts, Gaussian)


def prediction(config: ConfigDict) -> GaussianPrediction:
    """What the network's output means."""
    section, steps = config.model, config.process.steps or 1000
    return GaussianPrediction(
        section.prediction, section.variance, section.time, section.input, steps, section.sigma_data
    )


def facts(config: ConfigDict, model: Model) -> Record:
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
    section, known = config.sampler, model.process
    process = sampling_process(config, known)
    return Sampling(
        make_solver(config),
        walked_grid(config, known, steps),
        process=None if process is known else process,
        from_level=bool(section.sigmas or section.sigma_max),
        **options.guidance(config),
        clip=section.clip,
        clip_range=(float(section.clip_range[0]), float(section.clip_range[1])),
        threshold=section.threshold,
        # draws of x serve the Markov process with a variance of its own
        point=section.eta < 1 or config.model.prediction == CATEGORICAL,
    )


def refusals(config: ConfigDict) -> Iterator[Refusal]:
    """Schedule with options, prediction, variance, objective, times and sampler, each with its dotted key."""
    process = yield from process_refusals(config)
    if process is None:
        return
    traits = process.traits()
    if config.model.name in models.POOLED:
        reason = f"{config.model.name} answers once for a whole image, for config.objective.name=classifier; use unet"
        yield Refusal("model.name", reason)
    if models.causal(config.model.name):
        reason = f"{config.model.name} is causal, and noise removes all sites at once; use unet or transformer"
        yield Refusal("model.name", reason)
    said, discrete = prediction(config), config.process.steps > 0
    yield from of("model", said.refusals(traits, config.process.schedule, discrete))
    yield from of("model", models.refusals(config.model.name, config.model.time))
    yield from _objective(config, process, traits)
    moving = yield from tried("sampler.between", "", sampling_process, config, process)
    yield from options.solver_refusals(config, traits if moving is None else moving.traits(), causal=False)
    yield from tried("sampler.guidance_rescale", "", options.guidance, config)
    ends = config.sampler.clip_range
    if len(ends) != 2 or not ends[0] < ends[1]:
        yield Refusal("sampler.clip_range", f"{ends} is not (low, high)")
    elif not config.sampler.clip and ends != KEYS["sampler.clip_range"].default:
        yield Refusal("sampler.clip_range", "nothing is clipped; set config.sampler.clip=True, or leave it (-1.0, 1.0)")
    yield from grids.refusals(config, process, traits)
    if config.sampler.classifier:
        yield from of("sampler", ClassifierGuided.refusals("classifier", traits))
    elif config.sampler.classifier_scale != 1:
        yield Refusal(
            "sampler.classifier_scale", "there is no classifier; set config.sampler.classifier, or leave it 1"
        )


def process_refusals(config: ConfigDict) -> Generator[Refusal, None, Gaussian | None]:
    """The process, if it and its schedule can be made."""
    schedule = yield from _schedule(config)
    if schedule is None:
        return None
    words = f"{config.process.name} cannot be made with these options: "
    return (yield from tried("process.name", words, make_process, config))


def _schedule(config: ConfigDict) -> Generator[Refusal, None, Any]:
    """The schedule, if it can be made with its options and number of steps."""
    section, name, steps = config.process, config.process.schedule, config.process.steps
    function = yield from tried("process.schedule", "", plugins.find, schedules.SCHEDULES, name)
    if function is None:
        return None
    table = "steps" in plugins.options(function)
    if table and not steps:
        reason = f"{name} is a table of T steps; for continuous time take another schedule, such as vp"
        yield Refusal("process.steps", reason)
        return None
    taken = [option for option in options.SCHEDULE_OPTIONS if option in schedules.options(name)]
    wrong = [option for option in options_set(config) if option not in taken]
    for option in wrong:
        reason = f"schedule {name!r} has no such option; it has {', '.join(taken) or 'none'}"
        yield Refusal(f"process.{option}", reason)
    if wrong:
        return None
    if section.decoder_variance == SECOND_STEP:
        if steps < 2:
            yield Refusal("process.decoder_variance", "there is no second step; use first_step, or more steps")
            return None
        if config.model.variance in LEARNED or config.model.prediction == CATEGORICAL:
            reason = "it is of a fixed variance, and this model puts out its own; use first_step"
            yield Refusal("process.decoder_variance", reason)
        if config.evaluation.decoder_noise:
            reason = "the second step's variance is of the first one's decoder; set it to 0, which goes down to there"
            yield Refusal("evaluation.decoder_noise", reason)
    if steps and section.t_min:
        yield Refusal("process.t_min", "in discrete time it is 1/T; leave it 0, or set config.process.steps=0")
    key = "steps" if table and not options.schedule_options(config) else "schedule"
    key = "table_file" if "table_file" in taken else key
    words = f"{name} cannot be made with {steps} steps and these options: "
    made = yield from tried(f"process.{key}", words, make_schedule, config)
    if made is not None and plugins.dotted(name):  # what of it is wrong is met here
        met = yield from tried("process.schedule", words, plugins.made, name, Gaussian(made).traits, {})
        return made if met else None
    return made


def _objective(config: ConfigDict, process: Gaussian, traits: Traits) -> Iterator[Refusal]:
    section, steps, schedule = config.objective, config.process.steps, config.process.schedule
    objective = yield from tried("objective.name", "", options.make_objective, config, steps)
    place = (process.start().known, steps, t_min(config), 0.0)
    times = yield from tried("objective.times", "", options.make_training_times, config, *place)
    if objective is None or times is None:
        return
    yield from options.of_kind("gaussian", objective, times)
    yield from of("objective", objective.refusals(section.name, traits, schedule))
    learned = config.model.variance in LEARNED
    if objective.trains_variance and not learned:
        yield Refusal("objective.name", f"{section.name} trains a variance; set config.model.variance=learned")
    if learned and objective.trains_variance is False:
        reason = f"objective {section.name!r} does not train a variance; use hybrid or bound"
        yield Refusal("model.variance", reason)
    bound, trained = section.name == "bound", isinstance(process.schedule, schedules.Trained)
    if section.decoder and steps:
        yield Refusal("objective.decoder", "in discrete time the last interval is one of T; leave it 0")
    elif section.decoder and not bound and not trained:
        reason = f"only the bound has an interval of its own for the decoder, not {section.name}; use 0"
        yield Refusal("objective.decoder", reason)
    if not trained:
        return
    if not bound:
        reason = f"the schedule {schedule} is trained too, which only the bound can do; use bound"
        yield Refusal("objective.name", reason)
    if not steps and not section.decoder:
        reason = f"the start of {schedule} is trained, so its last interval must count: try 0.125"
        yield Refusal("objective.decoder", reason)
    if times.part_of_objective:
        reason = f"{schedule} is trained on the bound, which is a mean over uniform times; use stratified"
        yield Refusal("objective.times", reason)
    if config.sampler.spacing != "uniform":
        yield Refusal("sampler.spacing", f"the grid is fixed before {schedule} is trained; use uniform")
    if config.sampler.sigmas:
        yield Refusal("sampler.sigmas", f"the levels of {schedule} are not known before it is trained; use times")


def check_data(config: ConfigDict, description: Description) -> None:
    """The network on images of this shape. Raises UserError: one line that starts with the key to change."""
    models.check(config.model.name, description.shape, **options.model_options(config, description))
