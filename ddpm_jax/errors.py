"""The exceptions that mean "the user can mend this" and "start again". Anything may raise them; only commands catch."""

import difflib
import errno
import os
import tempfile
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn


class UserError(Exception):
    """A mistake in what the user asked for. Its text is one line that names what to change.

    `code` is what the command exits with.
    """

    code = 2


class Busy(UserError):
    """Another process is at it: no mistake, but a reason to wait. The exit code is `EX_TEMPFAIL` of sysexits.h."""

    code = 75


class Incomplete(UserError):
    """Some of what was asked for could not be done, for a reason that may go away; the rest is kept."""

    code = 1


class Unavailable(Exception):
    """A figure that these data or this model cannot have. Its text is the reason."""


class Preempted(BaseException):  # as Ctrl-C: nothing that `except Exception` may swallow
    """The machine is wanted back (SIGTERM, SIGUSR1), and all there is to keep is saved: start the same command again.

    The exit code belongs to this alone, so that a launcher can tell it from a failure and queue the run again.
    """

    code = 85


def one_line(message: object) -> str:
    """The words of a message in one line."""
    return " ".join(str(message).split())


def fail(key: str, message: str) -> NoReturn:
    """Raise the UserError about a key of the config."""
    raise UserError(f"config.{key}: {message}")


def nearest(word: str, choices: Iterable[str]) -> str:
    """The end of an error line about `word`: the nearest of `choices` if one is near, else all of them."""
    names = sorted(choices)
    close = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"choose from: {', '.join(names)}"


SHOWN = 3
"""Names that a line shows; the rest are counted."""


def some(names: Sequence[str], between: str = ", ") -> str:
    """A few of the names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return between.join(names[:SHOWN]) + more


SAID: dict[str, str] = {
    "No space left on device": "the disk is full",
    "Disk quota exceeded": "the disk quota is full",
    "Read-only file system": "the disk is read-only",
    "Too many open files": "too many open files (ulimit -n)",
    "File too large": "a file is larger than allowed (ulimit -f)",
    "start new thread": "no more threads are allowed (ulimit -u)",
    "Resource temporarily unavailable": "no more processes or threads are allowed (ulimit -u)",
    "Permission denied": "a file may not be read or written (permissions)",
    "Cannot allocate memory": "",
    "failed to map segment": "",
    "Out of memory": "",
    "out of memory": "",
    "RESOURCE_EXHAUSTED": "",
}
"""What libraries quote of the system in errors of their own, most telling first; empty: of memory."""

MEMORY = "out of memory; lower config.data.batch, config.sampler.batch or config.model.channels"


OF_THE_MOMENT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.EACCES, errno.EPERM, errno.EAGAIN)
"""What the system refuses now and may not refuse later, whatever is on the disk."""

REFUSALS = (
    *OF_THE_MOMENT,
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.ENAMETOOLONG),
)
"""What the system refuses for reasons of the user's: space, permission, limits."""

NAMES = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY)
"""What it says of names that others have removed or made. Programs ask it and go on, so it must be the error itself."""


def refused_by_the_system(error: BaseException, of_the_moment: bool = False) -> str | None:
    """The line for an error that says what the system refuses (space, memory, files, permission); None for others.

    With `of_the_moment` only for what is no damage of what is read.
    """
    numbers = OF_THE_MOMENT if of_the_moment else REFUSALS
    itself = [error, *causes(error)]
    for one in chain(error):
        if isinstance(one, MemoryError):
            return MEMORY
        named = not of_the_moment and one in itself
        if isinstance(one, OSError) and one.errno in (*numbers, *(NAMES if named else ())) and one.strerror:
            return f"{one.filename or 'a file'}: {one.strerror}"
    texts = [f"{one}" for one in chain(error)]
    for words, line in SAID.items():
        if any(words in text for text in texts):
            return line or MEMORY
    return None


def keep_traceback(error: BaseException) -> Path | None:
    """Write the error's traceback into a file of the system's folder for such; None where that cannot be written."""
    try:
        file, name = tempfile.mkstemp(".txt", "ddpm_jax_traceback_")
        with os.fdopen(file, "w", errors="backslashreplace") as out:
            out.write("".join(traceback.format_exception(error)))
    except OSError:
        return None
    return Path(name)


def causes(error: BaseException) -> Iterator[BaseException]:
    """What the error is said to come from, one after the other."""
    one = error.__cause__
    while one is not None:
        yield one
        one = one.__cause__


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it is said to come from, or came about in, one after the other."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        inside = isinstance(one, OSError | RuntimeError | ValueError) and not one.__suppress_context__
        one = one.__cause__ or (one.__context__ if inside else None)
