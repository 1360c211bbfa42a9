"""Where files live and how they are written. Any room may import this one."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np


def cache_folder() -> Path:
    """The folder for what can be made again: `$DDPM_JAX_CACHE`, else `ddpm_jax` in the user's cache folder."""
    if chosen := os.environ.get("DDPM_JAX_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ddpm_jax"


def obstacle(folder: Path) -> str | None:
    """What stands in the way of writing into `folder`, or of making it where it is missing; None if nothing does."""
    try:
        place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    except OSError as error:
        return error.strerror
    if not place.is_dir():
        return f"{place} is not a folder"
    return None if os.access(place, os.W_OK | os.X_OK) else f"{place} is not writable"


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: into a neighbour first, then renamed over `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def sha256(parts: Iterable[Any]) -> str:
    """The hexadecimal digest of arrays (type, shape and bytes) and of anything else's `str`, in order."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(f"{part};".encode())
    return digest.hexdigest()
