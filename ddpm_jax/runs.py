"""Run folders: what is in one, whose it is, and how it is read back.

A run's folder holds all that its result depends on: `config.json`, `checkpoints/`, `metrics.jsonl`, `result.json`,
and the pictures.
"""

import hashlib
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from ddpm_jax import configuration, figures
from ddpm_jax.errors import Busy, UserError
from ddpm_jax.files import DAMAGED, checkpoint_steps, obstacle, plain, read_record, set_aside, write_record
from ddpm_jax.locks import LOCK, hold
from ddpm_jax.training.lines import parse, read_lines

CONFIG, RESULT, CHECKPOINTS, METRICS = "config.json", "result.json", "checkpoints", "metrics.jsonl"
DATA = "data.json"
FINISHED, WAS_FINISHED, BEFORE = "finished", "was_finished", "before"

DRAWN = ("evaluation.at_end", "evaluation.pictures")
"""Keys that no figure depends on, only whether there is one."""

FIGURES = ("evaluated", "likelihood", "quality", "sampling", "curve", "history", "raw", figures.REASONS)
"""The keys of `result.json` that an evaluation writes."""


def default_folder(config_file: str, overrides: Sequence[str], config: ConfigDict) -> Path:
    """`runs/<folder>_<file>` of the config file, and its argument; with overrides, the start of the config's hash."""
    file, _, argument = config_file.partition(":")
    path = Path(file)
    parent = path.absolute().parent.name
    name = path.stem if parent in {"", "configs"} else f"{parent}_{path.stem}"
    if argument:
        name += "_" + re.sub("[^A-Za-z0-9_.]+", "-", argument)
    if overrides:
        name += "-" + configuration.digest(config)[:8]
    return Path("runs") / name


def check_folder(folder: Path, config: ConfigDict) -> bool:
    """Whether the folder holds a run of this config already. Writes nothing.

    Raises:
        UserError: the folder cannot be made or written, is not a run's, belongs to another config, or has lost the
            checkpoints that its other files tell of.
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
            check_config(folder, known)
            if different := configuration.differences(config, known, trained(folder)):
                raise UserError(
                    f"{folder} holds a run of another config; choose another --workdir, or undo: {'; '.join(different)}"
                )
        _check_checkpoints(folder)
        return True
    started = re.compile(
        rf"{re.escape(LOCK)}|\.{re.escape(CONFIG)}\..*\.part"
    )  # another process is at it, or was killed
    if folder.is_dir() and not all(started.fullmatch(file.name) for file in folder.iterdir()):
        raise UserError(f"{folder} is not empty and not a run folder; choose another --workdir")
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


def _result(folder: Path) -> dict[str, Any]:
    """The run's result; empty where there is none that reads. Raises OSError where that cannot be told now."""
    try:
        return read_record(folder / RESULT)
    except (FileNotFoundError, *DAMAGED):
        return {}


def trained(folder: Path) -> bool:
    """Whether the run's training is done, and only figures may be missing."""
    return "steps" in _result(folder)


@contextmanager
def claim(
    folder: Path, config: ConfigDict, once: bool = False, data: Mapping[str, Any] | None = None
) -> Iterator[None]:
    """Make the run's folder and keep it for this run. When the run ends without an error, its result says `finished`.

    Process 0 does it for all. `data` are the facts of the data set, which must be what they were when the run began.

    Raises:
        Busy: another process trains in it, or, with `once`, has finished the run.
        UserError: as `check_folder` and `make_folder`.
    """
    import jax

    if jax.process_index() != 0:
        yield
        return
    with hold(folder):
        check_folder(folder, config)  # asked again: now nobody else writes here
        make_folder(folder, config)
        check_data(folder, data or {}, keep=True)
        if once and finished(folder, config):
            raise Busy(f"another process has finished {folder}")
        yield
        write_result(folder, {FINISHED: True})


def finished(folder: Path, config: ConfigDict | None = None) -> bool:
    """Whether the run has done all that its config asks for; with `config`, whether it is what that one asks for."""
    result = _result(folder)
    same = config is None or "config" not in result or same_figures(result["config"], plain(config.to_dict()))
    return result.get(FINISHED) is True and same


def latest_checkpoint(folder: Path) -> int | None:
    """The step that the run would go on from; None if it would start anew."""
    return max(checkpoint_steps(folder / CHECKPOINTS), default=None)


def last_row(folder: Path, *keys: str) -> dict[str, Any]:
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
    """The id of a run of a group in W&B, wherever the group's folder lies; empty without a group."""
    group = config.logging.group
    words = f"{group}/{folder.name}/{configuration.training_mark(config)}"
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


def _stored(path: Path) -> dict[str, Any] | None:
    try:
        return read_record(path)
    except (FileNotFoundError, *DAMAGED):
        return None


def check_data(folder: Path, data: Mapping[str, Any], keep: bool = False) -> None:
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


def _as_config(folder: Path, values: Mapping[str, Any]) -> ConfigDict:
    with _naming(folder / CONFIG):
        return configuration.from_dict(values)


def check_config(folder: Path, config: ConfigDict) -> None:
    """`configuration.check` of the config that was read from `folder`, whose errors name the file."""
    with _naming(folder / CONFIG):
        configuration.check(config)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def write_result(folder: Path, values: Mapping[str, Any]) -> Path:
    """Put values into the run's `result.json`, beside those that are there. Process 0 does it for all."""
    import jax

    path = folder / RESULT
    if jax.process_index() != 0:
        return path
    result: dict[str, Any] = {}
    if path.exists():
        try:
            result = read_record(path)
        except DAMAGED as error:
            warnings.warn(f"{path} is set aside as {set_aside(path).name} and written anew: {error}", stacklevel=2)
    write_record(path, {**result, **values})
    return path


def begin_figures(folder: Path, step: int, config: ConfigDict, facts: Mapping[str, Any] | None = None) -> figures.Book:
    """A book whose figures go into the run's `result.json` as they come; until `end_figures` it is not finished.

    Figures that are there already are kept in the list under the key `before`. `facts` of the training are put beside.
    """
    result, settings = _result(folder), plain(config.to_dict())
    there = {key: result[key] for key in FIGURES if result.get(key)}
    was = result.get(FINISHED) is True or result.get(WAS_FINISHED) is True
    new: dict[str, Any] = {**(facts or {}), "config": settings, WAS_FINISHED: was, figures.REASONS: {}}
    if "steps" in {**result, **new}:  # else its result was lost, and whether it is finished is not known
        new[FINISHED] = False
    if isinstance(evaluated := there.get("evaluated"), dict):
        if not _same(result, step, settings):
            words = f"the figures of step {evaluated.get('step')} are kept under {BEFORE!r}"
            warnings.warn(f"{folder / RESULT}: {words}", stacklevel=2)
        entry = {**there, "config": result.get("config")}
        new = {**dict.fromkeys(FIGURES), **new, BEFORE: _joined(_before(result), entry)}
    write_result(folder, new)
    return figures.Book(lambda values: write_result(folder, values))


def end_figures(folder: Path, step: int, config: ConfigDict) -> None:
    """All figures of the book are there: those before them of the same step and settings are not needed any more.

    What of these is not made anew is kept beside the new ones. A run that was finished is finished again.
    """
    result, settings = _result(folder), plain(config.to_dict())
    same = [entry for entry in _before(result) if _same(entry, step, settings)]
    others = [entry for entry in _before(result) if entry not in same]
    known = {key: entry[key] for entry in same for key in FIGURES if entry.get(key) and key != figures.REASONS}
    kept = {key: value for key, value in known.items() if not result.get(key)}
    finished = {FINISHED: True} if result.get(WAS_FINISHED) else {}
    write_result(folder, {**kept, **finished, BEFORE: others, WAS_FINISHED: None})


def _before(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Earlier figures of a run, oldest first."""
    kept = result.get(BEFORE)
    return [entry for entry in kept if isinstance(entry, dict)] if isinstance(kept, list) else []


def _joined(earlier: list[dict[str, Any]], entry: dict[str, Any]) -> list[dict[str, Any]]:
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


def _same(result: Mapping[str, Any], step: int, settings: Mapping[str, Any]) -> bool:
    """Whether figures are of this step and these settings."""
    evaluated = result.get("evaluated")
    known = result.get("config")
    return isinstance(evaluated, dict) and evaluated.get("step") == step and same_figures(known, settings)


def same_figures(then: Any, settings: Mapping[str, Any]) -> bool:
    """Whether two configs as they are kept ask for the same figures of the same model."""
    if not isinstance(then, dict):
        return False
    ours, theirs = configuration.flatten(settings), configuration.flatten(then)
    keys = [key for key in ours if configuration.within(key, configuration.AFTER_TRAINING) and key not in DRAWN]
    return all(ours[key] == theirs.get(key) for key in keys)


def provenance() -> dict[str, Any]:
    """What else a figure depends on: versions, devices, processes, the git commit of the code."""
    import jax

    packages = {}
    for name in ("ddpm-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "unknown"
    devices = jax.devices()
    return {
        "versions": {"python": sys.version.split()[0], **packages},
        "device": {"kind": _device_name(devices[0]), "count": len(devices), "processes": jax.process_count()},
        "git_commit": _git_commit(),
    }


def _device_name(device: Any) -> str:
    if device.platform != "cpu":
        return device.device_kind
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = device.device_kind
    return f"cpu: {model}, {os.cpu_count()} cores"


def _git_commit() -> str | None:
    """The commit of the code's checkout, with `+changes` if files differ from it; None outside a checkout.

    A package that is installed inside another repository, as in its ignored `.venv`, is none of that repository's.
    """
    here = Path(__file__)

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=here.parent, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return None
