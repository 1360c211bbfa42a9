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
from ddpm_jax.reporting.markup import clean

REPORT, PAGE, TABLE, LINES = "report.md", "report.html", "table.csv", "lines.csv"


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


def write(places: Sequence[Path], output: Path, others: Sequence[dict] = (), title: str | None = None) -> list[str]:
    """Write the report of the runs in the places; gives back what there is to say: notes, and the files to look at.

    Raises:
        UserError: there are no runs, or the output cannot be written.
    """
    from tqdm import tqdm

    from ddpm_jax.files import write_bytes
    from ddpm_jax.reporting import document, html, ledger, lines, tables
    from ddpm_jax.reporting.blocks import as_markdown
    from ddpm_jax.reporting.groups import group

    found = ledger.gather(places)
    groups, notes = group(found.runs)
    title = clean(title or "") or f"Report of {', '.join(dict.fromkeys(one.data for one in groups))}"
    notes = [*found.notes, *notes]
    try:
        output.mkdir(parents=True, exist_ok=True)
        bar = lambda parts: tqdm(parts, desc="report", leave=False, dynamic_ncols=True, delay=1)  # noqa: E731
        blocks = document.compose(groups, notes, others, title, output, bar)
        written = {
            REPORT: as_markdown(blocks),
            PAGE: html.page(title, blocks, output),
            TABLE: tables.comma_separated(groups),
            LINES: lines.comma_separated(groups),
        }
        written = {name: content for name, content in written.items() if content}
        for name, content in written.items():
            write_bytes(output / name, content.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise UserError(f"--output: {clean(output, 300)} cannot be written ({error.strerror})") from error
    return [*notes, *(str(output / name) for name in written)]


if __name__ == "__main__":
    commands.run(main)
