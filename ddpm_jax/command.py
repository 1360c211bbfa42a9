"""What every command does around its work: read the command line, check the config, start JAX, tell errors in a line.

Only light imports at the top, so that `--help` answers at once.
"""

import argparse
import hashlib
import os
import platform
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ddpm_jax.errors import UserError, nearest


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage before it."""

    def __init__(self, **arguments: Any):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **arguments)

    def error(self, message: str) -> NoReturn:
        """End with the message; `main` prints it."""
        raise UserError(f"{message} (see --help)")


def run(main: Callable[[Sequence[str]], None]) -> NoReturn:
    """Run a command: exit code 0, or 2 with one line where the user can mend it, or 130 where they stopped it."""
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"  # type: ignore[assignment]
    try:
        main(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)


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
    """The parsed options, the checked config, and the overrides that changed it.

    The options of the parser stand beside `--config=FILE.py` and any number of `--config.section.key=value`.
    """
    from ddpm_jax import configuration

    overrides, others = [], []
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("--config."):
            others.append(word)
            continue
        overrides.append(word)
        if "=" not in word and waiting and not waiting[0].startswith("--"):
            overrides.append(waiting.pop(0))
    options = parse(parser, others)
    if not options.config:
        raise UserError("--config is missing, for example --config=configs/digits/ddpm.py")
    config = _load(options.config, overrides)
    configuration.check(config)
    return options, config, overrides


def _load(file: str, overrides: list[str]) -> Any:
    from absl import flags
    from ml_collections import ConfigDict, config_flags

    from ddpm_jax import configuration

    path = Path(file.split(":", maxsplit=1)[0])
    if not path.is_file():
        there = [str(other) for other in sorted(Path("configs").glob("**/*.py"))]
        raise UserError(
            f"--config: there is no file {path}; {nearest(str(path), there) if there else 'give a .py file'}"
        )
    known = configuration.flatten(configuration.base())
    for word in overrides:
        if not word.startswith("--config."):
            continue
        key = word.removeprefix("--config.").split("=")[0]
        if key not in known:
            inside = [name for name in known if name.startswith(f"{key}.")]
            hint = f"a section; set one of its keys, such as {inside[0]}" if inside else nearest(key, known)
            raise UserError(f"config.{key}: no such key; {hint}" if not inside else f"config.{key}: is {hint}")
    words = ["ddpm_jax", f"--config={file}", *overrides]
    values, kept = flags.FlagValues(), sys.argv
    config_flags.DEFINE_config_file("config", flag_values=values, lock_config=True)
    sys.argv = words  # config_flags looks for overrides there, not in what it is given
    try:
        values(words)
        config = values.config
    except flags.IllegalFlagValueError as error:
        raise UserError(str(error).removeprefix("flag --").splitlines()[0]) from error
    except Exception as error:  # whatever the user's Python file raises
        message = str(error).strip().splitlines() or [""]
        raise UserError(f"--config={path}: {type(error).__name__}: {message[-1].strip()}") from error
    finally:
        sys.argv = kept
    if not isinstance(config, ConfigDict):
        raise UserError(f"--config={path}: get_config() must return the ConfigDict of ddpm_jax.configuration.base()")
    return config


def start_jax(distributed: bool = False) -> None:
    """Set JAX up for a command: compiled programs are kept in the cache folder; several processes if asked for.

    Raises:
        UserError: the processes cannot find one another.
    """
    if os.environ.get("JAX_NUM_CPU_DEVICES", "1") != "1" or "host_platform_device_count" in os.environ.get(
        "XLA_FLAGS", ""
    ):
        os.environ.setdefault("NPROC", "16")  # emulated devices wait for one another for ever on too few threads
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import jax

    from ddpm_jax.files import cache_folder

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "compiled" / _host()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    if distributed:
        try:
            jax.distributed.initialize()
        except Exception as error:
            line = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"config.parallel.distributed: the processes cannot be joined: {line}") from error


def _host() -> str:
    """A name for the kind of processor: compiled code for one may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        traits = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    except OSError:
        traits = [platform.processor()]
    return hashlib.sha256("\n".join([platform.machine(), *traits]).encode()).hexdigest()[:12]
