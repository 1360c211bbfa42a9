"""Where a run's first weights are from, and how it was made longer: `lineage.json`, of which reports tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ml_collections import ConfigDict

from ddpm_jax.config import checks
from ddpm_jax.config.identity import CHANGEABLE, VALIDATION, earlier_marks, flatten, training_mark, within
from ddpm_jax.config.loading import changed, checked
from ddpm_jax.errors import UserError
from ddpm_jax.files import DAMAGED, Record, read_record, write_record
from ddpm_jax.runs.origin import git_commit

LINEAGE, STARTED, EXTENDED = "lineage.json", "started_from", "extended"
"""The file, and its keys; those stand in `result.json` too."""

BUDGET = ("training.steps", "training.images", "training.seconds", "training.flops")

EXTENDABLE = (
    *BUDGET,
    "training.save_every",
    "optimizer.learning_rate",
    "optimizer.warmup",
    "optimizer.schedule",
)
"""What a run may be made longer with, besides what any run may go on with otherwise."""


@dataclass(frozen=True)
class Extension:
    """A run that was trained to its end and is made longer.

    Attributes:
        before: its config up to now.
        step: at which it had ended.
        changes: keys with the values up to now and from now on.
    """

    before: ConfigDict
    step: int
    changes: dict[str, tuple]

    @property
    def words(self) -> str:
        """What is changed, in a line."""
        return ", ".join(f"{key} {then} -> {now}" for key, (then, now) in self.changes.items())

    @property
    def marks(self) -> list[int]:
        """The marks of its checkpoints up to now."""
        return [training_mark(self.before), *earlier_marks(self.before)]


def extended(before: ConfigDict, overrides: Sequence[str], folder: Path) -> tuple[ConfigDict, dict[str, tuple]]:
    """The config of a run in a folder with what is to be otherwise from now on, and the changes; none where it is so.

    Args:
        before: its own.
        overrides: each `--config.KEY=VALUE`.
        folder: its own.

    Raises:
        UserError: a key that would make it another run, or nothing says how long.
    """
    words = [checked(word) for word in overrides]
    keys = [word.removeprefix("--config.").partition("=")[0] for word in words]
    for key in keys:
        if not within(key, (*EXTENDABLE, *CHANGEABLE)) or key in VALIDATION:
            may = ", ".join(EXTENDABLE)
            reason = (
                f"a longer run stays what it is; --extend changes {may}; --from={folder} begins another run with it"
            )
            raise UserError(f"config.{key}: {reason}")
    if not {*keys} & {*BUDGET}:
        raise UserError("--extend: nothing says how long; give --config.training.steps=N, the steps in all")
    config = changed(before.copy_and_resolve_references(), words)
    checks.check_values(config)
    then, now = flatten(before), flatten(config)
    return config, {key: (then[key], now[key]) for key in EXTENDABLE if then[key] != now[key]}


def read_lineage(folder: Path) -> Record:
    """What is known of a run's first weights and its extensions; empty for most.

    Raises:
        UserError: it is damaged.
    """
    try:
        return read_record(folder / LINEAGE, older=False)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except DAMAGED as error:
        raise UserError(f"{folder / LINEAGE} does not read ({error}); put a copy of it back") from error


def record_start(folder: Path, facts: Record | None) -> None:
    """Keep whose weights a new run begins with; None: its own, whatever one that never began has left there."""
    if facts is None:
        (folder / LINEAGE).unlink(missing_ok=True)
    else:
        write_record(folder / LINEAGE, {STARTED: {**facts, **_now()}})


def record_extension(folder: Path, extension: Extension) -> None:
    """Keep that a run is made longer; once, however often its command is given."""
    lineage = read_lineage(folder)
    if recorded(lineage, extension):
        return
    entry = {"step": extension.step, "changes": extension.words, "marks": extension.marks}
    write_record(folder / LINEAGE, {**lineage, EXTENDED: [*lineage.get(EXTENDED, []), {**entry, **_now()}]})


def recorded(lineage: Record, extension: Extension) -> bool:
    """Whether this was the last that was done to it, by a process that may have ended before it wrote the config."""
    last = next(reversed(lineage.get(EXTENDED, [])), {})
    return (last.get("step"), last.get("changes")) == (extension.step, extension.words)


def first_mark(lineage: Record) -> int:
    """That of the config that the run was begun with; 0 where it is its own."""
    return next((entry["marks"][0] for entry in lineage.get(EXTENDED, [])), 0)


def marks(lineage: Record) -> set[int]:
    """Those of the configs that a run's checkpoints may have been saved with before it was extended."""
    return {mark for entry in lineage.get(EXTENDED, []) for mark in entry["marks"]}


def facts(lineage: Record) -> Record:
    """What of it belongs to a run's result."""
    found = {key: lineage[key] for key in (STARTED, EXTENDED) if key in lineage}
    if EXTENDED in found:
        found[EXTENDED] = [{key: entry[key] for key in entry if key != "marks"} for entry in found[EXTENDED]]
    return found


def _now() -> Record:
    return {"date": datetime.now(UTC).isoformat(timespec="seconds"), "git_commit": git_commit()}
