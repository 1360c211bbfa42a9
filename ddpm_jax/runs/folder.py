"""A run's folder: whose it is, whether it may be written, and how its config is read back.

It holds all that the run's result depends on: `config.json`, `data.json`, `checkpoints/`, `metrics.jsonl`,
`result.json`, and the pictures.
"""

import hashlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ml_collections import ConfigDict

from ddpm_jax.config import checks
from ddpm_jax.config.identity import differences, from_dict, training_mark
from ddpm_jax.config.keys import IN_PYTHON
from ddpm_jax.errors import Busy, UserError
from ddpm_jax.files import DAMAGED, Record, checkpoint_steps, obstacle, plain, read_record, set_aside, write_record
from ddpm_jax.runs import lineage
from ddpm_jax.runs.locks import hold
from ddpm_jax.runs.results import EXTENDING, FINISHED, RESULT, finished, trained, write_result
from ddpm_jax.training.lines import parse, read_lines

CONFIG, CHECKPOINTS, METRICS = "config.json", "checkpoints", "metrics.jsonl"

DATA = "data.json"

WRITTEN = (CONFIG, CHECKPOINTS, DATA, METRICS, RESULT, "frozen", "progress", "samples.png", "film.png")
"""Of what training writes into a run's folder, that for which a file of somebody else's would be lost or misread."""


def check_folder(folder: Path, config: ConfigDict) -> bool:
    """Whether the folder holds a run of this config already. Writes nothing.

    Raises:
        UserError: the folder cannot be made or written, holds files that would be overwritten, or runs, belongs to
            another config, or has lost the checkpoints that its other files tell of.
    """
    if reason := obstacle(folder):
        raise UserError(f"{folder} cannot be a run folder ({reason}); choose another --workdir")
    if (folder / CONFIG).is_file():
        try:
            theirs = read_record(folder / CONFIG)
        except DAMAGED as error:  # the command's own is as good: checkpoints know theirs
            warnings.warn(f"{folder / CONFIG} is damaged and will be written anew: {error}", stacklevel=2)
        else:
            known = _as_config(folder, theirs)
            if known.model.name == IN_PYTHON:  # of its model the config says nothing
                checks.check_values(known)
            else:
                check_config(folder, known)
            if different := differences(config, known, trained(folder)):
                longer = "; it was made longer, and goes on by --extend" * bool(
                    lineage.marks(lineage.read_lineage(folder))
                )
                line = f"holds a run of another config{longer}; choose another --workdir, or undo"
                raise UserError(f"{folder} {line}: {'; '.join(different)}")
        _check_checkpoints(folder)
        return True
    if there := [name for name in WRITTEN if os.path.lexists(folder / name)]:
        line = f"is no run's folder, and {', '.join(there)} in it would be overwritten"
        raise UserError(f"{folder} {line}; choose another --workdir")
    if any(folder.glob(f"*/{CONFIG}")):
        raise UserError(f"{folder} holds runs, which reports would not find below another; choose another --workdir")
    return False


def _check_checkpoints(folder: Path) -> None:
    """Raise UserError if there must have been checkpoints, and there are none."""
    if latest_checkpoint(folder) is not None:
        return
    rows = read_lines(folder / METRICS)
    saved = [row["step"] for row in rows if "validation_loss" in row]  # the second waits until the first is saved
    if trained(folder) or len(saved) > 1:
        raise UserError(
            f"{folder / CHECKPOINTS} has no checkpoint, though {RESULT if trained(folder) else METRICS} tells of a run "
            "that had some; put a copy back, or train anew with another --workdir"
        )
    if rows:
        warnings.warn(
            f"{folder} ended before its first checkpoint; it begins anew, without its {len(rows)} rows of {METRICS}",
            stacklevel=3,
        )


@contextmanager
def claim(
    folder: Path,
    config: ConfigDict,
    once: bool = False,
    data: Record | None = None,
    start: Record | None = None,
) -> Iterator[None]:
    """Make the run's folder and keep it for this run. When the run ends without an error, its result says `finished`.

    Process 0 does it for all.

    Args:
        folder: the run's.
        config: the run's; of one that is made longer the one up to now (`extend`).
        once: do nothing with a finished run.
        data: facts of the data set, which must be what they were when the run began.
        start: facts of the weights that a new run begins with.

    Raises:
        Busy: another process trains in it, or, with `once`, has finished the run.
        UserError: as `check_folder` and `make_folder`.
    """
    import jax

    if jax.process_index() != 0:
        yield
        return
    with hold(folder):
        there = check_folder(folder, config)  # asked again: now nobody else writes here
        check_data(folder, data or {})
        if not there:
            lineage.record_start(folder, start)
        make_folder(folder, config)
        check_data(folder, data or {}, keep=True)
        if once and finished(folder, config):
            raise Busy(f"another process has finished {folder}")
        yield
        write_result(folder, {FINISHED: True})


def extend(folder: Path, config: ConfigDict, extension: lineage.Extension) -> None:
    """Turn a claimed run into the longer one of a config. Cut off in between, the same command does it again.

    Process 0 does it for all.
    """
    import jax

    if jax.process_index() != 0:
        return
    lineage.record_extension(folder, extension)
    write_result(folder, {FINISHED: False, EXTENDING: True})
    make_folder(folder, config)


def latest_checkpoint(folder: Path) -> int | None:
    """The step that the run would go on from; None if it would start anew."""
    return max(checkpoint_steps(folder / CHECKPOINTS), default=None)


def last_row(folder: Path, *keys: str) -> Record:
    """The last row of the run's `metrics.jsonl` that has the keys; empty if none has. Reads only the file's end."""
    try:
        with (folder / METRICS).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 2**16))
            lines = file.read().splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        row = parse(line)
        if row is not None and all(key in row for key in keys):
            return row
    return {}


def identity(folder: Path, config: ConfigDict) -> str:
    """The id of a run of a group in W&B, wherever its folder lies and however long it is; empty without a group."""
    group = config.logging.group
    words = f"{group}/{folder.name}/{lineage.first_mark(lineage.read_lineage(folder)) or training_mark(config)}"
    return hashlib.sha256(words.encode()).hexdigest()[:12] if group else ""


def make_folder(folder: Path, config: ConfigDict) -> None:
    """Make a run's folder, which `check_folder` found good, with its `config.json`. Process 0 does it for all.

    A `config.json` that does not read stays until `mend_config`, when the checkpoints have told whose they are.

    Raises:
        UserError: the folder cannot be made or written.
    """
    import jax

    if jax.process_index() != 0:
        return
    path, values = folder / CONFIG, plain(config.to_dict())
    try:
        if not path.exists() or _stored(path) not in (None, values):
            write_record(path, values)
        (folder / CHECKPOINTS).mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be a run folder ({error.strerror}); choose another --workdir") from error


def mend_config(folder: Path, config: ConfigDict) -> None:
    """Write the run's `config.json` if it does not read. Process 0 does it for all."""
    import jax

    if jax.process_index() == 0 and not config_reads(folder):
        write_record(folder / CONFIG, config.to_dict())


def config_reads(folder: Path) -> bool:
    """Whether the run's `config.json` is as it was written."""
    return _stored(folder / CONFIG) is not None


def _stored(path: Path) -> Record | None:
    try:
        return read_record(path)
    except (FileNotFoundError, *DAMAGED):
        return None


def check_data(folder: Path, data: Record, keep: bool = False) -> None:
    """Compare the facts of a data set with those of the run's; with `keep`, they are the run's where it has none.

    Raises:
        UserError: they differ.
    """
    from ddpm_jax.data import difference

    path, then = folder / DATA, None
    try:
        then = read_record(path, older=False)
    except FileNotFoundError:
        pass
    except DAMAGED as error:
        warnings.warn(f"{path} does not read ({error}): that the data are still the same is not checked", stacklevel=2)
        if keep:
            set_aside(path)
    if then and (different := difference(then, data)):
        raise UserError(f"{folder}: the data are not those that it was trained on: {different}")
    if keep and data and not then:
        write_record(path, data)


def read_data(folder: Path) -> Record:
    """The facts of the run's data set; empty where they do not read."""
    try:
        return read_record(folder / DATA, older=False)
    except (FileNotFoundError, *DAMAGED):
        return {}


def read_config(folder: Path) -> ConfigDict:
    """The checked config of a run.

    Raises:
        UserError: there is no run in the folder, or its config does not read.
    """
    config = read_unchecked(folder)
    check_config(folder, config)
    return config


def read_unchecked(folder: Path) -> ConfigDict:
    """The config of a run as it is there, read without JAX: several processes must be joined before that starts.

    Raises:
        UserError: as `read_config`.
    """
    path = folder / CONFIG
    try:
        values = read_record(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        line = f"{folder} holds no run ({CONFIG} is missing); train one with --workdir={folder}"
        raise UserError(line) from error
    except (OSError, ValueError) as error:
        remedy = "the command that trained the run writes it anew"
        raise UserError(f"{path} cannot be read: {error}; {remedy}") from error
    return _as_config(folder, values)


def _as_config(folder: Path, values: Record) -> ConfigDict:
    with _naming(folder / CONFIG):
        return from_dict(values)


def check_config(folder: Path, config: ConfigDict) -> None:
    """`experiment.check` of the config that was read from `folder`, whose errors name the file."""
    from ddpm_jax.experiment import check  # heavy

    with _naming(folder / CONFIG):
        check(config)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
