"""Prepare a folder of pictures once, so that training reads it as it goes, however large it is.

    python -m ddpm_jax.prepare PICTURES --output=DIR --size=64
    python -m ddpm_jax.train --config=FILE.py --config.data.name=folder --config.data.dir=DIR

PICTURES is a folder of pictures, or what else config.data.dir may be: a data set that Hugging Face's library saved, or
an .npz file. Every picture is decoded once and brought into one form; DIR holds them as array_record, and prepared.json
says what they are.
"""

from collections.abc import Sequence
from pathlib import Path

from ddpm_jax import commands
from ddpm_jax.config.keys import KEYS, OF_FOLDERS
from ddpm_jax.errors import UserError, one_line


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = commands.Parser(prog="python -m ddpm_jax.prepare", description=__doc__)
    parser.add_argument("pictures", metavar="PICTURES", help="a folder of pictures, or an .npz or .npy file")
    parser.add_argument("--output", metavar="DIR", required=True, help="an empty folder, or one to be made")
    for name in OF_FOLDERS:
        key = KEYS[f"data.{name}"]
        meaning = key.meaning.removeprefix("likewise: ").removeprefix("of a folder's pictures: ")
        if isinstance(key.default, bool):
            parser.add_argument(f"--{name}", action="store_true", help=meaning)
            continue
        kind, shown = type(key.default), "COLOUR" if name == "background" else name.upper()
        told = f"{meaning} (default: {key.default})"
        parser.add_argument(f"--{name}", type=kind, default=key.default, metavar=shown, help=told)
    options = commands.parse(parser, arguments)
    values = {name: getattr(options, name) for name in OF_FOLDERS}
    for name, value in values.items():
        key = KEYS[f"data.{name}"]
        if reason := key.mistyped(value) or (isinstance(value, int | float) and key.missed(value)):
            raise UserError(f"--{name}: {reason}")
    if options.channels == 2:
        raise UserError("--channels: 2 is not one of 0, 1, 3, 4")

    from ddpm_jax import files
    from ddpm_jax.data import folders

    output = Path(options.output)
    if reason := files.obstacle(output):
        raise UserError(f"--output: {output} cannot be written ({reason}); choose another --output")
    if output.is_dir() and any(output.iterdir()):
        raise UserError(f"--output: {output} is not empty; choose another --output, or remove it")
    try:
        for line in folders.write(options.pictures, output, values):
            print(_own(line), flush=True)
    except UserError as error:
        raise UserError(_own(one_line(error))) from error


def _own(line: str) -> str:
    """A line about keys of a config, with the options of this command."""
    return line.replace("config.data.dir: ", "").replace("config.data.", "--").replace("--skip_bad=True", "--skip_bad")


if __name__ == "__main__":
    commands.run(main)
