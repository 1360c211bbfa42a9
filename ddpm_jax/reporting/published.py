"""Figures that others published, beside ours: read from data, never ranked with ours.

A file is a list of objects, as in `experiments/published/`: `model`, `paper`, `source`, `metric`, `kind`, `value`,
`split`, and what else must be known to compare. Rows without `data` are of the data set that the file's name ends in.
"""

import glob
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ddpm_jax.errors import UserError
from ddpm_jax.reporting.groups import Group, stem
from ddpm_jax.reporting.tables import NONE, Table, cell

CONDITIONS = ("conditions", "order", "binarisation", "sampler", "evaluations", "ema", "selection", "note")
"""Fields that say under which conditions a number holds, in this order."""

OURS = {
    ("bits_per_dimension", "exact"): "bits_per_dimension",
    ("bits_per_dimension", "bound"): "bits_per_dimension",
    ("bits_per_dimension", "ode"): "bits_per_dimension_ode",
}
"""Published metrics and kinds that we measure too, and our figure's name. An FID is on features that we do not have."""


def read(patterns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of all files, each with its `data`.

    Raises:
        UserError: a file is not there or is not of this kind.
    """
    rows = []
    for pattern in patterns:
        paths = sorted(glob.glob(pattern))
        if not paths:
            raise UserError(f"--published: there is no file {pattern}")
        for path in map(Path, paths):
            try:
                for row in json.loads(path.read_text()):
                    missing = {"model", "paper", "source", "metric", "value"} - set(row)
                    if missing:
                        raise UserError(f"--published: {path}: a row has no {', '.join(sorted(missing))}")
                    rows.append({"data": path.stem.rpartition("_")[2], "kind": None, **row})
            except OSError as error:
                raise UserError(f"--published: {path} cannot be read ({error.strerror})") from error
            except (ValueError, TypeError) as error:
                raise UserError(f"--published: {path} is not a list of published figures ({error})") from error
    return rows


def data_of(row: Mapping[str, Any]) -> str:
    """The data set of a published figure; the ways to binarise an image are data sets of their own."""
    return row["data"] + (f", {row['binarisation']} binarisation" if row.get("binarisation") else "")


def beside(rows: Sequence[Mapping[str, Any]], groups: Sequence[Group]) -> Table:
    """The published figures in their files' order, and ours of the same model, data, metric, kind and split.

    Ours is the group of the published model's name, or whose run's folder `DATA_MODEL` has it.
    """
    head = ("model", "metric", "published", "ours", "paper", "conditions", "source")
    lines = [
        (
            str(row["model"]),
            " ".join(filter(None, (str(row["metric"]).replace("_", " "), row["kind"], row.get("split")))),
            f"{row['value']:g}",
            cell(ours(row, groups), ".3f"),
            str(row["paper"]),
            "; ".join(_words(field, row[field]) for field in CONDITIONS if row.get(field)) or NONE,
            str(row["source"]),
        )
        for row in rows
    ]
    return Table(head, [[word.replace("|", "/") for word in line] for line in lines], frozenset({0, 1, 4, 5, 6}))


def ours(row: Mapping[str, Any], groups: Sequence[Group]) -> Any:
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
