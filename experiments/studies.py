"""What the studies' `run.py` share: their options, the runs that are asked for, and training these.

A study is a folder with `study.py` (the configs of its members, and sweeps of these), `story.py` (the report) and
`run.py`, which does all of it, from nothing to the report.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ddpm_jax import commands
from ddpm_jax.errors import UserError, nearest
from ddpm_jax.files import obstacle


def add_options(parser: commands.Parser, runs: str, jobs: int = 1) -> None:
    """Add those that every study has."""
    parser.add_argument("--jobs", type=int, default=jobs, help=f"runs at a time ({jobs})")
    parser.add_argument("--runs", metavar="DIR", default=runs, help="where the runs are")
    parser.add_argument("--output", metavar="DIR", help="of the report (default: report/ among the runs)")
    parser.add_argument("--report", action="store_true", help="only report what there is")


def listed(option: str, words: str, hint: str) -> list[str]:
    """What an option names, `A,B`. Raises UserError with the hint where that is nothing."""
    if not (found := [word for word in words.split(",") if word]):
        raise UserError(f"{option}: {hint}")
    return found


def check_names(option: str, what: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raises UserError for a name that is not known; `what` says of what."""
    there = list(known)
    for name in names:
        if name not in there:
            raise UserError(f"{option}: there is no {what} {name!r}; {nearest(name, there)}")


def check_seeds(option: str, seeds: Iterable[str], example: str) -> None:
    """Raises UserError for one that is no seed of a run."""
    for seed in seeds:
        if not (seed.isdecimal() and int(seed) < 2**32):
            raise UserError(f"{option}: {seed!r} is no whole number from 0 to 2^32 - 1; give some, such as {example}")


def places(options: Any) -> tuple[Path, Path]:
    """The folders of the runs and of the report.

    Raises:
        UserError: one of them cannot be written, or there is no run at a time.
    """
    if options.jobs < 1:
        raise UserError(f"--jobs: {options.jobs} is less than 1")
    runs = Path(options.runs)
    output = Path(options.output) if options.output else runs / "report"
    for name, folder in (("--runs", runs), ("--output", output)):
        if reason := obstacle(folder):
            raise UserError(f"{name}: {folder} cannot be written ({reason}); choose another")
    return runs, output


def python(*words: str) -> int:
    """Run Python on these words; its exit code."""
    return commands.to_its_end([sys.executable, *words])


def sweep(config: str, folder: Path, jobs: int) -> bool:
    """Train what is left of a sweep, `FILE.py:argument`. Whether all of it is done."""
    return python("-m", "ddpm_jax.sweep", f"--config={config}", f"--workdir={folder}", f"--jobs={jobs}") == 0


def check_done(done: bool) -> None:
    """Raises UserError unless all runs are done; the report of the others is written by then."""
    if not done:
        raise UserError("some runs failed; the lines above say why, and the same command tries them again")
