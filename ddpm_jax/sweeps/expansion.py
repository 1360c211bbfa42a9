"""Sweeps: what a config file's `sweep()` asks for, as runs that are checked, named and apart from one another.

    def sweep():
        for rate in (1e-3, 2e-3):
            for seed in range(3):
                yield {"optimizer.learning_rate": rate, "seed": seed}

The key `argument` is passed to `get_config`.
"""

import inspect
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from ddpm_jax.config.identity import digest
from ddpm_jax.config.keys import KEYS, is_option
from ddpm_jax.config.loading import checked, load_config, read_file, users_code
from ddpm_jax.errors import UserError, fail
from ddpm_jax.files import Record
from ddpm_jax.runs import naming
from ddpm_jax.sweeps import checks

ARGUMENT, NAME, GROUP = "argument", "name", "logging.group"

MOST = 10_000
"""Members of one sweep: a generator without an end is a mistake."""


@dataclass(frozen=True)
class Member:
    """One run of a sweep.

    Attributes:
        name: readable and unique, also the folder's name; ends in the first 8 hex digits of the config's hash.
        overrides: all of them, as `--config.KEY=VALUE`.
        config_file: `FILE.py` or `FILE.py:argument`.
        config: resolved and checked.
        folder: the run folder.
        changes: the member's own, by dotted key.
    """

    name: str
    overrides: tuple[str, ...]
    config_file: str
    config: ConfigDict
    folder: Path
    changes: Record

    def command(self, python: str = sys.executable) -> list[str]:
        """The command line that trains it, or goes on with it, or does nothing if it is finished."""
        words = [f"--config={self.config_file}", *self.overrides, f"--workdir={self.folder}", "--once"]
        return [python, "-m", "ddpm_jax.train", *words]


def default_root(config_file: str) -> Path:
    """Where a sweep's runs go by default: `runs/<config's name>_sweep`."""
    return Path("runs") / f"{naming.of_config(config_file)}_sweep"


def expand(config_file: str, root: Path, overrides: Sequence[str] = ()) -> list[Member]:
    """All members of the file's `sweep()`, or one if it has none, checked by all that needs neither data nor devices.

    `FILE.py:ARGUMENT` gives the argument to `sweep` if it takes one, and to the `get_config` of members without one.

    Args:
        config_file: `FILE.py` or `FILE.py:ARGUMENT`.
        root: the folder of the run folders; its name is the W&B group.
        overrides: for every member, each `--config.KEY=VALUE`.

    Raises:
        UserError: names the member and the key that is wrong, or two members that are the same run.
    """
    found = members(config_file, root, overrides)
    check(found)
    return found


def members(config_file: str, root: Path, overrides: Sequence[str] = ()) -> list[Member]:
    """As `expand`, without what `check` adds."""
    found = [make_member(config_file, root, changes, overrides, where) for where, changes in _changes(config_file)]
    _refuse_twins(found)
    return found


def check(members: Sequence[Member], data: bool = False) -> list[int | None]:
    """Check what needs jax, in a process of its own; with `data`, also what the data sets decide.

    Returns:
        With `data`, the steps of each member's budget, None where only time limits it; else None.

    Raises:
        UserError: names the member and the key that is wrong.
    """
    found = checks.check([member.config for member in members], data)
    for member, problem in zip(members, found, strict=True):
        if problem.error:
            raise UserError(f"member {member.name}: {problem.error}")
    return [each.steps for each in found]


def make_member(
    config_file: str, root: Path, changes: Record, overrides: Sequence[str] = (), where: str = ""
) -> Member:
    """The run that `changes` ask for. `config.checks.check_values` has passed it, `check` has not seen it.

    Raises:
        UserError: what is wrong with it, after `where` and the changes.
    """
    file, _, argument = config_file.partition(":")
    try:
        argument = str(changes.get(ARGUMENT, argument))
        common = [checked(word) for word in overrides]
        own = [_override(key, value) for key, value in changes.items() if key != ARGUMENT]
        if twice := {_key(word) for word in common} & {_key(word) for word in own}:
            raise UserError(f"config.{min(twice)}: the command line sets it for all members; leave it out there")
        config_file = f"{file}:{argument}" if argument else file
        words = [*common, *own]
        config = load_config(config_file, words)
        if not config.logging.group:
            words.append(f"--config.{GROUP}={root.absolute().name}")
            config.logging.group = root.absolute().name
    except UserError as error:
        told = ", ".join(f"{key}={value}" for key, value in changes.items())
        raise UserError(f"{where} ({told}): {error}" if where else str(error)) from error
    name = _name(config_file, config, changes)
    return Member(name, tuple(words), config_file, config, root / name, dict(changes))


def _refuse_twins(members: Sequence[Member]) -> None:
    """Raise UserError if two members are the same run."""
    seen: dict[str, Member] = {}
    for member in members:
        twin = seen.setdefault(digest(member.config), member)
        if twin is not member:
            raise UserError(
                f"members {twin.name} and {member.name} are the same run: nothing that changes the result differs; "
                "leave one out, or give it another seed"
            )


def _key(override: str) -> str:
    return override.removeprefix("--config.").partition("=")[0]


def _override(key: Any, value: Any) -> str:
    """A member's change as the command line has it, so that both are read alike."""
    value = value.item() if hasattr(value, "item") else value  # a number of NumPy's
    value = tuple(value) if isinstance(value, list) else value
    if is_option(key):
        return f"--config.{key}={value!r}"
    word = checked(f"--config.{key}={value}")
    if not isinstance(value, str) and (reason := KEYS[key].mistyped(value)):
        fail(key, reason)
    return word


def _changes(config_file: str) -> Iterator[tuple[str, Record]]:
    """What the file's `sweep()` yields, each with a word for where it is."""
    sweep: Any = read_file(config_file).get("sweep")
    argument = config_file.partition(":")[2]
    if sweep is None:
        yield "", {}
        return
    if not callable(sweep):
        raise UserError(f"--config={config_file}: sweep is not a function; see ddpm_jax.sweeps.expansion")
    takes = bool(inspect.signature(sweep).parameters)
    with users_code(config_file):
        asked: Any = sweep(*([argument] if takes and argument else []))
        all_changes: list[Any] = list(itertools.islice(asked or (), MOST + 1))
    if not 0 < len(all_changes) <= MOST:
        many = f"more than {MOST} members" if all_changes else "no member"
        raise UserError(f"--config={config_file}: sweep() yields {many}")
    for number, changes in enumerate(all_changes, 1):
        where = f"sweep() member {number}"
        if not isinstance(changes, Mapping):
            raise UserError(f"{where}: {changes!r} is not a mapping of dotted keys to values")
        if argument and ARGUMENT in changes and not takes:
            raise UserError(f"{where}: {ARGUMENT} is given on the command line too; leave it out there")
        yield where, {str(key): value for key, value in changes.items()}


def _name(config_file: str, config: ConfigDict, changes: Record) -> str:
    """The config's name (or argument), what else the member changes, and the start of the config's hash.

    A name that the member itself gives stands for all it changes but the seed, as it does in a report.
    """
    argument = config_file.partition(":")[2]
    others: Record = {key: value for key, value in changes.items() if key not in (ARGUMENT, NAME)}
    if NAME in changes:
        others = {"seed": config.seed}
    words = [word for word in (config.name or argument, *naming.words(others)) if word]
    return f"{naming.plain(words or [naming.of_config(config_file)])}-{digest(config)[:8]}"
