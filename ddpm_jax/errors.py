"""The one exception that means "the user can mend this". Any room may raise it; only the commands catch it."""

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


def fail(key: str, message: str) -> NoReturn:
    """Raise the UserError about a key of the config."""
    raise UserError(f"config.{key}: {message}")


def nearest(word: str, choices: Iterable[str]) -> str:
    """The end of an error line about `word`: the nearest of `choices` if one is near, else all of them."""
    names = sorted(choices)
    close = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"choose from: {', '.join(names)}"
