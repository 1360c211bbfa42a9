"""Train all members of a sweep, each in its own process.

    python -m ddpm_jax.sweep --config=configs/digits/sweep_learning_rate.py

The config file's function sweep() yields what each member changes: a mapping of dotted keys to values; the key
"argument" is passed to get_config. The plan is shown first. Finished members are skipped, those that were cut off go
on: the same command started again does what is left. A member that fails does not end the others.
"""

import fnmatch
import sys
from collections.abc import Sequence
from pathlib import Path

from ddpm_jax import command
from ddpm_jax.errors import UserError, nearest


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = command.Parser(prog="python -m ddpm_jax.sweep", description=__doc__)
    parser.add_argument("--config", metavar="FILE.py", help="the config file; --config.KEY=VALUE is for every member")
    parser.add_argument("--workdir", metavar="ROOT", help="where the run folders go (default: runs/, its name, _sweep)")
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="how many run at once (default 1)")
    parser.add_argument("--only", metavar="PATTERN", help="members whose names match, such as '*seed0*'")
    parser.add_argument("--plan", action="store_true", help="show the plan and its cost, and stop")
    others, overrides = command.split(arguments)
    options = command.parse(parser, others)
    if not options.config:
        raise UserError("--config is missing, for example --config=configs/digits/sweep_learning_rate.py")
    if options.jobs < 1:
        raise UserError(f"--jobs: {options.jobs} is less than 1")

    from ddpm_jax import runs, sweep_loop, sweep_plan, sweeping

    root = root_folder(options.workdir, options.config)
    members = chosen(sweeping.members(options.config, root, overrides), options.only)
    steps = sweeping.check(members, data=True)
    print(sweep_plan.table(sweep_plan.make_plan(members, steps), options.jobs), flush=True)
    if options.plan:
        return
    if all(runs.finished(member.folder) for member in members):
        print("nothing is left to do")
        return
    failures = sweep_loop.run(members, len(members), options.jobs, root)
    report(failures, len(members), root)


def root_folder(workdir: str | None, config_file: str) -> Path:
    """The folder of the run folders.

    Raises:
        UserError: it cannot be made or written, or is a run's own.
    """
    from ddpm_jax import files, runs, sweeping

    if workdir == "":
        raise UserError("--workdir: the name of the folder is empty")
    root = Path(workdir) if workdir else sweeping.default_root(config_file)
    if reason := files.obstacle(root):
        raise UserError(f"{root} cannot be a sweep's folder ({reason}); choose another --workdir")
    if (root / runs.CONFIG).exists():
        raise UserError(f"{root} is the folder of one run; choose another --workdir")
    return root


def chosen(members: list, pattern: str | None) -> list:
    """The members whose names match. Raises UserError if none does."""
    found = [member for member in members if pattern is None or fnmatch.fnmatch(member.name, pattern)]
    if not found:
        raise UserError(f"--only={pattern} matches no member; {nearest(str(pattern), [m.name for m in members])}")
    return found


def report(failures: Sequence, count: int, root: Path) -> None:
    """Say how it ended; exit code 1 if members failed."""
    if not failures:
        print(f"{count} run{'s' * (count != 1)} finished in {root}")
        return
    print(f"{len(failures)} of {count} failed; the same command tries them again:", file=sys.stderr)
    for failure in failures:
        print(f"  {failure}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    command.run(main, "stopped; the same command goes on with what is left")
