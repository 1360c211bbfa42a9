"""The commands, a line each: `python -m ddpm_jax`."""

import ast
from collections.abc import Sequence
from pathlib import Path

from ddpm_jax import commands
from ddpm_jax.errors import UserError, nearest

COMMANDS = ("prepare", "train", "sample", "edit", "evaluate", "sweep", "report", "plan", "demo")


def main(arguments: Sequence[str]) -> None:
    """Say which commands there are.

    Raises:
        UserError: something else was asked for.
    """
    if arguments and arguments[0] not in ("-h", "--help"):
        name = arguments[0]
        hint = f"did you mean python -m ddpm_jax.{name}?" if name in COMMANDS else nearest(name, COMMANDS)
        raise UserError(f"{name!r} is no option; python -m ddpm_jax lists the commands; {hint}")
    width = max(map(len, COMMANDS))
    for name in COMMANDS:
        print(f"python -m ddpm_jax.{name:<{width}}  {summary(name)}")
    print("\nEach has --help. The first to try: python -m ddpm_jax.train --config=configs/digits/ddpm.py")


def summary(name: str) -> str:
    """The first sentence of a command's module, which is not imported."""
    text = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").split("\n")[0]


if __name__ == "__main__":
    commands.run(main)
