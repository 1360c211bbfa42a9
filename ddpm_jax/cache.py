"""The cache: what can be made again is kept here between processes, and never believed unchecked.

An entry is one file. It begins with a checksum of what it was made from and of its content, so that a flipped bit, a
half-written file or another's content is no entry: it is made again. Without a cache (no home, no room, no permission)
all works as well, and one line a process says so. Any room may import this one.
"""

import hashlib
import os
import shutil
import stat
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ddpm_jax.files import sha256, write_bytes

MAGIC = b"ddpm_jax cache 1"  # of the format: a file with another beginning is no entry
_HEAD = len(MAGIC) + hashlib.sha256().digest_size
_said: list[str] = []  # by this process


def cache_folder() -> Path | None:
    """`$DDPM_JAX_CACHE`, else `ddpm_jax` in the user's cache folder; None where no home is known to look for one in."""
    try:
        if chosen := os.environ.get("DDPM_JAX_CACHE"):
            return Path(chosen).expanduser().absolute()
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "ddpm_jax"
    except (RuntimeError, OSError):  # a bare user id in a container has no home; a removed working folder no path
        return None


def load(kind: str, made_from: Iterable[Any], root: Path | None = None) -> bytes | None:
    """The content that was saved for exactly this, or None where there is none that fits.

    Args:
        kind: the entry's folder in the cache.
        made_from: all that the content depends on, the version of its maker included (see `files.sha256`).
        root: another folder than the cache.
    """
    key = sha256(made_from)
    path = _path(root, kind, key)
    try:
        if path is None or not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            return None
        with path.open("rb", buffering=0) as file:  # a buffer would hold the content twice
            head, content = file.read(_HEAD), file.read()
    except OSError:
        return None
    return content if head == _head(kind, key, content) else None


def save(kind: str, made_from: Iterable[Any], content: bytes, root: Path | None = None) -> None:
    """Keep `content` for `load`, whole or not at all. What stands in the way costs time only, and is said once."""
    key = sha256(made_from)
    path = _path(root, kind, key)
    if path is None:
        tell("no home folder is known")
        return
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        write_bytes(path, _head(kind, key, content), content)
    except OSError as error:
        tell(f"{path.parent}: {error.strerror or error}")


def tell(reason: str) -> None:
    """Warn that nothing is kept, once a process."""
    if not _said:
        _said.append(reason)
        warnings.warn(f"the cache keeps nothing ({reason}): set DDPM_JAX_CACHE to a folder with room", stacklevel=3)


def _path(root: Path | None, kind: str, key: str) -> Path | None:
    folder = root or cache_folder()
    return folder and folder / kind / key[:40]


def _head(kind: str, key: str, content: bytes) -> bytes:
    digest = hashlib.sha256(f"{kind} {key} {len(content)};".encode())
    digest.update(content)
    return MAGIC + digest.digest()
