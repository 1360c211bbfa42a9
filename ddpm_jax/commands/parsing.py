"""The words of a command line: options, the config file, overrides. Light imports only: `--help` is quick."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from ddpm_jax.config.loading import checked, load_config
from ddpm_jax.config.synonyms import meant
from ddpm_jax.errors import UserError, nearest


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage before it.

    `sections` are those of the config whose keys may be set beside its options; all where it has an option `--config`.
    """

    def __init__(self, sections: Sequence[str] = (), **arguments: Any):
        self.sections = sections
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **arguments)

    def error(self, message: str) -> NoReturn:
        """End with the message; `main` prints it."""
        raise UserError(f"{message} (see --help)")


def parse(parser: Parser, arguments: Sequence[str]) -> argparse.Namespace:
    """The parsed options. Raises UserError for one that is not known, and for anything that is not an option."""
    for word in arguments:
        if word.startswith("-") and word.endswith("=--"):  # argparse would take "--" away and leave an empty list
            raise UserError(f"argument {word[:-3]}: expected one argument (see --help)")
    known = [flag for action in parser._actions for flag in action.option_strings]
    takes_words = any(not action.option_strings for action in parser._actions)
    if arguments and not takes_words and (hint := _option_of(arguments[0], known)):  # before what is missing is told
        raise UserError(f"{arguments[0]!r} is not an option; {hint}")
    options, rest = parser.parse_known_args(list(arguments))
    if rest:
        flag = rest[0].split("=")[0]
        if flag.startswith("--"):
            raise UserError(f"unknown option {flag}; {_instead(flag, known, parser.sections)}")
        hint = _option_of(rest[0], known) or "options start with -- (see --help)"
        raise UserError(f"{rest[0]!r} is not an option; {hint}")
    return options


def _option_of(word: str, known: Sequence[str]) -> str:
    """What a bare word would be the value of, in words; empty where that is not known."""
    if word.startswith("-"):
        return ""
    if "--config" in known and word.partition(":")[0].endswith(".py"):
        return f"did you mean --config={word}?"
    return f"did you mean --workdir={word}?" if "--workdir" in known and Path(word).is_dir() else ""


def _instead(flag: str, known: Sequence[str], sections: Sequence[str]) -> str:
    """The end of a line about an option that there is not: another, or the key of the config that is meant."""
    key = meant(flag.removeprefix("--").removeprefix("config."), sections)
    if key and (option := f"--{key.rpartition('.')[2]}") in known:
        return f"did you mean {option!r}?"
    if key and (sections or "--config" in known):
        return f"did you mean '--config.{key}'?"
    return nearest(flag, [option for option in known if option not in ("-h", "--help")])


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
