"""Which sampler, in how many evaluations? Errors on known laws, and Frechet distances of trained runs.

    python experiments/solvers/run.py                                  # the known laws, then the page
    python experiments/solvers/run.py --workdir=runs/digits_ddpm       # a run too (again for another)
    python experiments/solvers/run.py --members=runs/digits            # runs/digits_ddpm, ...: their papers' samplers
    python experiments/solvers/run.py --report                         # the page of the figures there are

Figures are kept in figures.json in the folder --output, and what is there is not measured again; the page is report.md,
with its pictures. The known laws take about four minutes of one core.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ddpm_jax import commands
from ddpm_jax.commands import starting
from ddpm_jax.errors import UserError
from ddpm_jax.files import obstacle, write_json

sys.path.append(str(Path(__file__).parent))


def parts() -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """What is measured on known laws: a section, a name in it, and how."""
    import drawn
    import errors
    import ordered

    for schedule in errors.SCHEDULES:
        yield "errors", schedule, partial(errors.measure, "digits", schedule)
    for schedule in errors.ADAPTIVE:
        yield "adaptive", schedule, partial(errors.adaptive, "digits", schedule)
    for schedule in drawn.SCHEDULES:
        yield "drawn", schedule, partial(drawn.measure, schedule)
    yield "ordered", "ising", ordered.measure


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = commands.Parser(prog="python experiments/solvers/run.py", description=__doc__)
    parser.add_argument("--workdir", metavar="RUN", default="", help="a trained run of noise to sample too")
    parser.add_argument("--members", metavar="PREFIX", default="", help="all trained members PREFIX_NAME, by samplers")
    parser.add_argument("--output", metavar="DIR", default="runs/solvers", help="where the figures and the page are")
    parser.add_argument("--report", action="store_true", help="only write the page")
    options = commands.parse(parser, arguments)
    output = Path(options.output)
    if reason := obstacle(output):
        raise UserError(f"--output: {output} cannot be written ({reason}); choose another")
    file = output / "figures.json"
    kept: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    if not options.report:
        starting.start_jax()
        output.mkdir(parents=True, exist_ok=True)
        for section, name, measure in parts():
            if name not in kept.setdefault(section, {}):
                print(f"{section}: {name}", flush=True)
                kept[section][name] = measure()
                write_json(file, kept)
        if options.workdir:
            import trained

            folder = Path(options.workdir)
            runs = kept.setdefault("trained", {})
            runs[folder.name] = trained.measure(folder, kept["errors"], runs.get(folder.name, {}))
            write_json(file, kept)
        if options.members:
            import defaults

            runs = {name: Path(f"{options.members}_{name}") for name in defaults.SAMPLERS}
            there = {name: folder for name, folder in runs.items() if (folder / "result.json").is_file()}
            if not there:
                raise UserError(f"--members: there is no trained run {options.members}_NAME, such as {runs['ddpm']}")
            for name, folder in there.items():
                kept.setdefault("members", {})[name] = defaults.measure(folder, name)
                write_json(file, kept)
    elif not kept:
        raise UserError(f"--report: there are no figures in {output}; leave it out to measure")
    import story

    for path in story.write(kept, output):
        print(path)


if __name__ == "__main__":
    commands.run(main)
