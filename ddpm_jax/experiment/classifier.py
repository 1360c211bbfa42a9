"""The parts of a classifier of noisy images, and what cannot work together in one.

It is trained on the process and the data of the runs that it is to guide. It draws no images and gives them no
probability, so a config must ask for neither.
"""

from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from ddpm_jax import models, schedules
from ddpm_jax.config.identity import flatten
from ddpm_jax.data import Description
from ddpm_jax.denoisers import LABEL, ClassifierGuided, LabelPrediction
from ddpm_jax.errors import fail
from ddpm_jax.experiment import gaussian, options
from ddpm_jax.experiment.grids import t_min
from ddpm_jax.experiment.options import make_schedule, of, tried
from ddpm_jax.files import Record
from ddpm_jax.generative import Measure, Model
from ddpm_jax.processes import Refusal

OBJECTIVE = "classifier"
"""The objective's name, which makes an experiment one of these."""

DRAWS_NOTHING = "a classifier draws no images; give its folder to a run of noise as --classifier or sampler.classifier"

NOT_MEASURED = (
    *("samples", "likelihood_images", "ode_images", "pictures", "history", "raw"),
    *("curve", "curve_guidance", "prompts"),
)
"""Keys of the evaluation that ask for images or their probability."""


def model(config: ConfigDict, description: Description) -> Model:
    """What is trained."""
    said, steps = prediction(config, description), config.process.steps
    process = gaussian.make_process(config, None if description.levels is None else description.values)
    chosen = {**options.model_options(config, description), "conditioning": _told(description)}
    return Model(
        description=description,
        process=process,
        network=models.make(config.model.name, description.shape, said.classes, **chosen),
        prediction=said,
        objective=options.make_objective(config, steps),
        times=options.make_training_times(config, process.known, steps, t_min(config)),
        condition_drop=0.0,
    )


def prediction(config: ConfigDict, description: Description) -> LabelPrediction:
    """What the network's output means."""
    section, steps = config.model, config.process.steps or 1000
    return LabelPrediction(description.labels, section.time, section.input, steps, section.sigma_data)


def _told(description: Description) -> Any:
    """What comes with an image: the label that is to be told."""
    return models.Conditioning(description.conditions.only([LABEL]))


def sampling(config: ConfigDict, model: Model, steps: int | None = None, order: str | None = None) -> None:
    """There is none."""


def measures(config: ConfigDict, model: Model) -> dict[str, Measure]:
    """There are none."""
    return {}


def facts(config: ConfigDict, model: Model) -> Record:
    """There are none."""
    return {}


def refusals(config: ConfigDict) -> Iterator[Refusal]:
    """Network, process, times, and figures that there cannot be, each with its dotted key."""
    if config.model.name not in models.POOLED:
        reason = f"{config.model.name} answers at every pixel, and a classifier once for an image; use half_unet"
        yield Refusal("model.name", reason)
    if config.model.conditions:
        yield Refusal("model.conditions", "a classifier is told nothing but the image; leave it empty")
    for key in NOT_MEASURED:
        if value := flatten(config)[f"evaluation.{key}"]:
            reason = f"a classifier draws no images and gives them no probability; set it to {type(value)()}"
            yield Refusal(f"evaluation.{key}", reason)
    for key in ("weak", "classifier"):
        if config.sampler[key]:
            yield Refusal(f"sampler.{key}", "a classifier draws no images; leave it empty")
    if config.objective.decoder:
        yield Refusal("objective.decoder", "a classifier has no decoder; leave it 0")
    process = yield from gaussian.process_refusals(config)
    if process is None:
        return
    if isinstance(process.schedule, schedules.Trained):
        yield Refusal(
            "process.schedule", "this schedule is trained on a bound, which a classifier has not; use another"
        )
        return
    traits, schedule, steps = process.traits(), config.process.schedule, config.process.steps
    yield from of("process", ClassifierGuided.refusals("schedule", traits))
    time = LabelPrediction(1, config.model.time).refusals(traits, schedule, steps > 0)
    yield from of("model", time)
    times = options.make_training_times, config, make_schedule(config), steps, t_min(config)
    yield from tried("objective.times", "", *times)


def check_data(config: ConfigDict, description: Description) -> None:
    """Labels, and the network on images of this shape. Raises UserError: a line that starts with the key to change."""
    if not description.labels:
        fail("data.name", f"{description.name!r} has no labels, which a classifier is to tell")
    models.check(config.model.name, description.shape, **options.model_options(config, description))
