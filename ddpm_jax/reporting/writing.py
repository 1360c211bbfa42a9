"""A report as files: the runs in some places are gathered, grouped, composed and written."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ddpm_jax import progress
from ddpm_jax.errors import UserError
from ddpm_jax.files import write_bytes
from ddpm_jax.reporting import document, html, ledger, lines, tables
from ddpm_jax.reporting.blocks import as_markdown
from ddpm_jax.reporting.groups import group
from ddpm_jax.runs.shown import clean

REPORT, PAGE, TABLE, LINES = "report.md", "report.html", "table.csv", "lines.csv"


def write(places: Sequence[Path], output: Path, others: Sequence[dict] = (), title: str | None = None) -> list[str]:
    """Write the report of the runs in the places; gives back what there is to say: notes, and the files to look at.

    Raises:
        UserError: there are no runs, or the output cannot be written.
    """
    found = ledger.gather(places)
    groups, notes = group(found.runs)
    title = clean(title or "") or f"Report of {', '.join(dict.fromkeys(one.data for one in groups))}"
    notes = [*found.notes, *notes]
    try:
        output.mkdir(parents=True, exist_ok=True)
        bar = partial(progress.bar, title="report: part", unit="parts")
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
