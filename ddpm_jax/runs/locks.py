"""Who trains or evaluates in a run folder: a lock on its file `.lock`, which the system lets go when a process ends.

The lock is `flock`'s, so it holds between machines too where their file system passes it on (NFS does).
"""

import errno
import json
import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from ddpm_jax.errors import Busy, UserError
from ddpm_jax.files import from_json

LOCK = ".lock"

NO_LOCKS = (errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS, errno.EINVAL)
"""What a file system without locks answers."""

PARENT = "DDPM_JAX_PARENT"
"""The variable in which a sweep tells its runs who started them; they may outlive it before they have a lock."""

ATTEMPTS, PAUSE = 5, 0.05
"""Whoever asks for a holder takes a shared lock for an instant, which must not look like a holder."""


@dataclass(frozen=True)
class Holder:
    """The process that trains in a folder; 0 and "" where it has not said yet.

    Attributes:
        pid: its id.
        host: the machine that it is on.
        parent: the process that started it.
    """

    pid: int = 0
    host: str = ""
    parent: int = 0

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" if self.pid else "another process"

    @property
    def here(self) -> bool:
        """Whether it is on this machine."""
        return self.host == socket.gethostname()


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Make the folder where it is missing, and keep it for this process.

    Raises:
        Busy: another process holds it; the line says which.
        UserError: the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a+")
    except OSError as error:
        raise UserError(f"{folder} cannot be a run folder ({error.strerror}); choose another --workdir") from error
    with file:
        for attempt in range(ATTEMPTS):
            if _lock(file, shared=False):
                break
            if attempt == ATTEMPTS - 1:
                raise _busy(folder)
            time.sleep(PAUSE)
        with suppress(OSError):  # of a full disk: only words about the holder are lost
            file.truncate(0)
            parent = int(os.environ.get(PARENT, os.getppid()))
            file.write(json.dumps(asdict(Holder(os.getpid(), socket.gethostname(), parent))))
            file.flush()
        yield


def holder(folder: Path) -> Holder | None:
    """The process that trains in the folder; None if none does, or if the file system has no locks."""
    try:
        file = (folder / LOCK).open()
    except OSError:
        return None
    with file:
        if _lock(file, shared=True):
            return None
        try:
            return Holder(**from_json(file.read()))
        except (ValueError, TypeError):
            return Holder()


def check_free(folder: Path) -> None:
    """Raise Busy if another process trains in the folder."""
    if holder(folder):
        raise _busy(folder)


def _busy(folder: Path) -> Busy:
    return Busy(f"{folder} is in use by {holder(folder) or Holder()}; wait for it, or choose another --workdir")


def _lock(file: IO[Any], shared: bool) -> bool:
    """Whether the lock is ours now, which it also is where there are none."""
    try:
        import fcntl
    except ImportError:  # no such system call here
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        if not shared:
            warnings.warn(f"{file.name}: no locks here; start no second process on this run", stacklevel=4)
    return True
