"""What the launchers share: their options, the members of a sweep, and how a member's command is named and shown."""

import argparse
import dataclasses
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ddpm_jax import commands, runs, sweep
from ddpm_jax.devices import topology
from ddpm_jax.devices.topology import check_batch
from ddpm_jax.errors import UserError
from ddpm_jax.sweeps import expansion
from ddpm_jax.sweeps.expansion import Member

ROOT = Path(__file__).resolve().parents[1]
"""The checkout, which is what other machines are sent."""

DISTRIBUTED = "--config.parallel.distributed=True"
"""For a member that runs as several processes; it does not change what the run computes."""


def make_parser(name: str, description: str | None) -> commands.Parser:
    """A parser with the options that every launcher has."""
    parser = commands.Parser(prog=f"python launch/{name}.py", description=description)
    parser.add_argument("--config", metavar="FILE.py", help="the config file: all members of its sweep(), or one run")
    parser.add_argument("--workdir", metavar="ROOT", help="where the run folders go (default: runs/, its name, _sweep)")
    parser.add_argument("--dry_run", action="store_true", help="print what would be submitted; write and start nothing")
    parser.add_argument(
        "--plan",
        metavar="TOPOLOGY",
        nargs="?",
        const="",
        help="first say what it would take, such as on v5e:4x4 (default: on what is asked for)",
    )
    return parser


def read(
    parser: commands.Parser, arguments: Sequence[str], here: bool = True
) -> tuple[argparse.Namespace, list[Member], Path]:
    """The options, the members, which `expansion.check` is to see yet, and the folder of their run folders.

    Args:
        parser: from `make_parser`, with the launcher's own options.
        arguments: of the command line.
        here: the run folders, or the launcher's files beside them, are written from this machine.

    Raises:
        UserError: an option, the config file or a member is wrong, or the folder cannot be written.
    """
    others, overrides = commands.split(arguments)
    options = commands.parse(parser, others)
    if not options.config:
        raise UserError("--config is missing, for example --config=configs/digits/ddpm.py")
    root = sweep.root_folder(options.workdir, options.config) if here or not options.workdir else Path(options.workdir)
    return options, expansion.members(options.config, root, overrides), root


def devices_of(accelerators: str, times: int) -> int | None:
    """How many devices so many of some accelerators are, named as a cloud names them; None where that is not known."""
    try:
        return topology.parse(accelerators).count * times
    except UserError:
        number = accelerators.rpartition(":")[2]  # a GPU that is in no table here
        return int(number) * times if number.isdecimal() else None


def check_hardware(
    options: argparse.Namespace, arguments: Sequence[str], members: Sequence[Member], count: int | None, known: str = ""
) -> None:
    """Members' batches divide over the devices; with --plan show the instant plan, and the run fits.

    Args:
        options: the launcher's.
        arguments: of the command line.
        members: what is to run.
        count: devices; None: nobody knows how many.
        known: the hardware, as the launcher's own options name it; --plan may name another.

    Raises:
        UserError: they do not, no hardware is named, the plan cannot be made, or the run does not fit.
    """
    for member in members if count else ():
        try:
            check_batch(member.config.data.batch, count or 1)
        except UserError as error:
            raise UserError(f"member {member.name}: {error}") from error
    if options.plan is None:
        return
    if not (hardware := options.plan or known):
        raise UserError("--plan: name the hardware, such as --plan=h100:8")
    _, overrides = commands.split(arguments)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "plan.json"
        config, colon, argument = options.config.partition(":")
        words = [f"--config={Path(config).resolve()}{colon}{argument}", *overrides, f"--topology={hardware}"]
        call([sys.executable, "-m", "ddpm_jax.plan", *words, "--instant", "--sweep", f"--output={file}"], "--plan")
        found = json.loads(file.read_text())
    if not all(one["fits"] for one in found):
        raise UserError("--plan: it does not fit, as the plan above says; nothing is submitted")


def unfinished(members: Sequence[Member]) -> list[Member]:
    """The members that there is something left to do for; says how many there are not."""
    left = [member for member in members if not runs.finished(member.folder)]
    if len(left) < len(members):
        print(f"{len(members) - len(left)} of {len(members)} are finished", flush=True)
    return left


def at_least(options: argparse.Namespace, least: int, *names: str) -> None:
    """Raise UserError if an option that is given is a smaller number."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value < least:
            raise UserError(f"--{name}: {value} is less than {least}")


def elsewhere(member: Member) -> Member:
    """The member with its config file as another machine finds it, from the root of the checkout.

    Raises:
        UserError: the file is not in the checkout.
    """
    file, colon, argument = member.config_file.partition(":")
    path = Path(file).resolve()
    if not path.is_relative_to(ROOT):
        raise UserError(f"--config: {file} is outside {ROOT}, which is all that other machines are sent; put it there")
    return dataclasses.replace(member, config_file=f"{path.relative_to(ROOT).as_posix()}{colon}{argument}")


def label(name: str, most: int) -> str:
    """A member's name for engines that allow small letters, digits and hyphens, and only so many. It keeps the hash."""
    plain = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
    start, _, digest = plain.rpartition("-")
    start = start if start[:1].isalpha() else f"run-{start}"
    return f"{start[: most - 1 - len(digest)].rstrip('-')}-{digest}"


def shown(words: Sequence[str]) -> str:
    """A command line as a shell takes it."""
    return shlex.join(words)


def tool(name: str, install: str) -> str:
    """The path of a program.

    Raises:
        UserError: it is not installed; says how to.
    """
    if found := shutil.which(name):
        return found
    raise UserError(f"there is no program {name} here; {install}")


def call(words: Sequence[str], what: str) -> None:
    """Run a stand-alone tool from the root of the checkout, its words on the screen.

    Raises:
        UserError: it fails.
    """
    done = subprocess.run(words, cwd=ROOT, check=False)
    if done.returncode:
        raise UserError(f"{what}: {Path(words[0]).name} ended with exit code {done.returncode}; its words are above")
