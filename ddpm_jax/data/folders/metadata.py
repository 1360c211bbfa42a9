"""Tables beside pictures: `metadata.csv` or `metadata.jsonl`, a row a picture, as Hugging Face's imagefolder has them.

A row names its picture in `file_name`, a path from the table's folder, and says its `label`, its `text`, or both.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ddpm_jax.data.folders.labelling import is_number
from ddpm_jax.errors import fail, one_line, some
from ddpm_jax.files import Record, from_json

NAMES = ("metadata.csv", "metadata.jsonl")
FILE, LABEL, TEXT = "file_name", "label", "text"

Label = str | int
"""A class, by its number or its name."""


def read(root: Path, tables: Sequence[str], pictures: Sequence[str]) -> tuple[dict[str, Record], list[str]]:
    """What the tables say of each picture, `{path: {"label": ..., "text": ...}}`, and lines to tell a person.

    Args:
        root: the folder.
        tables: their paths from there.
        pictures: likewise.

    Raises:
        UserError: a table does not read; a row's picture is missing, or a picture's row; or some rows say what others
            do not.
    """
    rows: dict[str, Record] = {}
    columns: dict[str, str] = {}
    unread: Counter[str] = Counter()
    there = set(pictures)
    for table in tables:
        place = table.rpartition("/")[0]
        twin = next((other for other in tables if other != table and other.rpartition("/")[0] == place), None)
        if twin:
            fail("data.dir", f"{root} has {table} and {twin}; leave one of them")
        for number, row in _rows(root / table):
            path = str(row.get(FILE) or "")
            if not path:
                fail("data.dir", f"{root / table}, line {number}, has no {FILE}")
            path = _joined(place, path)
            if path not in there:
                fail("data.dir", f"{root / table}, line {number}: its picture {path} is not there")
            if path in rows:
                fail("data.dir", f"{root / table}, line {number}: {path} has two rows")
            rows[path] = {column: row[column] for column in (LABEL, TEXT) if column in row}
            columns.update(dict.fromkeys(rows[path], table))
            unread.update(column for column in row if column not in (FILE, LABEL, TEXT))
    if missing := [name for name in pictures if name not in rows]:
        count = f"{len(missing)} of {len(pictures)}"
        fail("data.dir", f"{count} pictures in {root} have no row in {tables[0]}: {some(missing)}")
    for column, table in columns.items():
        if empty := [path for path, row in rows.items() if row.get(column) in (None, "")]:
            words = f"{len(empty)} of {len(rows)} pictures have no {column}: {some(sorted(empty))}"
            fail("data.dir", f"{root / table}: {words}; say it of each, or leave the column out")
    for path, row in rows.items():
        _check(root, path, row)
    kinds = {is_number(row[LABEL]): row[LABEL] for row in rows.values() if LABEL in row}
    if len(kinds) > 1:
        words = f"labels are numbers, as {kinds[True]!r}, and names, as {kinds[False]!r}"
        fail("data.dir", f"{root / columns[LABEL]}: {words}; write all alike")
    if not columns:
        fail("data.dir", f"{root / tables[0]} has neither a column {LABEL} nor {TEXT}; add one, or remove the table")
    said = [f"columns of {tables[0]} that are not read: {', '.join(sorted(unread))}"] if unread else []
    return rows, said


def _check(root: Path, path: str, row: Record) -> None:
    label = row.get(LABEL, "")
    if isinstance(label, bool) or not isinstance(label, str | int):
        fail("data.dir", f"{root}: the label of {path} is {label!r}; a label is a whole number or a name")
    if not isinstance(row.get(TEXT, ""), str):
        fail("data.dir", f"{root}: the text of {path} is {row[TEXT]!r}, and no text")


def _joined(place: str, path: str) -> str:
    """A path from the root, of one from a table's folder; `.` and `..` are walked."""
    parts: list[str] = place.split("/") if place else []
    for part in path.replace("\\", "/").split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _rows(table: Path) -> Iterator[tuple[int, Record]]:
    """The number of each line, and what it says by column."""
    try:
        content = table.read_text(encoding="utf-8-sig")
        yield from _of_csv(table, content) if table.suffix == ".csv" else _of_lines(table, content)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        fail("data.dir", f"{table} cannot be read ({one_line(error)}); it must be text in UTF-8")


def _of_csv(table: Path, content: str) -> Iterator[tuple[int, Record]]:
    reader = csv.DictReader(io.StringIO(content, newline=""), strict=True)
    if FILE not in (reader.fieldnames or ()):
        fail("data.dir", f"{table} has no column {FILE}; its first line is to name the columns, with commas between")
    for row in reader:
        if None in row or None in row.values():
            fail("data.dir", f"{table}, line {reader.line_num}, has another number of columns than the first")
        yield reader.line_num, row


def _of_lines(table: Path, content: str) -> Iterator[tuple[int, Record]]:
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = from_json(line)
        except ValueError as error:
            fail("data.dir", f"{table}, line {number}, is no JSON ({one_line(error)})")
        if not isinstance(row, dict):
            fail("data.dir", f"{table}, line {number}, is no JSON object")
        yield number, row
