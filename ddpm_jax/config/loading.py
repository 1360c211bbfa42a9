"""Config files and overrides: the user's Python file and words of the command line become a config."""

import ast
import contextlib
import decimal
import hashlib
import sys
import traceback
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ddpm_jax.errors import Preempted, UserError, nearest, one_line
from ddpm_jax.plugins import OPTIONS, is_option


def load_config(file: str, overrides: Sequence[str] = ()) -> Any:
    """The config of `FILE.py` or `FILE.py:argument`, with overrides that `checked` returned put in.

    Raises:
        UserError: the file, a type or a value (`checks.check_values`) is wrong.
    """
    from ddpm_jax.config import checks
    from ddpm_jax.config.base import base
    from ddpm_jax.config.identity import flatten

    config = _load(file)
    try:
        checks.check_types(config)
        config = changed(config, list(overrides), flatten(base()))
    except RecursionError as error:
        raise UserError(f"--config={file}: the config is nested too deeply, or holds itself") from error
    checks.check_values(config)
    return config


def checked(override: str, known: dict[str, Any]) -> str:
    """An override as `--config.section.key=value`. Raises UserError for a key or a value that is not there."""
    key, equals, value = override.removeprefix("--config.").partition("=")
    if is_option(key):
        if key.rpartition(".")[0] not in OPTIONS.values():
            raise UserError(f"config.{key}: an option has no options of its own")
        return f"--config.{key}={value if equals else True}"
    if key not in known:
        inside = [name for name in known if name.startswith(f"{key}.")]
        hint = f"is a section; set one of its keys, such as {inside[0]}" if inside else None
        raise UserError(f"config.{key}: {hint or f'no such key; {nearest(key, known)}'}")
    if not equals:
        if not isinstance(known[key], bool):
            raise UserError(f"config.{key}: there is no value; write --config.{key}=VALUE")
        value = "True"
    if isinstance(known[key], float):
        _check_float(key, value)
    if isinstance(known[key], tuple) and value.strip().startswith("{"):
        raise UserError(f"config.{key}: {value!r} is not of type tuple")
    return f"--config.{key}={value}"


def _check_float(key: str, value: str) -> None:
    """Raise UserError for a text that is another number than the float it is read as: 1e-400 is not 0."""
    try:
        number = float(value)
        if not number and decimal.Decimal(value):
            raise UserError(
                f"config.{key}: {value} is too small to be told from 0; 0 means none where there may be none"
            )
    except (ValueError, decimal.InvalidOperation):
        return  # no number: said where it is put in


def _load(file: str) -> Any:
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


def with_options(config: Any, overrides: Sequence[str]) -> Any:
    """The config with options of the user's own parts, each read as a Python literal, or else as text."""
    for override in overrides:
        key, _, text = override.removeprefix("--config.").partition("=")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text
        *sections, name = key.split(".")
        place = config
        for section in sections:
            place = place[section]
        with place.unlocked(), place.ignore_type():  # the part's own signature decides
            place[name] = value
    return config


def changed(config: Any, overrides: list[str], known: dict[str, Any]) -> Any:
    """The config with the overrides put in, each read as a value of the key's type."""
    from absl import flags
    from ml_collections import config_flags

    options = [word for word in overrides if is_option(word.removeprefix("--config.").partition("=")[0])]
    words, values = ["ddpm_jax", *(word for word in overrides if word not in options)], flags.FlagValues()
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=words)
    try:
        values(words)
        return with_options(values["config"].value, options)
    except (flags.Error, TypeError, ValueError) as error:
        for override in overrides:
            key, _, value = override.removeprefix("--config.").partition("=")
            if f"--config.{key}={value}" in str(error):
                kind = type(known[key]).__name__
                raise UserError(f"config.{key}: {value!r} is not of type {kind}") from error
        raise UserError(f"--config.KEY=VALUE: {one_line(error)[:300]}") from error
