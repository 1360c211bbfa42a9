"""A run's `result.json`: figures are put into it as they come, and none is dropped for a worse one."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from ddpm_jax.config.identity import AFTER_TRAINING, flatten, within
from ddpm_jax.config.keys import KEYS
from ddpm_jax.files import DAMAGED, Record, plain, read_record, set_aside, write_record
from ddpm_jax.runs import book

RESULT = "result.json"

FINISHED, WAS_FINISHED, BEFORE, EXTENDING = "finished", "was_finished", "before", "being_extended"

DRAWN = ("evaluation.at_end", "evaluation.pictures")
"""Keys that no figure depends on, only whether there is one."""

FIGURES = (
    "evaluated",
    "likelihood",
    "quality",
    "adherence",
    "accuracy",
    "sampling",
    "curve",
    "history",
    "raw",
    book.REASONS,
)
"""The keys of `result.json` that an evaluation writes."""


def read_result(folder: Path) -> Record:
    """The run's result; empty where there is none that reads. Raises OSError where that cannot be told now."""
    try:
        return read_record(folder / RESULT)
    except (FileNotFoundError, *DAMAGED):
        return {}


def trained(folder: Path) -> bool:
    """Whether the run's training is done, and only figures may be missing."""
    result = read_result(folder)
    return "steps" in result and not result.get(EXTENDING)


def finished(folder: Path, config: ConfigDict | None = None) -> bool:
    """Whether the run has done all that its config asks for; with `config`, whether it is what that one asks for."""
    result = read_result(folder)
    same = config is None or "config" not in result or same_figures(result["config"], plain(config.to_dict()))
    return result.get(FINISHED) is True and same


def write_result(folder: Path, values: Record) -> Path:
    """Put values into the run's `result.json`, beside those that are there. Process 0 does it for all."""
    import jax

    path = folder / RESULT
    if jax.process_index() != 0:
        return path
    result: Record = {}
    if path.exists():
        try:
            result = read_record(path)
        except DAMAGED as error:
            warnings.warn(f"{path} is set aside as {set_aside(path).name} and written anew: {error}", stacklevel=2)
    write_record(path, {**result, **values})
    return path


def begin_figures(folder: Path, step: int, config: ConfigDict, facts: Record | None = None) -> book.Book:
    """A book whose figures go into the run's `result.json` as they come; until `end_figures` it is not finished.

    Figures that are there already are kept in the list under the key `before`. `facts` of the training are put beside.
    """
    result, settings = read_result(folder), plain(config.to_dict())
    there = {key: result[key] for key in FIGURES if result.get(key)}
    was = result.get(FINISHED) is True or result.get(WAS_FINISHED) is True
    new: Record = {**(facts or {}), "config": settings, WAS_FINISHED: was, book.REASONS: {}}
    if "steps" in {**result, **new}:  # else its result was lost, and whether it is finished is not known
        new[FINISHED] = False
    if isinstance(evaluated := there.get("evaluated"), dict):
        if not _same(result, step, settings):
            words = f"the figures of step {evaluated.get('step')} are kept under {BEFORE!r}"
            warnings.warn(f"{folder / RESULT}: {words}", stacklevel=2)
        entry = {**there, "config": result.get("config")}
        new = {**dict.fromkeys(FIGURES), **new, BEFORE: _joined(_before(result), entry)}
    write_result(folder, new)
    return book.Book(lambda values: write_result(folder, values))


def end_figures(folder: Path, step: int, config: ConfigDict) -> None:
    """All figures of the book are there: those before them of the same step and settings are not needed any more.

    What of these is not made anew is kept beside the new ones. A run that was finished is finished again.
    """
    result, settings = read_result(folder), plain(config.to_dict())
    same = [entry for entry in _before(result) if _same(entry, step, settings)]
    others = [entry for entry in _before(result) if entry not in same]
    known = {key: entry[key] for entry in same for key in FIGURES if entry.get(key) and key != book.REASONS}
    kept = {key: value for key, value in known.items() if not result.get(key)}
    finished = {FINISHED: True} if result.get(WAS_FINISHED) else {}
    write_result(folder, {**kept, **finished, BEFORE: others, WAS_FINISHED: None})


def _before(result: Record) -> list[Record]:
    """Earlier figures of a run, oldest first."""
    kept = result.get(BEFORE)
    return [entry for entry in kept if isinstance(entry, dict)] if isinstance(kept, list) else []


def _joined(earlier: list[Record], entry: Record) -> list[Record]:
    """The earlier figures and these; one entry with the last if that is of the same step and settings.

    It has of each figure that which says more: an attempt that was cut off takes nothing from a whole one.
    """
    if not (earlier and _same(earlier[-1], entry["evaluated"].get("step"), entry["config"] or {})):
        return [*earlier, entry]
    *others, last = earlier
    return [*others, {**entry, **{key: max(last.get(key), entry.get(key), key=_count) for key in FIGURES}}]


def _count(value: Any) -> int:
    """How many values a figure holds."""
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else None
    return int(value is not None) if inner is None else sum(map(_count, inner))


def _same(result: Record, step: int, settings: Record) -> bool:
    """Whether figures are of this step and these settings."""
    evaluated = result.get("evaluated")
    known = result.get("config")
    return isinstance(evaluated, dict) and evaluated.get("step") == step and same_figures(known, settings)


def same_figures(then: Any, settings: Record) -> bool:
    """Whether two configs as they are kept ask for the same figures of the same model."""
    if not isinstance(then, dict):
        return False
    ours, theirs = flatten(settings), flatten(then)
    keys = [key for key in ours if within(key, AFTER_TRAINING) and key not in DRAWN]
    defaults = {key: plain(KEYS[key].default) for key in keys if key in KEYS}  # of keys that came later
    return all(ours[key] == theirs.get(key, defaults.get(key)) for key in keys)
