"""Run folders: what is in one, whose it is, and how it is read back.

A run's folder holds all that its result depends on: `config.json`, `checkpoints/`, `metrics.jsonl`, `result.json`,
and the pictures.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from ddpm_jax import configuration
from ddpm_jax.errors import UserError
from ddpm_jax.files import write_json

CONFIG, RESULT, CHECKPOINTS = "config.json", "result.json", "checkpoints"


def default_folder(config_file: str, overrides: Sequence[str], config: ConfigDict) -> Path:
    """`runs/<folder>_<file>` of the config file; with overrides, the start of the config's hash is added."""
    path = Path(config_file.split(":", maxsplit=1)[0])
    parent = path.absolute().parent.name
    name = path.stem if parent in {"", "configs"} else f"{parent}_{path.stem}"
    if overrides:
        kept = {
            key: value
            for key, value in configuration.flatten(config).items()
            if not key.startswith(configuration.SAME_RESULT)
        }
        name += "-" + hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]
    return Path("runs") / name


def open_folder(folder: Path, config: ConfigDict) -> bool:
    """Make a run's folder, or find it made for the same config; True if it was there. Writes `config.json`.

    Raises:
        UserError: the folder cannot be made or written, is not a run's, or belongs to another config.
    """
    known = folder / CONFIG
    if known.exists():
        if different := configuration.differences(config, read_config(folder)):
            raise UserError(
                f"{folder} holds a run of another config; choose another --workdir, or undo: {'; '.join(different)}"
            )
        return True
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} is not empty and not a run folder; choose another --workdir")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(known, config.to_dict())
    except OSError as error:
        raise UserError(f"{folder} cannot be a run folder ({error.strerror}); choose another --workdir") from error
    return False


def read_config(folder: Path) -> ConfigDict:
    """The checked config of a run.

    Raises:
        UserError: there is no run in the folder, or its config does not read.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{folder} holds no run ({CONFIG} is missing); train one with --workdir={folder}")
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    config = configuration.from_dict(values)
    configuration.check(config)
    return config


def write_result(folder: Path, figures: dict[str, Any]) -> Path:
    """Put figures into the run's `result.json`, beside those that are there."""
    import jax

    path = folder / RESULT
    if jax.process_index() != 0:
        return path
    result = json.loads(path.read_text()) if path.exists() else {}
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
