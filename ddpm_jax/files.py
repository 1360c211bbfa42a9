"""How files are written and read: whole or not at all, as plain JSON, with a checksum where a flipped bit would lie.

Any folder may import this one.
"""

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

CHECKSUM = "checksum"
"""The key of a record's checksum, its last."""


class DamagedError(ValueError):
    """A file is not as it was written."""


Record = dict[str, Any]
"""An object as JSON has it: a result, a config, what was read of a run."""

Facts = Mapping[str, Any]
"""The same where it is only read."""

DAMAGED = (ValueError, IsADirectoryError, NotADirectoryError)
"""What `read_record` raises of a file that is there and damaged. Other OSErrors may be of the moment only."""


def obstacle(folder: Path) -> str | None:
    """What stands in the way of writing into `folder`, or of making it where it is missing; None if nothing does."""
    try:
        place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    except OSError as error:
        return error.strerror
    if not place.is_dir():
        return f"{place} is not a folder"
    return None if os.access(place, os.W_OK | os.X_OK) else f"{place} is not writable"


def write_bytes(path: Path, *content: bytes) -> None:
    """Write a file, part after part, whole or not at all: into a neighbour first, then renamed over `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name[:200]}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.writelines(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def plain(value: Any) -> Any:
    """`value` as plain JSON has it: tuples are lists, NumPy's numbers are Python's, what is not finite is None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    import numpy as np

    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_json(value: Any, indent: int | None = None) -> str:
    """`plain(value)` as JSON, which any reader takes: no NaN, no Infinity, all in ASCII."""
    return json.dumps(plain(value), indent=indent, allow_nan=False)


def from_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is none, or is nested too deeply to be read.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented plain JSON, whole or not at all."""
    write_bytes(path, (to_json(value, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises OSError, or ValueError where it does not read."""
    return from_json(path.read_bytes())


def write_record(path: Path, values: Facts) -> None:
    """Write an object as `write_json` does, and its checksum as its last key."""
    content = {key: value for key, value in values.items() if key != CHECKSUM}
    write_json(path, {**content, CHECKSUM: _checksum(content)})


def read_record(path: Path, older: bool = True) -> Record:
    """The object in a file that `write_record` wrote; if `older`, also one that has no checksum, as older files.

    Raises:
        OSError: it cannot be read.
        DamagedError: it is not as it was written: its checksum does not fit. It may have been changed by hand.
        ValueError: it is no JSON object.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError("it holds no object")
    told = content.pop(CHECKSUM, None)
    try:
        fits = told == _checksum(content) or (older and told is None)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not fits:
        raise DamagedError("it is not as it was written (checksum)")
    return content


def set_aside(path: Path) -> Path:
    """Rename what is damaged to `NAME.damaged`, in place of an earlier one; gives back the new path."""
    aside = path.with_name(f"{path.name}.damaged")
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside)
    os.replace(path, aside)
    return aside


def checkpoint_steps(folder: Path) -> list[int]:
    """The steps of the folders in `folder` that are named by a step and hold something, rising."""
    try:
        there = [path for path in folder.iterdir() if re.fullmatch("0|[1-9][0-9]*", path.name)]
        return sorted(int(path.name) for path in there if path.is_dir() and any(path.iterdir()))
    except OSError:
        return []


def _checksum(content: Facts) -> str:
    return hashlib.sha256(to_json(content).encode()).hexdigest()[:16]


def sha256(parts: Iterable[Any]) -> str:
    """The hexadecimal digest of arrays (type, shape and bytes) and of anything else's `str`, in order."""
    import numpy as np

    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(f"{part};".encode())
    return digest.hexdigest()
