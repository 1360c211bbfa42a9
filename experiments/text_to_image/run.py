"""Text to image by every kind of model: the whole study, from nothing to its report.

    python experiments/text_to_image/run.py                          # all members, three seeds
    python experiments/text_to_image/run.py --members=flow,pooled --seeds=0
    python experiments/text_to_image/run.py --report                 # the report of what there is

Started again, it goes on where it stopped. The report is of the members and seeds that are asked for.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ddpm_jax import commands
from ddpm_jax.errors import UserError, nearest
from ddpm_jax.files import obstacle
from ddpm_jax.sweeps import expansion

STUDY = Path(__file__).with_name("study.py")


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    import study

    members, seeds = ",".join(study.MEMBERS), ",".join(map(str, study.SEEDS))
    parser = commands.Parser(prog="python experiments/text_to_image/run.py", description=__doc__)
    parser.add_argument("--members", metavar="A,B", default=members, help=f"of {members} (all)")
    parser.add_argument("--seeds", metavar="A,B", default=seeds, help=f"whole numbers ({seeds})")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (1)")
    parser.add_argument("--runs", metavar="DIR", default="runs/text_to_image", help="where the runs are")
    parser.add_argument("--output", metavar="DIR", help="of the report (default: report/ among the runs)")
    parser.add_argument("--report", action="store_true", help="only report what there is")
    options = commands.parse(parser, arguments)
    asked = f"{STUDY}:{_listed('--members', options.members)}/{_listed('--seeds', options.seeds)}"
    for member in options.members.split(","):
        if member and member not in study.MEMBERS:
            raise UserError(f"--members: there is no member {member!r}; {nearest(member, study.MEMBERS)}")
    for seed in options.seeds.split(","):
        if seed and not (seed.isdecimal() and int(seed) < 2**32):
            raise UserError(f"--seeds: {seed!r} is no whole number from 0 to 2^32 - 1; give some, such as {seeds}")
    if options.jobs < 1:
        raise UserError(f"--jobs: {options.jobs} is less than 1")
    runs = Path(options.runs)
    output = Path(options.output) if options.output else runs / "report"
    for name, folder in (("--runs", runs), ("--output", output)):
        if reason := obstacle(folder):
            raise UserError(f"{name}: {folder} cannot be written ({reason}); choose another")
    done = options.report or train(asked, runs, options)
    import story

    if not runs.is_dir():
        raise UserError(f"--runs: there is no folder {runs}; leave --report out to train")
    for line in story.write(runs, output, {one.name for one in expansion.members(asked, runs)}):
        print(line)
    if not done:
        raise UserError("some runs failed; the lines above say why, and the same command tries them again")


def _listed(option: str, words: str) -> str:
    """The words without empty ones. Raises UserError where nothing is left."""
    if not (kept := ",".join(filter(None, words.split(",")))):
        raise UserError(f"{option}: it is empty; name some, or leave it out for all")
    return kept


def train(asked: str, runs: Path, options: Any) -> bool:
    """Train what is left of the runs that are asked for. Whether all of them are done."""
    words = ["-m", "ddpm_jax.sweep", f"--config={asked}", f"--workdir={runs}", f"--jobs={options.jobs}"]
    return commands.to_its_end([sys.executable, *words]) == 0


if __name__ == "__main__":
    commands.run(main)
