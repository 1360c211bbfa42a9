"""The exceptions that mean "the user can mend this" and "start again". Any room may raise them; only commands catch."""

import difflib
from collections.abc import Iterable
from typing import NoReturn


class UserError(Exception):
    """A mistake in what the user asked for. Its text is one line that names what to change.

    `code` is what the command exits with.
    """

    code = 2


class Busy(UserError):
    """Another process is at it: no mistake, but a reason to wait. The exit code is `EX_TEMPFAIL` of sysexits.h."""

    code = 75


class Preempted(BaseException):  # as Ctrl-C: nothing that `except Exception` may swallow
    """The machine is wanted back (SIGTERM, SIGUSR1), and all there is to keep is saved: start the same command again.

    The exit code belongs to this alone, so that a launcher can tell it from a failure and queue the run again.
    """

    code = 85


def fail(key: str, message: str) -> NoReturn:
    """Raise the UserError about a key of the config."""
    raise UserError(f"config.{key}: {message}")


def nearest(word: str, choices: Iterable[str]) -> str:
    """The end of an error line about `word`: the nearest of `choices` if one is near, else all of them."""
    names = sorted(choices)
    close = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"choose from: {', '.join(names)}"
