"""Train all members of a sweep, each in its own process.

    python -m ddpm_jax.sweep --config=configs/digits/sweep_learning_rate.py

The config file's function sweep() yields what each member changes: a mapping of dotted keys to values; the key
"argument" is passed to get_config. The plan is shown first. Finished members are skipped, those that were cut off go
on: the same command started again does what is left. A member that fails does not end the others. Told by SIGTERM or
SIGUSR1 to make room, the sweep tells its runs, which save; its exit code is 85 then.

    python -m ddpm_jax.sweep --config=FILE.py --search=optuna --trials=20 --metric=likelihood.test.value

Here the file's function search(trial) returns what a member changes, by what the trial suggests.
"""

import argparse
import fnmatch
import sys
from collections.abc import Sequence
from pathlib import Path

from ddpm_jax import commands
from ddpm_jax.commands import preemption
from ddpm_jax.errors import UserError, nearest


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    with preemption.listening():  # from the start: until the first run there is nothing to save
        _main(arguments)


def _main(arguments: Sequence[str]) -> None:
    parser = commands.Parser(prog="python -m ddpm_jax.sweep", description=__doc__)
    parser.add_argument("--config", metavar="FILE.py", help="the config file; --config.KEY=VALUE is for every member")
    parser.add_argument("--workdir", metavar="ROOT", help="where the run folders go (default: runs/, its name, _sweep)")
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="how many run at once (default 1)")
    parser.add_argument("--only", metavar="PATTERN", help="members whose names match, such as '*seed0*'")
    parser.add_argument("--plan", action="store_true", help="show the plan and its cost, and stop")
    parser.add_argument("--search", metavar="ENGINE", help="optuna: it chooses members, by the file's search(trial)")
    parser.add_argument("--trials", metavar="N", type=int, help="of a search: how many members in all")
    parser.add_argument("--metric", metavar="KEY", help="of a search: a key of result.json, as likelihood.test.value")
    parser.add_argument("--maximise", action="store_true", help="of a search: more is better")
    others, overrides = commands.split(arguments)
    options = commands.parse(parser, others)
    if not options.config:
        raise UserError("--config is missing, for example --config=configs/digits/sweep_learning_rate.py")
    if options.jobs < 1:
        raise UserError(f"--jobs: {options.jobs} is less than 1")
    if options.search is not None:
        run_search(options, overrides)
        return
    for name in ("trials", "metric", "maximise"):
        if getattr(options, name):
            raise UserError(f"--{name} is of a search; add --search=optuna")

    from ddpm_jax import runs
    from ddpm_jax.sweeps import expansion, loop, plan

    root = root_folder(options.workdir, options.config)
    members = chosen(expansion.members(options.config, root, overrides), options.only)
    steps = expansion.check(members, data=True)
    print(plan.table(plan.make_plan(members, steps), options.jobs), flush=True)
    if options.plan:
        return
    if all(runs.finished(member.folder) for member in members):
        print("nothing is left to do")
        return
    failures = loop.run(members, len(members), options.jobs, root)
    report(failures, len(members), root)


def run_search(options: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Let Optuna choose the members."""
    if not options.metric or not options.trials or options.trials < 1:
        raise UserError("--search needs --trials=N and --metric=KEY, a key of result.json, as likelihood.test.value")
    if options.only:
        raise UserError("--only is of a sweep whose members are known; leave it out")
    from ddpm_jax.sweeps import expansion, search

    search.check_engine(options.search)
    root = root_folder(options.workdir, options.config)
    found = search.Search(options.config, root, overrides, options.trials, options.metric, options.maximise)
    plain = expansion.make_member(options.config, root, {}, overrides)
    steps = expansion.check([plain], data=True)[0]
    images = "" if steps is None else f": {steps:,} steps, {steps * plain.config.data.batch:,} images"
    print(
        f"{options.trials} trials, {found.done} ended, {found.cut_off} cut off; a run without changes{images}",
        flush=True,
    )
    if options.plan:
        return
    failures = search.run(found, options.trials, options.jobs, root)
    print(found.best())
    report(failures, options.trials, root, "a failed trial is not tried again")


def root_folder(workdir: str | None, config_file: str) -> Path:
    """The folder of the run folders.

    Raises:
        UserError: it cannot be made or written, or is a run's own.
    """
    from ddpm_jax import files, runs
    from ddpm_jax.sweeps import expansion

    if workdir == "":
        raise UserError("--workdir: the name of the folder is empty")
    root = Path(workdir) if workdir else expansion.default_root(config_file)
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


def report(failures: Sequence, count: int, root: Path, again: str = "the same command tries them again") -> None:
    """Say how it ended; exit code 1 if members failed."""
    if not failures:
        print(f"{count} run{'s' * (count != 1)} done in {root}")
        return
    print(f"{len(failures)} of {count} failed; {again}:", file=sys.stderr)
    for failure in failures:
        print(f"  {failure}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    commands.run(main, "stopped; the same command goes on with what is left")
