"""Parts by name: an entry of a folder's table, or a dotted path `package.module:function` to a part of the user's own.

The options of a part are its keyword arguments. Any folder may import this one.
"""

import inspect
import math
import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from pkgutil import resolve_name
from typing import Any

from ddpm_jax.errors import UserError, nearest

Options = Mapping[str, Any]
"""Options of a part, by the names of its keyword arguments."""

Function = Callable[..., Any]
"""What makes a part."""

FOLDER = "folder"
"""The name of a data set of the user's own: pictures in a folder. It stays wherever that lies, so moved data are the
same data."""


def dotted(name: str) -> bool:
    """Whether a name is a path to a part outside the tables."""
    return re.fullmatch(r"[^\W\d][\w.]*:[^\W\d]\w*", name) is not None


def find(table: Mapping[str, Any], name: str) -> Any:
    """The entry of the table, or what the path leads to.

    Raises:
        ValueError: there is neither, or the module does not import; in one line.
    """
    if name in table:
        return table[name]
    if not dotted(name):
        raise ValueError(f"unknown name {name!r}; {nearest(name, table)}, or give package.module:function")
    try:
        found = resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{name!r} is not found ({error}); it must be package.module:function") from error
    except Exception as error:  # whatever the user's module raises
        raise ValueError(f"{name!r} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ValueError(f"{name!r} is not a function or a class")
    return found


def options(function: Function, without: Iterable[str] = ()) -> Options:
    """The keyword arguments of a part and their defaults; `inspect.Parameter.empty` where there is none."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # what is not written in Python may have none
        return {}
    named = [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    return {one.name: one.default for one in named if one.name not in without}


def made(name: str, function: Function, arguments: Options, kind: type | None = None) -> Any:
    """What a function makes of these arguments: a part of ours, or of the user's own by the dotted path `name`.

    Raises:
        ValueError: whatever a function of the user's own raises, in one line with its place; or it makes no `kind`.
    """
    if not dotted(name):
        return function(**arguments)
    try:
        part = function(**arguments)
    except (ValueError, UserError, OSError, MemoryError):
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{last.filename} line {last.lineno}"
        raise ValueError(f"{name} fails: {type(error).__name__}: {error} ({place})") from error
    if kind is not None and not isinstance(part, kind):
        raise ValueError(f"{name} makes no {kind.__module__}.{kind.__name__}, but a {type(part).__name__}")
    return part


def given(function: Function, **arguments: Any) -> Options:
    """Those of the arguments that the part takes."""
    taken = options(function)
    return {name: value for name, value in arguments.items() if name in taken}


def refusals(function: Function, chosen: Options, without: Iterable[str] = ()) -> list[tuple[str, str]]:
    """What is wrong with the options chosen: `(option, reason)` for each that is unknown, missing or of another type.

    An option is of the type of its default; one without a default must be chosen, and may be of any type.
    """
    taken, found = options(function, without), []
    for name, value in chosen.items():
        if name not in taken:
            found.append((name, f"no such option; {nearest(name, taken) if taken else 'it has none'}"))
        elif (kind := _kind_missed(value, taken[name])) is not None:
            found.append((name, f"{value!r} is not {kind}, such as {taken[name]!r}"))
    for name, default in taken.items():
        if default is inspect.Parameter.empty and name not in chosen:
            found.append((name, "is missing, and has no default"))
    return found


def _kind_missed(value: Any, default: Any) -> str | None:
    """What a value should be by its option's default, and is not; None where it is."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    number = whole or (isinstance(value, float) and math.isfinite(value))
    kinds = {bool: "True or False", int: "a whole number", float: "a number", str: "a string", tuple: "a tuple"}
    for kind, words in kinds.items():  # bool first, for it is an int as well
        if isinstance(default, kind):
            return None if {int: whole, float: number}.get(kind, isinstance(value, kind)) else words
    return None
