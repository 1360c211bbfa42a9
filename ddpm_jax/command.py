"""What every command does around its work: read the command line, check the config, tell errors in a line.

Only light imports at the top, so that `--help` answers at once.
"""

import argparse
import contextlib
import decimal
import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import traceback
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ddpm_jax import joining, starting
from ddpm_jax.errors import Preempted, UserError, keep_traceback, nearest, refused_by_the_system
from ddpm_jax.preemption import SIGNALS


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage before it."""

    def __init__(self, **arguments: Any):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **arguments)

    def error(self, message: str) -> NoReturn:
        """End with the message; `main` prints it."""
        raise UserError(f"{message} (see --help)")


UNEXPECTED = 1
"""The exit code of a fault that is none of the user's."""

TRACEBACKS = "DDPM_JAX_TRACEBACK"
"""The variable that has tracebacks printed, where otherwise a file keeps them."""


def run(main: Callable[[Sequence[str]], None], stopped: str = "stopped") -> NoReturn:
    """Run a command to its exit code; whatever goes wrong is told in one line.

    0: done; the UserError's code (2) with its line; 85: preempted, start again; 130: the user stopped it; 1: a fault of
    the program, whose traceback is kept in a file that the line names. A second Ctrl-C ends it at once.
    """
    if getattr(main, "__module__", "") == "__main__":  # this process is the command's own, to begin again as it likes
        starting.ask_for_huge_pages()
    _speak_plainly()
    _end_at_second_interrupt()
    try:
        main(sys.argv[1:])
        sys.stdout.flush()
    except UserError as error:
        _end(error, error.code)
    except Preempted:
        for number in SIGNALS:  # it is being done
            signal.signal(number, signal.SIG_IGN)
        _leave("the machine is wanted back; the same command goes on from the last checkpoint", Preempted.code)
    except KeyboardInterrupt:
        _leave(f"\n{stopped}", 130)
    except BrokenPipeError:  # whoever read the output, such as `head`, has gone
        _exit(1)
    except Exception as error:
        if line := refused_by_the_system(error):
            if TRACEBACKS in os.environ:
                _show(error)
            _end(line)
        if joining.lost(error):
            _end("another process has gone; what it said at its end tells why")
        _end(_unexpected(error), UNEXPECTED)
    _exit(0)


def _speak_plainly() -> None:
    """Warnings are a line; what the terminal cannot show is escaped; what threads of libraries die of is not shown.

    It reaches the command as an exception of its own, or does not matter to it.
    """
    warnings.formatwarning = lambda message, *_, **__: f"warning: {_one_line(message)}\n"  # type: ignore[assignment]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if TRACEBACKS not in os.environ:
        threading.excepthook = lambda arguments: None
        sys.unraisablehook = lambda unraisable: None


def _end_at_second_interrupt() -> None:
    """The first Ctrl-C is a KeyboardInterrupt as ever; the next ends the process at once: nothing is half-written."""
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # somebody else's, or ignored
        return
    came: list[int] = []

    def interrupt(number: int, frame: Any) -> None:
        came.append(number)
        if len(came) > 1:
            with contextlib.suppress(OSError):
                os.write(2, b"\nstopped at once\n")
            os._exit(130)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)


def _unexpected(error: Exception) -> str:
    """The line for a fault of the program, whose traceback goes into a file."""
    words = f"{type(error).__name__}: {_one_line(error)[:200]}"
    if TRACEBACKS not in os.environ and (file := keep_traceback(error)):
        return f"unexpected, and not your mistake: {words}; please report it with {file}"
    _show(error)
    return f"unexpected, and not your mistake: {words}"


def _show(error: Exception) -> None:
    print("".join(traceback.format_exception(error)), file=sys.stderr)


def to_its_end(line: Sequence[str]) -> int:
    """Run another command to its end, and give back its exit code.

    Ctrl-C reaches it as well; it is then waited for, so that it saves what it has, where `subprocess.run` kills it
    after a quarter of a second.
    """
    process = subprocess.Popen(line)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise


LONGEST = 1000
"""Characters of an error's line, whatever the user has typed."""


def _end(message: object, code: int = UserError.code) -> NoReturn:
    words = _one_line(message)
    if len(words) > LONGEST:
        words = f"{words[: LONGEST // 2]} ... {words[-LONGEST // 2 :]}"
    _leave(f"error: {words}", code)


def _leave(words: str, code: int) -> NoReturn:
    """Say why, and end the process, several together."""
    with contextlib.suppress(OSError):  # nobody can hear it
        print(words, file=sys.stderr)
    joining.leave(code)
    _exit(code)


def _exit(code: int) -> NoReturn:
    """End the process by this code, also where what is left to be said cannot be: Python's own end makes it 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        except (AttributeError, ValueError):  # it was closed from the beginning
            continue
    sys.exit(code)


def _one_line(message: object) -> str:
    return " ".join(str(message).split())


def parse(parser: Parser, arguments: Sequence[str]) -> argparse.Namespace:
    """The parsed options. Raises UserError for one that is not known, and for anything that is not an option."""
    options, rest = parser.parse_known_args(list(arguments))
    if rest:
        known = [flag for action in parser._actions for flag in action.option_strings]
        flag = rest[0].split("=")[0]
        if flag.startswith("--"):
            raise UserError(f"unknown option {flag}; {nearest(flag, known)}")
        raise UserError(f"{rest[0]!r} is not an option; options start with -- (see --help)")
    return options


def parse_with_config(parser: Parser, arguments: Sequence[str]) -> tuple[argparse.Namespace, Any, list[str]]:
    """The parsed options, the config, and the overrides that changed it, each as `--config.section.key=value`.

    The options of the parser stand beside `--config=FILE.py` and any number of overrides. The config's keys, types and
    values are checked, which is quick; `configuration.check` checks its names too.
    """
    others, overrides = split(arguments)
    options = parse(parser, others)
    if not options.config:
        raise UserError("--config is missing, for example --config=configs/digits/ddpm.py")

    from ddpm_jax import configuration

    known = configuration.flatten(configuration.base())
    overrides = [checked(word, known) for word in overrides]
    return options, load_config(options.config, overrides), overrides


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words of a command line that are no overrides of the config, and the overrides."""
    overrides, others = [], []
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("--config."):
            others.append(word)
            continue
        if "=" not in word and waiting and not waiting[0].startswith("--"):
            word = f"{word}={waiting.pop(0)}"
        overrides.append(word)
    return others, overrides


def load_config(file: str, overrides: Sequence[str]) -> Any:
    """The config of `FILE.py` or `FILE.py:argument`, with overrides that `checked` returned put in.

    Raises:
        UserError: the file, a type or a value (`configuration.check_values`) is wrong.
    """
    from ddpm_jax import configuration

    config = _load(file)
    try:
        configuration.check_types(config)
        config = _changed(config, list(overrides), configuration.flatten(configuration.base()))
    except RecursionError as error:
        raise UserError(f"--config={file}: the config is nested too deeply, or holds itself") from error
    configuration.check_values(config)
    return config


def checked(override: str, known: dict[str, Any]) -> str:
    """An override as `--config.section.key=value`. Raises UserError for a key or a value that is not there."""
    key, equals, value = override.removeprefix("--config.").partition("=")
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
        raise UserError(f"--config={file}: the file has no function get_config(); see ddpm_jax.configuration")
    with users_code(file):
        config = space["get_config"](*([argument] if colon else []))
    if not isinstance(config, ConfigDict):
        raise UserError(f"--config={file}: get_config() must return the ConfigDict of ddpm_jax.base.base()")
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
    with users_code(file):
        exec(compile(content, str(path), "exec", dont_inherit=True), module.__dict__)
    return module.__dict__


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
        message = f"--config={file}:{where} {type(error).__name__}: {_one_line(error)[:300]}"
        raise UserError(message) from error


def _changed(config: Any, overrides: list[str], known: dict[str, Any]) -> Any:
    """The config with the overrides put in, each read as a value of the key's type."""
    from absl import flags
    from ml_collections import config_flags

    words, values = ["ddpm_jax", *overrides], flags.FlagValues()
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=words)
    try:
        values(words)
        return values["config"].value
    except (flags.Error, TypeError, ValueError) as error:
        for override in overrides:
            key, _, value = override.removeprefix("--config.").partition("=")
            if f"--config.{key}={value}" in str(error):
                kind = type(known[key]).__name__
                raise UserError(f"config.{key}: {value!r} is not of type {kind}") from error
        raise UserError(f"--config.KEY=VALUE: {_one_line(error)[:300]}") from error


def run_options(parser: Parser) -> None:
    """Add the options of a command that works on a trained run."""
    parser.add_argument("--workdir", metavar="DIR", required=True, help="the run's folder")
    parser.add_argument(
        "--best", action="store_true", help="the checkpoint with the lowest validation loss, not the latest"
    )
    parser.add_argument("--data_dir", metavar="DIR", help="the TFDS data directory, if not where the run had it")
    parser.add_argument(
        "--distributed", action="store_true", help="one of several processes, however the run was trained"
    )


def start_on_run(options: argparse.Namespace, overrides: Sequence[str] = ()) -> Any:
    """Start JAX for the run in `--workdir`, joined with other processes if asked for, and return its config.

    `overrides`, each `--config.KEY=VALUE`, may be of what only figures and samples depend on.

    Raises:
        UserError: there is no run, its config does not read, an override is wrong, or the processes cannot be joined.
    """
    from ddpm_jax import configuration, runs

    folder = Path(options.workdir)
    config = runs.read_unchecked(folder)
    if overrides:
        known = configuration.flatten(configuration.base())
        overrides = [checked(word, known) for word in overrides]
        for word in overrides:
            key = word.removeprefix("--config.").partition("=")[0]
            if not configuration.within(key, (*configuration.AFTER_TRAINING, "logging")):
                parts = ", ".join(f"config.{part}" for part in configuration.AFTER_TRAINING)
                raise UserError(f"config.{key}: what the run was trained with is not changed; set keys of {parts}")
        config = _changed(config, list(overrides), known)
        configuration.check_values(config)
    config.parallel.distributed = options.distributed
    if options.data_dir:
        config.data.dir = options.data_dir
    starting.start_jax(config.parallel.distributed, joining.facts(config, options))
    runs.check_config(folder, config)
    return config
