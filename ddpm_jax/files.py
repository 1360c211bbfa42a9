"""Where files live and how they are written. Any room may import this one."""

import json
import os
from pathlib import Path
from typing import Any


def cache_folder() -> Path:
    """The folder for what can be made again: `$DDPM_JAX_CACHE`, else `ddpm_jax` in the user's cache folder."""
    if chosen := os.environ.get("DDPM_JAX_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ddpm_jax"


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
