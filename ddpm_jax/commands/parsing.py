"""The words of a command line: options, the config file, overrides. Light imports only: `--help` is quick."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from ddpm_jax.config.loading import checked, load_config
from ddpm_jax.errors import UserError, nearest


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage before it."""

    def __init__(self, **arguments: Any):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **arguments)

    def error(self, message: str) -> NoReturn:
        """End with the message; `main` prints it."""
        raise UserError(f"{message} (see --help)")


def parse(parser: Parser, arguments: Sequence[str]) -> argparse.Namespace:
    """The parsed options. Raises UserError for one that is not known, and for anything that is not an option."""
    for word in arguments:
        if word.startswith("-") and word.endswith("=--"):  # argparse would take "--" away and leave an empty list
            raise UserError(f"argument {word[:-3]}: expected one argument (see --help)")
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
    values are checked, which is quick; `experiment.check` checks its names too.
    """
    others, overrides = split(arguments)
    options = parse(parser, others)
    if not options.config:
        raise UserError("--config is missing, for example --config=configs/digits/ddpm.py")
    overrides = [checked(word) for word in overrides]
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


def run_options(parser: Parser) -> None:
    """Add the options of a command that works on a trained run."""
    parser.add_argument("--workdir", metavar="DIR", required=True, help="the run's folder")
    parser.add_argument(
        "--best", action="store_true", help="the checkpoint with the lowest validation loss, not the latest"
    )
    parser.add_argument("--data_dir", metavar="DIR", help="where the data lie, if not where the run had them")
    parser.add_argument(
        "--text_encoder", metavar="DIR", help="the frozen encoder's folder, if not where the run had it"
    )
    parser.add_argument(
        "--distributed", action="store_true", help="one of several processes, however the run was trained"
    )
