"""Run folders: what is in one, whose it is, and how it is read back.

A run's folder holds all that its result depends on: `config.json`, `checkpoints/`, `metrics.jsonl`, `result.json`,
and the pictures.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from ddpm_jax import configuration
from ddpm_jax.errors import Busy, UserError
from ddpm_jax.files import obstacle, write_json
from ddpm_jax.locks import LOCK, hold

CONFIG, RESULT, CHECKPOINTS, METRICS = "config.json", "result.json", "checkpoints", "metrics.jsonl"
FINISHED = "finished"


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
        UserError: the folder cannot be made or written, is not a run's, or belongs to another config.
    """
    if reason := obstacle(folder):
        raise UserError(f"{folder} cannot be a run folder ({reason}); choose another --workdir")
    if (folder / CONFIG).is_file():
        if different := configuration.differences(config, read_config(folder)):
            raise UserError(
                f"{folder} holds a run of another config; choose another --workdir, or undo: {'; '.join(different)}"
            )
        return True
    started = re.compile(
        rf"{re.escape(LOCK)}|\.{re.escape(CONFIG)}\..*\.part"
    )  # another process is at it, or was killed
    if folder.is_dir() and not all(started.fullmatch(file.name) for file in folder.iterdir()):
        raise UserError(f"{folder} is not empty and not a run folder; choose another --workdir")
    return False


@contextmanager
def claim(folder: Path, config: ConfigDict, once: bool = False) -> Iterator[None]:
    """Make the run's folder and keep it for this run. When the run ends without an error, its result says `finished`.

    Process 0 does it for all.

    Raises:
        Busy: another process trains in it, or, with `once`, has finished the run.
        UserError: as `check_folder` and `make_folder`.
    """
    import jax

    if jax.process_index() != 0:
        yield
        return
    with hold(folder):
        if not check_folder(folder, config):  # asked again: now nobody else writes here
            make_folder(folder, config)
        if once and finished(folder):
            raise Busy(f"another process has finished {folder}")
        yield
        write_result(folder, {FINISHED: True})


def finished(folder: Path) -> bool:
    """Whether the run has done all that its config asks for."""
    try:
        result = json.loads((folder / RESULT).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(result, dict) and result.get(FINISHED) is True


def latest_checkpoint(folder: Path) -> int | None:
    """The step that the run would go on from; None if it would start anew."""
    try:
        steps = [int(path.name) for path in (folder / CHECKPOINTS).iterdir() if path.name.isdigit()]
    except OSError:
        return None
    return max(steps, default=None)


def last_row(folder: Path, *keys: str) -> dict[str, Any]:
    """The last row of the run's `metrics.jsonl` that has the keys; empty if none has. Reads only the file's end."""
    try:
        with (folder / METRICS).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 2**16))
            lines = file.read().splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        with suppress(ValueError):  # half a line
            row = json.loads(line)
            if isinstance(row, dict) and all(key in row for key in keys):
                return row
    return {}


def identity(folder: Path, config: ConfigDict) -> str:
    """The id of a run of a group in W&B, wherever the group's folder lies; empty without a group."""
    group = config.logging.group
    words = f"{group}/{folder.name}/{configuration.digest(config)}"
    return hashlib.sha256(words.encode()).hexdigest()[:12] if group else ""


def make_folder(folder: Path, config: ConfigDict) -> None:
    """Make a run's folder, which `check_folder` found good, with its `config.json`. Process 0 does it for all.

    Raises:
        UserError: the folder cannot be made or written.
    """
    import jax

    if jax.process_index() != 0:
        return
    try:
        write_json(folder / CONFIG, config.to_dict())
    except OSError as error:
        raise UserError(f"{folder} cannot be a run folder ({error.strerror}); choose another --workdir") from error


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
        values = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        line = f"{folder} holds no run ({CONFIG} is missing); train one with --workdir={folder}"
        raise UserError(line) from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    with _naming(path):
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


def write_result(folder: Path, figures: dict[str, Any]) -> Path:
    """Put figures into the run's `result.json`, beside those that are there."""
    import jax

    path = folder / RESULT
    if jax.process_index() != 0:
        return path
    result: Any = {}
    if path.exists():
        try:
            result = json.loads(path.read_text())
        except ValueError:
            result = None
        if not isinstance(result, dict):
            warnings.warn(f"{path} could not be read and is written anew", stacklevel=2)
            result = {}
    write_json(path, {**result, **figures})
    return path


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
    """The commit of the code's checkout, with `+changes` if files differ from it; None outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
