"""Figures that others published, beside ours: read from data, never ranked with ours.

A file is a list of objects, as in `experiments/published/`: `model`, `paper`, `source`, `metric`, `kind`, `value`,
`split`, and what else must be known to compare. Rows without `data` are of the data set that the file's name ends in.
"""

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ddpm_jax.errors import UserError
from ddpm_jax.files import Record, read_json
from ddpm_jax.reporting.checks import Odd, number, take
from ddpm_jax.reporting.groups import Group, stem
from ddpm_jax.reporting.markup import NAME, quoted
from ddpm_jax.reporting.tables import NONE, Table, cell
from ddpm_jax.runs.shown import clean

CONDITIONS = ("conditions", "order", "binarisation", "sampler", "evaluations", "ema", "selection", "note")
"""Fields that say under which conditions a number holds, in this order."""

OURS = {
    ("bits_per_dimension", "exact"): "bits_per_dimension",
    ("bits_per_dimension", "bound"): "bits_per_dimension",
    ("bits_per_dimension", "ode"): "bits_per_dimension_ode",
}
"""Published metrics and kinds that we measure too, and our figure's name. An FID is on features that we do not have."""


TEXT = ("model", "paper", "source", "metric", "kind", "split", "data", "binarisation")
"""Fields that are text. The first four must be there."""


def read(patterns: Sequence[str]) -> list[Record]:
    """The rows of all files, each with its `data`.

    Raises:
        UserError: a file is not there or is not of this kind.
    """
    rows = []
    for pattern in patterns:
        paths = sorted(glob.glob(pattern))
        if not paths:
            raise UserError(f"--published: there is no file {clean(pattern)}")
        for path in map(Path, paths):
            name = f"--published: {clean(path)}"
            try:
                if not path.is_file():
                    raise UserError(f"{name} is not a file")
                content = read_json(path)
            except OSError as error:
                raise UserError(f"{name} cannot be read ({error.strerror})") from error
            except ValueError as error:
                raise UserError(f"{name} is not a list of published figures ({clean(error, NAME)})") from error
            if not isinstance(content, list):
                raise UserError(f"{name} is not a list of published figures")
            data = clean(path.stem.rpartition("_")[2], NAME)
            rows += [
                {"data": data, "kind": None, **_checked(row, f"{name}: row {i}")} for i, row in enumerate(content, 1)
            ]
    return rows


def _checked(row: Any, place: str) -> Record:
    """A row whose fields that are read here are of their kinds; what else it has is kept as it is."""
    if not isinstance(row, dict):
        raise UserError(f"{place} is not a published figure: an object, with model, paper, source, metric, value")
    if missing := [key for key in (*TEXT[:4], "value") if row.get(key) is None]:
        raise UserError(f"{place} has no {', '.join(missing)}")
    faults: list[str] = []
    kinds = {**dict.fromkeys(CONDITIONS, _told), **dict.fromkeys(TEXT, _text), "value": number}
    found = take(kinds, row, "", faults)
    if faults:
        raise UserError(f"{place}: {faults[0]}")
    return {**{key: value for key, value in row.items() if key not in kinds}, **found}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Odd("is not text")
    return clean(value)


def _told(value: Any) -> Any:
    """Text, or a number, as a condition may be."""
    return value if isinstance(value, int | float) and number(value) is not None else _text(value)


def data_of(row: Record) -> str:
    """The data set of a published figure; the ways to binarise an image are data sets of their own."""
    return row["data"] + (f", {row['binarisation']} binarisation" if row.get("binarisation") else "")


def beside(rows: Sequence[Record], groups: Sequence[Group]) -> Table:
    """The published figures in their files' order, and ours of the same model, data, metric, kind and split.

    Ours is the group of the published model's name, or whose run's folder `DATA_MODEL` has it.
    """
    head = ("model", "metric", "published", "ours", "paper", "conditions", "source")
    lines = [
        (
            quoted(row["model"]),
            quoted(" ".join(filter(None, (row["metric"].replace("_", " "), row["kind"], row.get("split"))))),
            f"{row['value']:g}",
            cell(ours(row, groups), ".3f"),
            quoted(row["paper"]),
            quoted("; ".join(_words(field, row[field]) for field in CONDITIONS if row.get(field)) or NONE),
            quoted(row["source"]),
        )
        for row in rows
    ]
    return Table(head, lines, frozenset({0, 1, 4, 5, 6}))


def ours(row: Record, groups: Sequence[Group]) -> Any:
    """Our estimate of the same figure, or None."""
    name = OURS.get((row["metric"], row["kind"]))
    if name is None or row.get("split") != "test" or row.get("conditional"):
        return None
    for one in groups:
        names = {one.label, *(stem(run) for run in one.runs)}
        if one.data == data_of(row) and row["model"] in names:
            same = name == "bits_per_dimension_ode" or one.kind == row["kind"]
            return one.figure(name) if same else None
    return None


def _words(field: str, value: Any) -> str:
    return f"{value} evaluations" if field == "evaluations" else f"average {value}" if field == "ema" else str(value)
