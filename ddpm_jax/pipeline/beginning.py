"""A new run that begins with the weights of another: which, and whether they fit."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from jaxtyping import PyTree

from ddpm_jax import runs
from ddpm_jax.config.identity import flatten, own_data, within
from ddpm_jax.data import Dataset
from ddpm_jax.errors import UserError, some
from ddpm_jax.experiment import Experiment
from ddpm_jax.files import Record
from ddpm_jax.keys import PARAMETERS, purpose_key
from ddpm_jax.pipeline import helpers
from ddpm_jax.pipeline.restored import read
from ddpm_jax.plugins import FOLDER
from ddpm_jax.runs.lineage import STARTED

OF_DATA = ("data.name", "data.options", "data.levels", "data.splits")
"""Keys and sections that say which images there are."""

TOLD = ("process", "model", "data.name", "data.options", "data.levels")
"""And that say what weights mean."""


@dataclass(frozen=True, eq=False)
class Beginning:
    """Weights of another run.

    Attributes:
        params: to begin with.
        facts: whose they are, as the run's folder keeps it.
        differences: of the two configs, in what weights mean.
    """

    params: PyTree
    facts: Record
    differences: list[str]

    @property
    def line(self) -> str:
        """Whose they are, in words."""
        words = f"begins with the weights of step {self.facts['step']} of {self.facts['run']} ({self.facts['weights']})"
        return words + (f", where {some(self.differences, '; ')}" if self.differences else "")


def asked(words: str, folder: Path, lineage: Record, there: bool) -> str:
    """Which run to begin with, `FOLDER:STEP` or `FOLDER`: what is asked, else what the run in the folder began with.

    Args:
        words: what is asked; empty: nothing.
        folder: the new run's.
        lineage: what that knows of its beginning.
        there: whether there is a run in it.

    Raises:
        UserError: the run in the folder began with something else.
    """
    known = lineage.get(STARTED) if there else None
    if known is None:
        if words and there:
            raise UserError(f"--from: {folder} holds a run that began with its own weights; choose another --workdir")
        return words
    theirs = Path(known["run"])
    if words:
        where, step = helpers.place(words, folder)
        if where.resolve() != theirs.resolve() or step not in (None, known["step"]):
            line = f"{folder} holds a run that began with step {known['step']} of {theirs}; choose another --workdir"
            raise UserError(f"--from: {line}")
    return f"{theirs}:{known['step']}"


def weights_of(words: str, folder: Path, experiment: Experiment, dataset: Dataset, lineage: Record) -> Beginning:
    """The weights of another run, those that it is sampled with, for a new one in a folder.

    Args:
        words: from `asked`.
        folder: the new run's.
        experiment: the new run's.
        dataset: likewise.
        lineage: what its folder knows of its beginning.

    Raises:
        UserError: there are none, or they do not fit; the line starts with `--from`.
    """
    try:
        return _weights_of(words, folder, experiment, dataset, lineage)
    except UserError as error:
        reason = str(error).split("\n")[0]
        raise UserError(reason if reason.startswith("--from") else f"--from: {reason}") from error


def _weights_of(words: str, folder: Path, experiment: Experiment, dataset: Dataset, lineage: Record) -> Beginning:
    where, step = helpers.place(words, folder)
    if where.resolve() == folder.resolve():
        raise UserError("that is the run itself; give another run's folder, or --extend")
    ours, theirs = experiment.config, runs.read_config(where)
    theirs.parallel = ours.parallel  # the devices that this run has
    own = FOLDER in (ours.data.name, theirs.data.name)  # then what the other run kept of them will do
    if same := not own and not any(within(key, OF_DATA) for key, _, _ in _apart(ours, theirs)):
        theirs.data.dir = ours.data.dir
    run = read(theirs, where, dataset=dataset if same else None, step=step, images=False)
    root = purpose_key(ours.seed, PARAMETERS)
    if found := list(mismatches(run.params, jax.eval_shape(experiment.model.init, root))):
        raise UserError(f"the weights in {where} do not fit: {some(found, '; ')}")
    facts = {"run": str(where.resolve()), **helpers.weights_of(run)}
    known = lineage.get(STARTED)
    if known and any(known.get(key) != value for key, value in facts.items() if key != "run"):
        raise UserError(f"{where} no longer holds the weights that {folder} began with; choose another --workdir")
    told = [f"{key} is {there!r} and not {here!r}" for key, here, there in _apart(ours, theirs) if within(key, TOLD)]
    return Beginning(run.params, facts, told)


def mismatches(theirs: PyTree, ours: PyTree) -> Iterator[str]:
    """Where parameters are not of the same names and shapes, in words."""
    there, here = _shapes(theirs), _shapes(ours)
    for name in dict.fromkeys([*here, *there]):
        if there.get(name) != here.get(name):
            yield f"{name} is {there.get(name, 'missing')} there, and here {here.get(name, 'missing')}"


def _shapes(params: PyTree) -> dict[str, str]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): f"{tuple(leaf.shape)}" for path, leaf in leaves}


def _apart(ours: Any, theirs: Any) -> Iterator[tuple[str, Any, Any]]:
    """The keys in which two configs differ, with both values."""
    here, there = flatten(ours), flatten(theirs)
    for known in (here, there):
        known["data.name"] = own_data(known) or known.get("data.name")
    for key in {**here, **there}:
        if here.get(key) != there.get(key):
            yield key, here.get(key), there.get(key)
