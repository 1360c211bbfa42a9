"""The other runs that a sampler asks: each is checked against the run that it helps, and read back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from ddpm_jax import runs
from ddpm_jax.config.identity import flatten, within
from ddpm_jax.data import Dataset
from ddpm_jax.devices.plan import Plan, checksum
from ddpm_jax.errors import UserError, fail
from ddpm_jax.experiment.classifier import OBJECTIVE
from ddpm_jax.generative import Helper
from ddpm_jax.pipeline.restored import read

NAMES = ("classifier",)
"""Keys of the sampler that name another run."""


def found(config: Any, folder: Path, plan: Plan, dataset: Dataset) -> dict[str, Helper]:
    """The other runs that the sampler of the run in `folder` asks, by the name of the key.

    Raises:
        UserError: one is not there, cannot be read, or does not fit; it starts with the key.
    """
    helpers = {}
    for name in NAMES:
        if not (words := config.sampler[name]):
            continue
        try:
            helpers[name] = _helper(name, *place(words), config, dataset)
        except UserError as error:
            fail(f"sampler.{name}", str(error).split("\n")[0])
    return helpers


def place(words: str) -> tuple[Path, int | None]:
    """The folder and the step that `FOLDER` or `FOLDER:STEP` says; without a step it is the latest."""
    folder, _, step = words.rpartition(":")
    return (Path(folder), int(step)) if folder and step.isdecimal() else (Path(words), None)


def _helper(name: str, folder: Path, step: int | None, config: Any, dataset: Dataset) -> Helper:
    theirs = runs.read_config(folder)
    for reason in differences(name, config, theirs):
        raise UserError(f"{folder}: {reason}")
    run = read(theirs, folder, dataset=dataset, step=step)
    number = int(jax.jit(checksum)(run.params))
    ema = f"ema {theirs.sampler.ema}" if theirs.sampler.ema else "raw"
    facts = {"run": str(folder), "step": run.step, "weights": ema, "checksum": number}
    return Helper(run.model, run.params, facts)


def differences(name: str, config: Any, theirs: Any) -> Iterator[str]:
    """Why a run of this config does not help one of `config`: the process is to be the same, and what it is for."""
    classifies = theirs.objective.name == OBJECTIVE
    if name == "classifier" and not classifies:
        yield "it is no classifier; train one with configs such as configs/digits/classifier.py"
    ours, other = flatten(config), flatten(theirs)
    same = [key for key in {**ours, **other} if within(key, ["process"])]
    for key in same:
        if ours.get(key) != other.get(key):
            yield f"config.{key} is {other.get(key)!r} there, and here {ours.get(key)!r}"
