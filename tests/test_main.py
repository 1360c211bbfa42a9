"""The list of commands."""

from pathlib import Path

import pytest

from ddpm_jax import __main__ as commands
from ddpm_jax.errors import UserError


def test_every_command_is_listed_with_what_it_does(capsys):
    package = Path(commands.__file__).parent
    there = {path.stem for path in package.glob("*.py") if "commands.run(" in path.read_text()} - {"__main__"}
    assert {*commands.COMMANDS} == there
    commands.main([])
    shown = capsys.readouterr().out
    for name in there:
        (line,) = [line for line in shown.splitlines() if line.startswith(f"python -m ddpm_jax.{name} ")]
        assert len(line.split()) > 6 and len(line) < 130


@pytest.mark.parametrize(("word", "meant"), [("train", "ddpm_jax.train"), ("trian", "train")])
def test_a_command_behind_it_is_told_how_to_be_called(word, meant):
    with pytest.raises(UserError, match=f"did you mean .*{meant}") as caught:
        commands.main([word, "--config=x"])
    assert "\n" not in str(caught.value)
