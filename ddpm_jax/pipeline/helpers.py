"""The other runs that a sampler asks: each is checked against the run that it helps, and read back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from ddpm_jax import runs
from ddpm_jax.config.identity import flatten, within
from ddpm_jax.data import Dataset
from ddpm_jax.devices.agreement import checksum
from ddpm_jax.errors import UserError, fail
from ddpm_jax.experiment.classifier import OBJECTIVE
from ddpm_jax.files import Record
from ddpm_jax.generative import Helper
from ddpm_jax.pipeline.restored import Run, read

NAMES = ("weak", "classifier")
"""Keys of the sampler that name another run."""

OVER_LEVELS = ("categorical", "logistics")
"""Predictions that are guided by their logits: two that differ cannot be put together."""


def found(config: Any, folder: Path, dataset: Dataset, training: bool = False) -> dict[str, Helper]:
    """The other runs that the sampler of the run in `folder` asks, by the name of the key.

    Args:
        config: of the run that is helped.
        folder: its own; `:STEP` is a step of it.
        dataset: its data, which are to be those of the others.
        training: the run is not trained yet, so there is no step of it.

    Raises:
        UserError: one is not there, cannot be read, or does not fit; it starts with the key.
    """
    helpers = {}
    for name in NAMES:
        if not (words := config.sampler[name]):
            continue
        where, step = place(words, folder)
        try:
            same = where.resolve() == folder.resolve()
            if training and same:
                raise UserError("a step of this run is there when it is trained; give it to sample or evaluate")
            helpers[name] = _helper(name, where, step, config, dataset, same)
        except UserError as error:
            fail(f"sampler.{name}", str(error).split("\n")[0])
    return helpers


def place(words: str, own: Path) -> tuple[Path, int | None]:
    """The folder and the step that `FOLDER`, `FOLDER:STEP` or `:STEP` says; without a step it is the latest."""
    folder, colon, step = words.rpartition(":")
    if colon and step.isdecimal():
        return Path(folder) if folder else own, int(step)
    return Path(words), None


def _helper(name: str, folder: Path, step: int | None, config: Any, dataset: Dataset, same: bool) -> Helper:
    theirs = runs.read_config(folder)
    theirs.parallel = config.parallel  # the devices that this run has
    if same:
        theirs.sampler.ema = config.sampler.ema
    for reason in differences(name, config, theirs):
        raise UserError(f"{folder}: {reason}")
    run = read(theirs, folder, dataset=dataset, step=step)
    return Helper(run.model, run.params, {"run": str(folder), **weights_of(run)})


def weights_of(run: Run) -> Record:
    """Which weights of a run were read, to be told and to be known again: step, average, checksum."""
    ema = run.experiment.config.sampler.ema
    return {
        "step": run.step,
        "weights": f"ema {ema}" if ema else "raw",
        "checksum": int(jax.jit(checksum)(run.params)),
    }


def differences(name: str, config: Any, theirs: Any) -> Iterator[str]:
    """Why a run does not help one of `config`: its kind, or a setting that both must have alike, by its key."""
    classifies = theirs.objective.name == OBJECTIVE
    if name == "classifier" and not classifies:
        yield "it is no classifier; train one, such as configs/digits/classifier.py"
    elif name == "weak" and classifies:
        yield "it is a classifier, and no weaker model; give it as the classifier"
    ours, other = flatten(config), flatten(theirs)
    alike = [key for key in {**ours, **other} if within(key, ["process", "data.name", "data.options", "data.levels"])]
    if name == "weak":
        alike += ["model.conditions", "model.text_encoder"]
        if {config.model.prediction, theirs.model.prediction} & set(OVER_LEVELS):
            alike.append("model.prediction")
        if config.sampler.name == "cached":
            alike.append("model.name")
    for key in alike:
        if ours.get(key) != other.get(key):
            yield f"config.{key} is {other.get(key)!r} there, and here {ours.get(key)!r}"
