"""Training from Python: of a config, or of a model that no config knows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from ddpm_jax.config import checks
from ddpm_jax.config.base import base
from ddpm_jax.config.identity import flatten
from ddpm_jax.data import Dataset, from_arrays, load
from ddpm_jax.errors import UserError, nearest
from ddpm_jax.files import sha256
from ddpm_jax.generative import Model, Sampling
from ddpm_jax.pipeline import train as pipeline
from ddpm_jax.pipeline.restored import Run, given, restore
from ddpm_jax.plugins import IN_PYTHON

SETTINGS: dict[str, Any] = {
    "training.steps": 1000,
    "optimizer.warmup": 100,
    "optimizer.schedule": "cosine",
    "optimizer.learning_rate": 1e-3,
    "evaluation.at_end": False,
    "logging.wandb": "off",
}
"""What differs from the base config where training is called from Python."""


def train(
    model: Model | ConfigDict,
    data: Dataset | str | np.ndarray | None = None,
    workdir: str | Path = "runs/python",
    settings: Mapping[str, Any] | None = None,
    sampling: Sampling | None = None,
) -> Run:
    """Train in a folder, or go on there, as `python -m ddpm_jax.train` does, and return the run.

    >>> import ddpm_jax as dj
    >>> from ddpm_jax.config import base
    >>> run = dj.train(base.digits(), workdir="runs/mine", settings={"training.steps": 10})  # doctest: +SKIP

    Args:
        model: a `Model`, or a config of one.
        data: a `Dataset` (such as `from_arrays` makes), the name of one, or images, uint8 `[n, *space, channels]` with
            256 levels, of which the last tenth serves for validation; of a config it may be left out.
        workdir: the run's folder.
        settings: dotted keys of the config and values: of the sections training, optimizer, data, sampler, evaluation,
            logging and parallel. Of a model made in Python these are all that its config says.
        sampling: how pictures and samples are drawn from a model made in Python; `Sampling.default` otherwise.

    Raises:
        UserError: as the command says it in a line; nothing has been written then.
    """
    by_hand = isinstance(model, Model)
    config = base() if by_hand else model.copy_and_resolve_references()
    config = changed(config, {**(SETTINGS if by_hand else {}), **(settings or {})})
    dataset = _dataset(data)
    if not by_hand:
        checks.check(config)
        if isinstance(data, str):
            config.data.name = data
        pipeline.train(config, Path(workdir), dataset=None if isinstance(data, str) else dataset)
        return restore(config, Path(workdir), dataset=dataset)
    if dataset is None:
        raise UserError("data is missing: give a data set, the name of one, or images")
    if model.description.shape != dataset.description.shape:
        shapes = f"{dataset.description.shape}, and the model is for {model.description.shape}"
        raise UserError(f"the images are {shapes}")
    config.model.name, config.model.conditional = IN_PYTHON, bool(model.network.labels)
    config.model.options.digest = digest(model)
    config.data.name = dataset.description.name
    checks.check_values(config)
    made = given(config, model, sampling)
    pipeline.train(config, Path(workdir), experiment=made, dataset=dataset)
    return restore(config, Path(workdir), experiment=made, dataset=dataset)


def digest(model: Model) -> str:
    """Of what makes two models alike enough for one folder: the shapes of parameters, the prediction, the objective."""
    shapes = jax.tree.leaves_with_path(jax.eval_shape(model.init, jax.random.key(0)))
    names = [f"{jax.tree_util.keystr(path)} {leaf.shape} {leaf.dtype}" for path, leaf in shapes]
    return sha256([*names, type(model.process).__name__, repr(model.prediction), repr(model.objective)])[:16]


def changed(config: ConfigDict, settings: Mapping[str, Any]) -> ConfigDict:
    """The config with these values; an average that sampling needs is one of those kept.

    Raises:
        UserError: a key that there is not, or a value of another type.
    """
    known = flatten(config)
    for key, value in settings.items():
        if key not in known:
            raise UserError(f"settings: there is no key {key!r}; {nearest(key, known)}")
        try:
            config.update_from_flattened_dict({key: value})
        except (TypeError, ValueError) as error:
            raise UserError(f"settings: {key} is not of type {type(known[key]).__name__}: {value!r}") from error
    return config


def _dataset(data: Dataset | str | np.ndarray | None) -> Dataset | None:
    if isinstance(data, str):
        return load(data)
    if isinstance(data, np.ndarray):
        kept = len(data) - max(len(data) // 10, 1)
        return from_arrays({"train": data[:kept], "validation": data[kept:]})
    return data
