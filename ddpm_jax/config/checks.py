"""What a config may hold. Everything is checked here before anything is built.

A config file takes `base.base()`, changes some of it and returns it. Values keep their types: a path to a value
and a type are all that an override can change. Checks raise `UserError` with one line that starts with the key.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from ddpm_jax import plugins
from ddpm_jax.config.base import base
from ddpm_jax.config.identity import flatten
from ddpm_jax.config.keys import KEYS
from ddpm_jax.errors import UserError, fail, nearest, one_line
from ddpm_jax.plugins import GIVEN, IN_PYTHON, OPTIONS, is_option

SMALLEST_FLOAT, LARGEST_FLOAT = 1.1754944e-38, 3.4028235e38
"""Of normal numbers in float32: below, a number may be taken for 0, and 0 means "none" for many keys."""


def check_types(config: ConfigDict) -> None:
    """Every key is there, and none besides; every value is of its type, finite, and fits where it will be kept.

    Raises:
        UserError: as `check`.
    """
    known = flatten(base())
    values = flatten(config)
    for key in known:
        if key not in values:
            fail(key, "is missing; start from ddpm_jax.config.base.base()")
    for key, value in values.items():
        if is_option(key):
            if not _plain(value):
                fail(key, f"{value!r} is no option: options are numbers, strings, True or False, and tuples of these")
            continue
        if key not in known:
            fail(key, f"no such key; {nearest(key, known)}")
        wanted = type(known[key])
        good = isinstance(value, wanted) or (wanted is float and isinstance(value, int))
        if not good or (isinstance(value, bool) and wanted is not bool):
            fail(key, f"{value!r} is not of type {wanted.__name__}")
        if isinstance(value, float) and not math.isfinite(value):
            fail(key, f"{value} is not finite")
        check_size(key, value)
        if wanted is int and value >= 2 ** KEYS[key].bits:
            fail(key, f"{value} is not below 2^{KEYS[key].bits}")
        if wanted is tuple:
            kind = type(known[key][0]) if known[key] else int
            items: Any = value
            for item in items:
                if isinstance(item, bool) or not isinstance(item, (int, float) if kind is float else kind):
                    fail(key, f"{item!r} is not of type {kind.__name__}")
                if isinstance(item, float) and not math.isfinite(item):
                    fail(key, f"{item} is not finite")
                check_size(key, item)
                if kind is not str and item >= 2**31:
                    fail(key, f"{item} is not below 2^31")


def _plain(value: Any) -> bool:
    """Whether JSON keeps it: numbers, strings, True or False, and tuples of these."""
    if isinstance(value, tuple):
        return all(map(_plain, value))
    return isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))


def check_size(key: str, value: Any) -> None:
    """Raise UserError for a number that float32 cannot tell from 0 or from infinity."""
    if isinstance(value, float) and value and not SMALLEST_FLOAT <= abs(value) <= LARGEST_FLOAT:
        size = "small to be told from 0" if abs(value) < 1 else "large for float32"
        fail(key, f"{value:g} is too {size}; 0 means none where there may be none")


SMALLEST_SIDE = 8
"""Of an image whose sample quality is measured: the classifier halves it twice."""

SITES = ("pixels", "channels")

PLACEMENTS = ("auto", "device", "host")


def choices() -> dict[str, tuple[str, ...]]:
    """The names that a key can take, from each room's table."""
    from ddpm_jax import denoisers
    from ddpm_jax.devices import plan
    from ddpm_jax.likelihood import DIVERGENCES
    from ddpm_jax.metrics.features import FEATURES
    from ddpm_jax.models import NETWORKS
    from ddpm_jax.objectives import losses
    from ddpm_jax.objectives.times import TIMES
    from ddpm_jax.processes import PROCESSES
    from ddpm_jax.processes.orders import ORDERS, RANDOM
    from ddpm_jax.samplers import SOLVERS
    from ddpm_jax.schedules import SCHEDULES
    from ddpm_jax.schedules.grids import SPACINGS
    from ddpm_jax.schedules.keeping import KEEPS
    from ddpm_jax.training import logging, optimizer

    tables = {
        "data.placement": PLACEMENTS,
        "process.name": PROCESSES,
        "process.order": ORDERS,
        "process.sites": SITES,
        "process.schedule": dict.fromkeys([*SCHEDULES, *KEEPS]),
        "model.name": NETWORKS,
        "model.prediction": dict.fromkeys([*denoisers.PREDICTIONS, *denoisers.HEADS]),
        "model.variance": denoisers.VARIANCES,
        "model.time": (*denoisers.C_NOISE, "hidden"),
        "model.input": denoisers.C_IN,
        "objective.name": losses.OBJECTIVES,
        "objective.times": TIMES,
        "sampler.name": SOLVERS,
        "sampler.spacing": SPACINGS,
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
    return {key: tuple(table) for key, table in tables.items()}


def check(config: ConfigDict) -> None:
    """All that can be checked without data or devices.

    Raises:
        UserError: a line for each key to change, which it starts with.
    """
    from ddpm_jax import experiment

    check_values(config)
    tell(check_names(config))
    tell(experiment.refusals(config))


def check_names(config: ConfigDict) -> Iterator[tuple[str, str]]:
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
        given = (*GIVEN[key], *(config.sampler if key == "sampler.name" else ()))
        yield from ((f"{section}.{name}", reason) for name, reason in plugins.refusals(function, own, given))


def check_choices(config: ConfigDict) -> Iterator[tuple[str, str]]:
    """Names that are in no table and no dotted path: `(key, reason)`."""
    values = flatten(config)
    for key, names in choices().items():
        if values[key] not in names and not (key in OPTIONS and plugins.dotted(values[key])):
            yield key, f"unknown name {values[key]!r}; {nearest(values[key], names)}"


def tell(found: Iterable[tuple[str, str]]) -> None:
    """Raise one UserError of all that was found, `(key, reason)`, a line for each key; none where nothing was."""
    reasons: dict[str, str] = {}
    for key, reason in found:
        reasons.setdefault(key, one_line(reason))  # what comes later may be a consequence
    if reasons:
        raise UserError("\n".join(f"config.{key}: {reason}" for key, reason in reasons.items()))


def check_values(config: ConfigDict) -> None:
    """The part of `check` that needs no heavy import: types, ranges, and values that contradict one another."""
    check_types(config)
    tell(value_refusals(config))


def value_refusals(config: ConfigDict) -> Iterator[tuple[str, str]]:
    """Values out of their range, and those that contradict one another: `(key, reason)`."""
    values = flatten(config)
    for name, key in KEYS.items():
        if isinstance(key.default, int | float) and (reason := key.missed(values[name])):
            yield (name, reason)
    if config.data.batch % config.training.accumulate:
        yield (
            "training.accumulate",
            f"{config.training.accumulate} does not divide config.data.batch {config.data.batch}",
        )
    for steps in config.evaluation.curve:
        if steps < 1:
            yield ("evaluation.curve", f"{steps} is not a number of steps, at least 1")
    for decay in config.optimizer.ema:
        if not 0 < decay < 1:
            yield ("optimizer.ema", f"a decay of {decay} is not in (0, 1)")
    if len(set(config.optimizer.ema)) < len(config.optimizer.ema):
        yield ("optimizer.ema", f"{config.optimizer.ema} has the same decay twice")
    if config.sampler.ema and config.sampler.ema not in config.optimizer.ema:
        yield ("sampler.ema", f"{config.sampler.ema} is not one of config.optimizer.ema {config.optimizer.ema}")
    if not any(values[f"training.{limit}"] for limit in ("steps", "images", "seconds", "flops")):
        yield ("training.steps", "no budget: set steps, images, seconds or flops")
    if config.parallel.map == "pmap" and config.parallel.shard != "replicated":
        yield ("parallel.shard", '"pmap" keeps the state replicated; use config.parallel.map="jit" for fsdp')
    if config.parallel.map == "pmap" and config.parallel.distributed:
        yield ("parallel.map", '"pmap" is for the devices of one process; use "jit" with several processes')
    if config.sampler.guidance != 1 and not config.model.conditional:
        yield ("sampler.guidance", "guidance needs config.model.conditional=True")
    if config.sampler.guidance != 1 and not config.objective.condition_drop:
        yield (
            "sampler.guidance",
            "guidance needs a network trained without labels too: config.objective.condition_drop",
        )
    if len({bool(words) for words in config.data.splits.values()}) > 1:
        yield ("data.splits", "name all three, train, validation and test, or none")


def check_data(config: ConfigDict, description: Any, sizes: Mapping[str, int] | None = None) -> None:
    """What depends on the data: an image that the network can take, labels where they are asked for, enough images.

    Args:
        config: checked by `check`.
        description: of the data set.
        sizes: the number of images of each split, where it is to be enough for training and its evaluation.

    Raises:
        UserError: as `check`.
    """
    from ddpm_jax import experiment

    if config.model.vocabulary not in (0, description.levels):
        fail(
            "model.vocabulary",
            f"{config.model.vocabulary} does not fit {description.name!r}: {description.levels} levels",
        )
    experiment.check_data(config, description)
    if config.model.conditional and not description.labels:
        fail("model.conditional", f"data set {description.name!r} has no labels")
    if description.levels is None:
        fail("data.name", f"{description.name!r} has no levels, so there are no bits per dimension to evaluate")
    if config.data.flip and len(description.shape) < 2:
        fail("data.flip", f"images of shape {description.shape} have no horizontal axis")
    if sizes is not None:
        check_sizes(config, description, sizes)


def check_sizes(config: ConfigDict, description: Any, sizes: Mapping[str, int]) -> None:
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
