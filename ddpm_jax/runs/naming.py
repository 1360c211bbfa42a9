"""Names of run folders: readable, the same for the same command, and another for another run."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from ddpm_jax.config.identity import SAME_RESULT, digest, flatten, own_data, within
from ddpm_jax.files import Record

LONGEST = 80
"""Characters of a name, without the hash behind it."""


def default_folder(config_file: str, overrides: Sequence[str], config: ConfigDict, start: str = "") -> Path:
    """`runs/<folder>_<file>` of the config file, and its argument.

    With overrides that change the result also what they set, and the start of the config's hash:
    `runs/digits_ddpm_learning_rate0.001_seed1-0123abcd`. Where an earlier version has put the run, without these words,
    it stays.

    Args:
        config_file: `FILE.py` or `FILE.py:argument`.
        overrides: each `--config.KEY=VALUE`.
        config: with the overrides put in.
        start: the folder of the run whose weights it starts from, or `FOLDER:STEP`, if it does.
    """
    name = of_config(config_file)
    if start:
        where, colon, step = start.rpartition(":")
        there = Path(where if colon and step.isdecimal() else start).resolve().name
        name = plain([name, f"from-{there}", *([step] if colon and step.isdecimal() else [])])
    keys = sorted({word.removeprefix("--config.").partition("=")[0] for word in overrides})
    flat = flatten(config)
    changes = {key: flat.get(key) for key in keys if not within(key, SAME_RESULT)}
    if changes.get("data.name") and own_data(flat):
        changes["data.name"] = f"-{own_data(flat)}"
    ending = f"-{digest(config)[:8]}" if changes else ""
    earlier = Path("runs") / f"{name}{ending}"
    if not changes or earlier.is_dir():
        return earlier
    return Path("runs") / f"{plain([name, *words(changes)])}{ending}"


def of_config(config_file: str) -> str:
    """`<folder>_<file>` of a config file, and its argument."""
    file, _, argument = config_file.partition(":")
    path = Path(file)
    parent = path.absolute().parent.name
    name = path.stem if parent in {"", "configs"} else f"{parent}_{path.stem}"
    return name + ("_" + re.sub("[^A-Za-z0-9_.]+", "-", argument) if argument else "")


def words(changes: Record) -> list[str]:
    """What is changed, a word a key: the end of the key, where that tells, and the value."""
    leaves = [key.rpartition(".")[2] for key in changes]
    pairs = zip(changes.items(), leaves, strict=True)
    return [(leaf if leaves.count(leaf) == 1 else key) + _shown(value) for (key, value), leaf in pairs]


def plain(parts: Sequence[str]) -> str:
    """The words as one that any file system takes."""
    return re.sub("[^A-Za-z0-9_.+-]+", "-", "_".join(parts)).strip("-.")[:LONGEST]


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
