"""Training from Python: of a config, or of a model that no config knows."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from ddpm_jax.config.base import base
from ddpm_jax.config.checks import check_values, tell
from ddpm_jax.config.identity import within
from ddpm_jax.config.keys import IN_PYTHON
from ddpm_jax.config.loading import follow_sampler, put
from ddpm_jax.data import Dataset, from_arrays, load
from ddpm_jax.devices.programs import in_32_bits
from ddpm_jax.errors import UserError
from ddpm_jax.experiment.checks import check, check_choices
from ddpm_jax.files import Record, sha256
from ddpm_jax.generative import Model, Sampling
from ddpm_jax.pipeline import train as pipeline
from ddpm_jax.pipeline.restored import Run, given, restore
from ddpm_jax.plugins import Options

SETTINGS: Record = {
    "training.steps": 1000,
    "optimizer.warmup": 100,
    "optimizer.schedule": "cosine",
    "optimizer.learning_rate": 1e-3,
    "evaluation.at_end": False,
    "logging.wandb": "off",
}
"""What differs from the base config where training is called from Python."""


@in_32_bits
def train(
    model: Model | ConfigDict,
    data: Dataset | str | np.ndarray | None = None,
    workdir: str | Path = "runs/python",
    settings: Options | None = None,
    sampling: Sampling | None = None,
) -> Run:
    """Train in a folder, or go on there, as `python -m ddpm_jax.train` does, and return the run.

    >>> import ddpm_jax as dj
    >>> from ddpm_jax.config import base
    >>> run = dj.train(base.digits(), workdir="runs/mine", settings={"training.steps": 10})  # doctest: +SKIP

    Args:
        model: a `Model`, or a config of one.
        data: of a model a `Dataset` (such as `from_arrays` makes), the name of one, or images, uint8 `[n, *space,
            channels]` with 256 levels, of which the last tenth serves for validation; of a config a name, or nothing.
        workdir: the run's folder.
        settings: dotted keys of the config and values; where the model is made in Python, of what it does not say.
        sampling: how pictures and samples are drawn from a model made in Python; `Sampling.default` otherwise.

    Raises:
        UserError: as the command says it in a line; nothing has been written then.
    """
    by_hand = isinstance(model, Model)
    config = base() if by_hand else model.copy_and_resolve_references()
    config = changed(config, {**(SETTINGS if by_hand else {}), **(settings or {})}, by_hand)
    folder = Path(workdir)
    if not by_hand:
        if isinstance(data, str):
            config.data.name = data
        elif data is not None:
            raise UserError("data: a config names its data set; give its name, or config.data.name a dotted path")
        check(config)
        pipeline.train(config, folder)
        return restore(config, folder)
    dataset = _dataset(data)
    check_fit(model, dataset)
    config.model.name, config.model.conditions = IN_PYTHON, tuple(model.network.conditions)
    config.model.options.digest = digest(model)
    for key in SAID_BY_THE_MODEL:
        config.update_from_flattened_dict({key: IN_PYTHON})
    config.data.name = dataset.description.name
    check_values(config)
    tell(pair for pair in check_choices(config) if pair[0] not in (*SAID_BY_THE_MODEL, "model.name"))
    made = given(config, model, sampling)
    pipeline.train(config, folder, experiment=made, dataset=dataset)
    return restore(config, folder, experiment=made, dataset=dataset)


def check_fit(model: Model, dataset: Dataset) -> None:
    """A model and data of the same description, and parts that go together.

    Raises:
        UserError: they do not.
    """
    own, theirs = model.description, dataset.description
    for name in ("shape", "levels", "conditions"):
        if getattr(own, name) != getattr(theirs, name):
            words = f"{getattr(theirs, name)}, and the model is for {getattr(own, name)}"
            raise UserError(f"data: the {name} of {theirs.name!r} is {words}")
    if reasons := list(model.refusals()):
        raise UserError("\n".join(f"model: {reason}" for reason in reasons))


def digest(model: Model) -> str:
    """Of all that a model is made of, so that a folder knows its own: 16 hexadecimal digits."""
    return sha256(list(_words(model)))[:16]


def _words(part: Any) -> Iterator[str | np.ndarray]:
    """The types and values of a part's fields, and of theirs; of what has none its type alone."""
    yield f"{type(part).__module__}.{type(part).__qualname__}"
    if isinstance(part, np.ndarray | jax.Array):
        yield np.asarray(part)
    elif isinstance(part, str | int | float | bool | None):
        yield repr(part)
    elif isinstance(part, tuple | list):
        for item in part:
            yield from _words(item)
    elif is_dataclass(part):
        for one in fields(part):
            value = getattr(part, one.name)
            if one.metadata.get("later") and value == one.default:
                continue  # runs from before the field are known by a part without it
            if one.compare and one.name not in ("parent", "name"):  # a Linen module's place
                yield one.name
                yield from _words(value)


OF_THE_MODEL = (
    "model",
    "process",
    "objective",
    "data.name",
    "data.options",
    "data.levels",
    "data.splits",
    "data.dir",
    "data.flip",
    "data.views",
    "data.view_noise",
)
"""What a model made in Python, and its data, say themselves."""

SAID_BY_THE_MODEL = (
    *("process.name", "process.schedule", "process.order", "model.prediction", "model.variance", "model.time"),
    *("model.input", "objective.name", "objective.times", "sampler.name", "sampler.spacing"),
)
"""Names that the config of such a run does not know."""

OF_SAMPLING = ("sampler.ema", "sampler.batch")
"""What is read of the section sampler; a `Sampling` says the rest."""


def changed(config: ConfigDict, settings: Options, by_hand: bool) -> ConfigDict:
    """The config with these values.

    Raises:
        UserError: a key that there is not or is not read, or a value of another type.
    """
    before = config.sampler.name
    for key, value in settings.items():
        if by_hand and (within(key, OF_THE_MODEL) or (within(key, ["sampler"]) and key not in OF_SAMPLING)):
            raise UserError(f"settings: {key} is not read: a model made in Python, its data or its sampling say it")
        try:
            put(config, key, value)
        except UserError as error:
            raise UserError(str(error).replace("config.", "settings: ", 1)) from error
    if "sampler.name" in settings:
        follow_sampler(config, before, settings)
    return config


def _dataset(data: Dataset | str | np.ndarray | None) -> Dataset:
    if data is None:
        raise UserError("data is missing: give a data set, the name of one, or images")
    if isinstance(data, str):
        return load(data)
    if isinstance(data, np.ndarray):
        kept = len(data) - max(len(data) // 10, 1)
        return from_arrays({"train": data[:kept], "validation": data[kept:]})
    return data
