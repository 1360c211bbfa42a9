"""What a config may hold: names, what does not go together, and what does not fit the data. Asked before all else.

Checks raise `UserError` with a line for each key to change, which it starts with.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from ddpm_jax import denoisers, models, plugins, schedules
from ddpm_jax.config.checks import check_values, tell
from ddpm_jax.config.identity import flatten
from ddpm_jax.config.keys import IN_PYTHON, KEYS, OF_FOLDERS, OPTIONS
from ddpm_jax.data import Description
from ddpm_jax.devices import plan
from ddpm_jax.errors import UserError, fail, nearest
from ddpm_jax.experiment import classifier, gaussian, ordered, uniform
from ddpm_jax.likelihood import DIVERGENCES
from ddpm_jax.objectives.losses import OBJECTIVES
from ddpm_jax.objectives.times import TIMES
from ddpm_jax.plugins import FOLDER
from ddpm_jax.processes import PROCESSES, Refusal
from ddpm_jax.processes.ordered import SPACINGS
from ddpm_jax.processes.orders import ORDERS, RANDOM
from ddpm_jax.samplers import SOLVERS
from ddpm_jax.samplers.coordinates import COORDINATES
from ddpm_jax.samplers.estimates import NOISE_LAWS
from ddpm_jax.schedules import SCHEDULES, betas, grids
from ddpm_jax.schedules.keeping import KEEPS
from ddpm_jax.training import logging, optimizer

FAMILIES: dict[str, Any] = {"gaussian": gaussian, "ordered": ordered, "uniform": uniform}
"""What chooses the parts of an experiment with a process of this kind."""

GIVEN = {
    "data.name": (),
    "process.name": ("schedule", "values", "order", "keep", "apart"),
    "process.schedule": schedules.GIVEN,
    "process.order": ("space", "channels", "chunk", "seed"),
    "model.name": models.GIVEN,
    "objective.name": ("steps", "sigma_data"),
    "objective.times": ("steps", "t_min", "decoder", "schedule"),
    "sampler.name": tuple(key.rpartition(".")[2] for key in KEYS if key.startswith("sampler.")),
    "evaluation.features": ("train_images", "train_labels", "levels"),
}
"""Arguments that a part of the user's own is given besides its options, if it takes them."""

SMALLEST_SIDE = 8
"""Of an image whose sample quality is measured: the classifier halves it twice."""

_WORDS = {"gaussian": "of noise", "ordered": "of an ordered process", "uniform": "of uniform corruption"}


def kind_of(config: ConfigDict) -> str:
    """The kind of the config's process. Raises ValueError for a name that there is not."""
    found = plugins.find(PROCESSES, config.process.name)
    if getattr(found, "kind", None) not in FAMILIES:
        raise ValueError(
            f"{config.process.name} has no kind: it must be a class, a dj.Gaussian, dj.Ordered or dj.Uniform"
        )
    return found.kind


def family_of(config: ConfigDict) -> Any:
    """What chooses the parts of the experiment. Raises ValueError as `kind_of`."""
    kind = kind_of(config)
    return classifier if (kind, config.objective.name) == ("gaussian", classifier.OBJECTIVE) else FAMILIES[kind]


def choices(kind: str = "") -> dict[str, tuple[str, ...]]:
    """The names that a key can take, from each folder's table; those for processes of one kind, if it is given."""
    from ddpm_jax.metrics.kept import FEATURES  # imports Flax, which is slow

    own: dict[str, dict[str, Any]] = {
        "process.schedule": {"gaussian": SCHEDULES, "ordered": KEEPS, "uniform": KEEPS},
        "model.name": {
            "gaussian": (*models.NETWORKS, *models.POOLED),
            "ordered": models.NETWORKS,
            "uniform": models.NETWORKS,
        },
        "model.prediction": {
            "gaussian": (*denoisers.PREDICTIONS, denoisers.CATEGORICAL),
            "ordered": denoisers.HEADS,
            "uniform": (denoisers.CATEGORICAL,),
        },
        "model.time": {"gaussian": denoisers.C_NOISE, "ordered": ("hidden",), "uniform": ("thousand",)},
        "objective.name": {kind: [name for name, one in OBJECTIVES.items() if kind in one.kinds] for kind in FAMILIES},
        "objective.times": {
            kind: [name for name, one in TIMES.items() if kind in getattr(one, "kinds", ())] for kind in FAMILIES
        },
        "sampler.spacing": {"gaussian": grids.SPACINGS, "ordered": SPACINGS, "uniform": SPACINGS},
    }
    tables: dict[str, Any] = {
        "data.placement": ("auto", "device", "host"),
        "process.name": PROCESSES,
        "process.order": ORDERS,
        "process.sites": ("pixels", "channels"),
        "process.table_values": (betas.BETAS, betas.ALPHAS_CUMPROD),
        "process.decoder_variance": gaussian.DECODER_VARIANCES,
        "model.variance": denoisers.VARIANCES,
        "model.input": denoisers.C_IN,
        "sampler.name": SOLVERS,
        "sampler.noise_law": NOISE_LAWS,
        "sampler.coordinate": COORDINATES,
        "optimizer.name": optimizer.OPTIMIZERS,
        "optimizer.schedule": optimizer.SCHEDULES,
        "evaluation.features": FEATURES,
        "evaluation.ode_divergence": DIVERGENCES,
        "evaluation.order": [name for name in ORDERS if name not in RANDOM],
        "parallel.map": plan.MAPS,
        "parallel.shard": plan.SHARDS,
        "parallel.loop": plan.LOOPS,
        "logging.wandb": logging.WANDB_MODES,
    }
    for key, names in own.items():
        tables[key] = names[kind] if kind else dict.fromkeys(name for some in names.values() for name in some)
    return {key: tuple(table) for key, table in tables.items()}


def check(config: ConfigDict) -> None:
    """All that can be checked without data or devices.

    Raises:
        UserError: a line for each key to change, which it starts with.
    """
    check_values(config)
    tell(_names(config))
    tell(_refusals(config))


def _names(config: ConfigDict) -> Iterator[tuple[str, str]]:
    """Names that there are not, and options that a user's own part does not take: `(key, reason)`."""
    values = flatten(config)
    if values["model.name"] == IN_PYTHON:
        yield "model.name", "this run's model was made in Python: use ddpm_jax.load_run(folder, model=..., dataset=...)"
        return
    yield from check_choices(config)
    if plugins.dotted(values["data.name"]):
        for key in ("data.dir", "data.splits.train", "data.splits.validation", "data.splits.test"):
            if values[key]:
                yield key, f"{values['data.name']} makes its splits itself; leave it empty, or give it data.options"
    if values["data.view_noise"] and not values["data.views"]:
        yield "data.view_noise", "there are no views to which it is added; set config.data.views, or leave it 0"
    if values["data.channels"] == 2:
        yield "data.channels", "2 is not one of 0, 1, 3, 4"
    for key in (f"data.{name}" for name in OF_FOLDERS):
        if values["data.name"] != FOLDER and values[key] != KEYS[key].default:
            yield key, f"is for pictures of your own, config.data.name={FOLDER}; leave it {KEYS[key].default!r}"
    if values["data.name"] == FOLDER and not values["data.dir"]:
        yield "data.dir", "is empty; give the folder of your pictures"
    for key, section in OPTIONS.items():
        own = {name.removeprefix(f"{section}."): values[name] for name in values if name.startswith(f"{section}.")}
        if not plugins.dotted(values[key]):
            for name in own:
                yield f"{section}.{name}", f"is for a part of your own; {values[key]} is ours and has keys of its own"
            continue
        try:
            function = plugins.find({}, values[key])
        except ValueError as error:
            yield key, str(error)
            continue
        found = plugins.refusals(function, own, GIVEN[key])
        yield from ((f"{section}.{name}", reason) for name, reason in found)


def check_choices(config: ConfigDict) -> Iterator[tuple[str, str]]:
    """Names that are in no table and no dotted path: `(key, reason)`."""
    values = flatten(config)
    for key, names in choices().items():
        if values[key] not in names and not (key in OPTIONS and plugins.dotted(values[key])):
            yield key, f"unknown name {values[key]!r}; {nearest(values[key], names)}"


def _refusals(config: ConfigDict) -> Iterator[Refusal]:
    """What cannot work together of values that are each fine, each with its dotted key."""
    try:
        kind = kind_of(config)
    except ValueError as error:
        yield Refusal("process.name", str(error))
        return
    values = flatten(config)
    kinds = {other: choices(other) for other in FAMILIES}
    for key, names in kinds[kind].items():
        if values[key] not in names and not plugins.dotted(values[key]):
            other = " or ".join(words for of, words in _WORDS.items() if values[key] in kinds[of][key])
            yield Refusal(key, f"{values[key]} is {other}, and this one is {_WORDS[kind]}; use {' or '.join(names)}")
            if key == "process.schedule":  # of which the parts are made that could say more
                return
    for name, key in KEYS.items():
        of = key.of.split()
        if of and kind not in of and values[name] not in (key.silent, ("",)):
            silent = key.silent if key.silent not in ("", (), ("",)) else "empty"
            yield Refusal(name, f"is {' or '.join(_WORDS[one] for one in of)}; leave it {silent}")
    yield from family_of(config).refusals(config)


def check_data(config: ConfigDict, description: Description, sizes: Mapping[str, int] | None = None) -> None:
    """What depends on the data: an image that the network can take, labels where they are asked for, enough images.

    Args:
        config: checked by `check`.
        description: of the data set.
        sizes: the number of images of each split, where it is to be enough for training and its evaluation.

    Raises:
        UserError: as `check`.
    """
    name = description.name
    if config.model.vocabulary not in (0, description.levels):
        words = f"{config.model.vocabulary} does not fit {name!r}: {description.levels} levels"
        fail("model.vocabulary", words)
    try:
        family_of(config).check_data(config, description)
    except ValueError as error:
        fail("model.name", str(error))
    told = {one: description.conditions.only([one])[one] for one in config.model.conditions}
    texts = [one for one, kind in told.items() if kind.said]
    check_prompts(config, description)
    if config.model.text_encoder and not texts:
        fail("model.text_encoder", "the network is told no text: add it to config.model.conditions")
    if config.data.flip and any(kind.kind != "label" for kind in told.values()):
        fail("data.flip", "a flip makes left of right, which a condition may speak of or show; set it to False")
    if description.levels is None:
        fail("data.name", f"{name!r} has no levels, so there are no bits per dimension to evaluate")
    if config.data.flip and len(description.shape) < 2:
        fail("data.flip", f"images of shape {description.shape} have no horizontal axis")
    if sizes is not None:
        check_sizes(config, description, sizes)


def check_prompts(config: ConfigDict, description: Description) -> None:
    """Prompts to draw at milestones that the model can be told.

    Raises:
        UserError: as `check`.
    """
    if not config.evaluation.prompts:
        return
    try:
        if "text" not in config.model.conditions:
            raise UserError("the model is not told a text; add it to config.model.conditions")
        description.conditions.only(["text"]).rows({"text": config.evaluation.prompts})
    except UserError as error:
        fail("evaluation.prompts", str(error))


def check_sizes(config: ConfigDict, description: Description, sizes: Mapping[str, int]) -> None:
    """Enough images of each split for training and its evaluation.

    Raises:
        UserError: as `check`.
    """
    for split in ("train", "validation"):
        if sizes.get(split, 1) < 1:
            fail("data.name", f"{description.name!r} has no images in its split {split!r}")
    measured = config.evaluation.at_end and config.evaluation.samples and not description.known_law
    if measured and min(description.space) < SMALLEST_SIDE:
        fail("evaluation.samples", f"sample quality needs sides of at least {SMALLEST_SIDE} pixels; 0 leaves it out")
    if not config.evaluation.at_end:
        return
    for key in ("evaluation.samples", "evaluation.likelihood_images"):
        least = KEYS[key].some
        wanted = measured if key == "evaluation.samples" else config.evaluation.likelihood_images
        for split in ("train", "test"):
            if wanted and sizes.get(split, least) < least:
                there = f"the split {split!r} of {description.name!r} has {sizes[split]}"
                fail(key, f"it needs {least} images, and {there}; 0 leaves it out, config.evaluation.at_end=False all")
