"""Gather the results of runs into one report: tables with intervals over seeds, plots, pictures.

    python -m ddpm_jax.report runs/study_sweep
    python -m ddpm_jax.report runs/digits_ddpm runs/digits_masked --published='experiments/published/*.json'

RUNS are run folders, or folders that hold some. Runs that differ by their seed only are one line. Writes report.md,
report.html (one file that needs no other), table.csv, lines.csv (what is plotted) and PNG pictures.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ddpm_jax import commands
from ddpm_jax.errors import UserError
from ddpm_jax.runs.shown import clean


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = commands.Parser(prog="python -m ddpm_jax.report", description=__doc__)
    parser.add_argument("runs", metavar="RUNS", nargs="+", help="run folders, or folders that hold run folders")
    parser.add_argument(
        "--output", metavar="DIR", help="where to write (default: report/ in the first folder, or beside several runs)"
    )
    parser.add_argument(
        "--published",
        metavar="FILE.json",
        action="append",
        default=[],
        help="figures of others to show beside ours, in a table of their own; may be a pattern, and be repeated",
    )
    parser.add_argument("--title", metavar="TEXT", help="the report's title")
    options = commands.parse(parser, arguments)

    from ddpm_jax import files
    from ddpm_jax.reporting import ledger, published
    from ddpm_jax.reporting.writing import write

    if "" in options.runs:
        raise UserError("RUNS: a folder's name is empty; give folders of runs, such as runs/")
    places = [Path(place) for place in options.runs]
    for place in places:
        ledger.check(place)
    output = Path(options.output) if options.output else default_output(places)
    if reason := files.obstacle(output):
        raise UserError(
            f"--output: {clean(output, 300)} cannot be written ({clean(reason, 300)}); choose another --output"
        )
    others = published.read(options.published)
    for line in write(places, output, others, options.title):
        _say(line)


def _say(line: str) -> None:
    """Print a line that may hold names of any kind, as the terminal can show it."""
    encoding = sys.stdout.encoding or "utf-8"
    print(clean(line).encode(encoding, "backslashreplace").decode(encoding))


def default_output(places: Sequence[Path]) -> Path:
    """`report/` in the first place, or beside it where it is one run of several."""
    from ddpm_jax.runs import CONFIG

    first = places[0]
    return (first.parent if len(places) > 1 and os.path.isfile(first / CONFIG) else first) / "report"


if __name__ == "__main__":
    commands.run(main)
