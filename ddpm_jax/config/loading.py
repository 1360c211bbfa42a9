"""Config files and overrides: the user's Python file and words of the command line become a config."""

import ast
import contextlib
import hashlib
import sys
import traceback
import types
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddpm_jax.config.keys import ETA, KEYS, OPTIONS, is_option
from ddpm_jax.config.synonyms import instead
from ddpm_jax.errors import Preempted, UserError, fail, nearest, one_line

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def load_config(file: str, overrides: Sequence[str] = ()) -> "ConfigDict":
    """The config of `FILE.py` or `FILE.py:argument`, with overrides that `checked` returned put in.

    Raises:
        UserError: the file, a type or a value (`checks.check_values`) is wrong.
    """
    from ddpm_jax.config import checks

    config = _load(file)
    try:
        checks.check_types(config)
    except RecursionError as error:
        raise UserError(f"--config={file}: the config is nested too deeply, or holds itself") from error
    config = changed(config, overrides)
    checks.check_values(config)
    return config


def checked(override: str) -> str:
    """An override as `--config.section.key=value`. Raises UserError for a key or a value that is not there."""
    key, equals, text = override.removeprefix("--config.").partition("=")
    if is_option(key):
        if key.rpartition(".")[0] not in OPTIONS.values():
            fail(key, "an option has no options of its own")
    elif key not in KEYS:
        inside = [name for name in KEYS if name.startswith(f"{key}.")]
        fail(key, f"is a section; set one of its keys, such as {inside[0]}" if inside else _unknown(key))
    elif not equals and not isinstance(KEYS[key].default, bool):
        fail(key, f"there is no value; write --config.{key}=VALUE")
    return f"--config.{key}={text if equals else True}"


def _unknown(key: str) -> str:
    return f"no such key; {instead(key)}"


def changed(config: "ConfigDict", overrides: Sequence[str]) -> "ConfigDict":
    """The config with the overrides put in, each read as a value of the key's type."""
    sampler, given = config.sampler.name, set()
    for override in overrides:
        key, _, text = override.removeprefix("--config.").partition("=")
        put(config, key, option(text) if is_option(key) else _parsed(key, text))
        given.add(key)
    if "sampler.name" in given:
        follow_sampler(config, sampler, given)
    if "sampler.steps" not in given:
        follow_times(config, given)
    return config


def follow_times(config: "ConfigDict", given: Container[str]) -> None:
    """Set the number of steps to that of the times or noise levels that are given."""
    for name in ("times", "sigmas"):
        if f"sampler.{name}" in given and config.sampler[name]:
            config.sampler.steps = len(config.sampler[name]) - 1


def follow_sampler(config: "ConfigDict", before: str, given: Container[str]) -> None:
    """Set the one eta that the sampler asked for can do, where the config's says nothing of the user's wish.

    That is where it is the default, or the one eta of the sampler `before`. Another stays, and is refused. The order of
    another solver than `before` is its own.
    """
    name, eta = config.sampler.name, config.sampler.eta
    if "sampler.eta" not in given and name in ETA and eta in (KEYS["sampler.eta"].default, ETA.get(before)):
        config.sampler.eta = ETA[name]
    if "sampler.solver_order" not in given and name != before:
        config.sampler.solver_order = KEYS["sampler.solver_order"].default


def _parsed(key: str, text: str) -> Any:
    try:
        return KEYS[key].parsed(text)
    except ValueError as error:
        fail(key, str(error))


def option(text: str) -> Any:
    """An option of a user's own part: a Python literal, or else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def put(config: "ConfigDict", key: str, value: Any) -> None:
    """Set a key, or an option of a user's own part, whose signature decides about the type.

    Raises:
        UserError: there is no such key, or the value is of another type.
    """
    if is_option(key):
        if key.rpartition(".")[0] not in OPTIONS.values():
            fail(key, "an option has no options of its own")
    elif key not in KEYS:
        fail(key, _unknown(key))
    elif reason := KEYS[key].mistyped(value):
        fail(key, reason)
    *sections, name = key.split(".")
    for section in sections:
        config = config[section]
    with config.unlocked(), config.ignore_type():
        config[name] = float(value) if isinstance(value, int) and isinstance(config.get(name), float) else value


def _load(file: str) -> "ConfigDict":
    """What `get_config` of `FILE.py` or `FILE.py:argument` returns."""
    from ml_collections import ConfigDict

    _, colon, argument = file.partition(":")
    space = read_file(file)
    if not callable(space.get("get_config")):
        raise UserError(f"--config={file}: the file has no function get_config(); see ddpm_jax.config.base")
    with users_code(file), neighbours(Path(file.partition(":")[0])):
        config = space["get_config"](*([argument] if colon else []))
    if not isinstance(config, ConfigDict):
        raise UserError(f"--config={file}: get_config() must return the ConfigDict of ddpm_jax.config.base.base()")
    return config


def read_file(file: str) -> dict[str, Any]:
    """The names that the config file `FILE.py`, or `FILE.py:argument`, defines.

    Raises:
        UserError: there is no such file, or it does not run.
    """
    name = file.partition(":")[0]
    path = Path(name)
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # the latter of a name with a zero byte
        if isinstance(error, FileNotFoundError):
            there = [str(other) for other in sorted(Path("configs").glob("**/*.py"))]
            hint = nearest(name, there) if there else "give a .py file"
            raise UserError(f"--config: there is no file {name}; {hint}") from error
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--config: {name} cannot be read ({reason}); give a .py file") from error
    # a module that is known by its name: dataclasses and pickles of what it defines look there
    module = types.ModuleType(
        f"config_{hashlib.sha256(str(path.absolute()).encode(errors='replace')).hexdigest()[:12]}"
    )
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    with users_code(file), neighbours(path):
        exec(compile(content, str(path), "exec", dont_inherit=True), module.__dict__)
    return module.__dict__


@contextlib.contextmanager
def neighbours(path: Path) -> Iterator[None]:
    """A config file may import the files beside it."""
    folder = str(path.absolute().parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


@contextlib.contextmanager
def users_code(file: str, *meant: type[Exception]) -> Iterator[None]:
    """Whatever the user's Python file raises inside, `sys.exit()` included, is a UserError that names its line.

    Exceptions that are `meant` are let through.
    """
    try:
        yield
    except (UserError, KeyboardInterrupt, Preempted, *meant):
        raise
    except BaseException as error:
        path = file.partition(":")[0]
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(Path(path))]
        where = f" line {frames[-1].lineno}:" if frames else ""
        message = f"--config={file}:{where} {type(error).__name__}: {one_line(error)[:300]}"
        raise UserError(message) from error
