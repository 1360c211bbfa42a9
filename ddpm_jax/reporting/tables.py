"""Tables of groups: as cells with a head, as Markdown, and as CSV with every digit. Cells are in our markup."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddpm_jax.files import Record
from ddpm_jax.reporting import adherence, lines
from ddpm_jax.reporting.checks import LAW, QUALITY
from ddpm_jax.reporting.groups import Estimate, Group
from ddpm_jax.reporting.markup import as_markdown, quoted
from ddpm_jax.runs.shown import clean

NONE, TRAIN, TRUE_DRAWS, REAL = "-", "train", "true draws", "the data's own"


@dataclass(frozen=True)
class Table:
    """A head and rows of as many cells. The first column is to the left, others to the right but for `words`."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: frozenset[int] = frozenset({0})


@dataclass(frozen=True)
class Column:
    """A figure in a table: its name in the ledger, what stands above it, and how it is written."""

    name: str
    title: str
    format: str = ".3f"


HEADLINES = (
    Column("bits_per_dimension", "bits/dim"),
    Column("kind", "kind"),
    Column("bits_per_dimension_ode", "bits/dim, ODE"),
    Column("bits_per_dimension_in_order", "bits/dim, exact in one order"),
    Column("nats", "nats", ".2f"),
    Column("kl", "KL", ".4f"),
    Column("total_variation", "total variation", ".4f"),
    Column("frechet", "Frechet", ".2f"),
    Column(adherence.HEADLINE, "adherence"),
    Column("evaluations", "evaluations", ".4g"),
    Column("parameters", "parameters", ",.0f"),
)
"""The columns of the first table: what runs are compared by."""

DETAILS = (
    Column("precision", "precision"),
    Column("recall", "recall"),
    Column("copies", "copies"),
    Column("variance", "variance"),
    Column("steps", "steps", ",.0f"),
    Column("training_flops", "training FLOPs", ".2e"),
    Column("flops_per_sample", "FLOPs/sample", ".2e"),
)
"""Those of the second."""

COSTS = ("evaluations", "steps", "parameters", "training_flops", "images_seen", "flops_per_sample")
"""Figures without an interval in the table: they are chosen, not measured."""

DATA = (
    *(column.name for column in (*HEADLINES, *DETAILS) if column.name != "kind"),
    *("nats_ode", "nats_in_order", "images_seen"),
)
"""The figures of the CSV file, besides those whose names start with `SHARE`."""

SHARE = f"{adherence.HEADLINE}_"


def cell(estimate: Estimate | None, format: str, interval: bool = True) -> str:
    """A mean and its 95 % interval; of one seed the standard error, which says so."""
    if estimate is None:
        return NONE
    value = f"{estimate.value:{format}}"
    if not interval or estimate.half_width is None:
        return value
    return f"{value} ± {estimate.half_width:{format}}" + ("" if estimate.count > 1 else " s.e.")


def figures(groups: Sequence[Group], references: Mapping[str, Record]) -> Table:
    """What the groups of one data set are compared by, in their order; below, others on the same test images.

    Columns that nobody has are left out. Nats are for binary images, where a value costs less than a bit.
    """
    bits = [mean.value for one in groups if (mean := one.figure("bits_per_dimension"))]
    columns = [column for column in HEADLINES if column.name != "nats" or (bits and max(bits) < 1)]
    rows = [[quoted(one.label), *(_cell(one, column) for column in columns)] for one in groups]
    rows += [[_name(name), *_reference(line, columns)] for name, line in references.items()]
    return _filled(["", *(column.title for column in columns)], rows)


def details(groups: Sequence[Group], references: Mapping[str, Record]) -> Table:
    """What else there is to know of them: further qualities, sizes, costs, devices where they differ, and seeds."""
    devices = [", ".join(dict.fromkeys(run.device for run in one.runs)) for one in groups]
    devices = [NONE] * len(devices) if len(set(devices)) == 1 else list(map(quoted, devices))
    rows = [
        [quoted(one.label), *(_cell(one, column) for column in DETAILS), device, " ".join(map(str, one.seeds))]
        for one, device in zip(groups, devices, strict=True)
    ]
    for name, line in references.items():
        if {*(cells := _reference(line, DETAILS))} != {NONE}:
            rows.append([_name(name), *cells, NONE, NONE])
    return _filled(["", *(column.title for column in DETAILS), "device", "seeds"], rows)


def _cell(one: Group, column: Column) -> str:
    if column.name == "kind":
        return quoted(one.kind or NONE)
    return cell(one.figure(column.name), column.format, column.name not in COSTS)


def _name(reference: str) -> str:
    return f"*{quoted(reference.replace('_', ' ')) or 'unnamed'}*"


def _reference(line: Record, columns: Sequence[Column]) -> list[str]:
    """The cells of what others score."""
    known = {column.name: f"{line[column.name]:{column.format}}" for column in columns if _scored(line, column)}
    if floor := line.get("bits_per_dimension"):
        known["bits_per_dimension"] = cell(Estimate(floor["value"], floor.get("standard_error"), 1), ".3f")
        known["kind"] = quoted(floor["kind"])
        if "nats" in floor:
            known["nats"] = cell(Estimate(floor["nats"], floor.get("nats_standard_error"), 1), ".2f")
    return [known.get(column.name, NONE) for column in columns]


def _scored(line: Record, column: Column) -> bool:
    return column.name in (*LAW, *QUALITY) and line.get(column.name) is not None


def _filled(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Without the columns that nobody has."""
    shown = [i for i in range(len(head)) if i == 0 or any(row[i] != NONE for row in rows)]
    return Table([head[i] for i in shown], [[row[i] for i in shown] for row in rows])


def references(groups: Sequence[Group]) -> dict[str, Record]:
    """What simple models and the training images score, by name: figures of quality, and `bits_per_dimension`.

    They are those of the first run that has them.
    """
    found: dict[str, Record] = {}
    for one in groups:
        for run in one.runs:
            for name, floor in run.result.get("likelihood", {}).get("floors", {}).items():
                found.setdefault(name, {}).setdefault("bits_per_dimension", floor)
            quality = run.result.get("quality", {})
            for name, line in quality.get("references", {}).items():
                there = found.setdefault(TRUE_DRAWS if name == TRAIN and "law" in quality else name, {})
                for key, value in line.items():
                    there.setdefault(key, value)
    return found


def adherences(groups: Sequence[Group], place: str) -> Table | None:
    """The share of pictures that show what was asked, by attribute, and below what the data's own pictures score.

    `place` is of `adherence.PLACES`. None where nobody was asked.
    """
    own = real(groups, place)
    asked = [adherence.shares(run.result.get("adherence", {}).get(place, {})) for one in groups for run in one.runs]
    attributes = list(dict.fromkeys(attribute for found in (*asked, own) for attribute in found))
    lines = []
    for one in groups:
        means = [one.figure(adherence.name_of(place, attribute)) for attribute in attributes]
        if any(means):
            lines.append([quoted(one.label), *(cell(mean, ".3f") for mean in means)])
    if not lines:
        return None
    if own:
        lines.append([f"*{REAL}*", *(f"{own[name]:.3f}" if name in own else NONE for name in attributes)])
    return Table(["", *map(quoted, attributes)], lines)


def guidance(groups: Sequence[Group], name: str, format: str) -> Table | None:
    """A quality, or what was asked, of every group at each weight of guidance; None where no group has two weights."""
    found = lines.guidance(groups, name)
    weights = sorted({at.x for points in found.values() for at in points})
    rows = []
    for label, points in found.items():
        means = {at.x: at.y for at in points}
        rows.append([quoted(label), *(cell(means.get(weight), format) for weight in weights)])
    return Table(["", *(f"{weight:g}" for weight in weights)], rows) if rows else None


def real(groups: Sequence[Group], place: str = "samples") -> dict[str, float]:
    """What the data's own pictures score by attribute, as the first run has it that measured them."""
    found = (run.result.get("adherence", {}).get(adherence.PLACES[place], {}) for one in groups for run in one.runs)
    return next((known for one in found if (known := adherence.shares(one))), {})


def features(groups: Sequence[Group]) -> dict[str, list[str]]:
    """The labels of the groups by the features and counts of their Frechet distances, which compare within one only."""
    found: dict[str, list[str]] = {}
    for one in groups:
        for run in one.runs:
            samples = run.result.get("quality", {}).get("samples", {})
            if "features" in samples:
                words = f"{samples['features']} {samples.get('features_hash', '')}, {samples.get('count')} images"
                if one.label not in found.setdefault(words, []):
                    found[words].append(one.label)
    return found


def markdown(table: Table) -> str:
    """The table as Markdown whose columns line up."""
    head, *rows = [[as_markdown(word) for word in line] for line in [table.head, *table.rows]]
    widths = [max(len(line[i]) for line in [head, *rows]) for i in range(len(head))]

    def text(line: Sequence[str]) -> str:
        cells = [
            word.ljust(width) if i in table.words else word.rjust(width)
            for i, (word, width) in enumerate(zip(line, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = [("-" * width if i in table.words else "-" * (width - 1) + ":") for i, width in enumerate(widths)]
    return "\n".join([text(head), text(rule), *map(text, rows)])


def comma_separated(groups: Sequence[Group]) -> str:
    """All figures of all groups, a line a group, with every digit; what a group has not is empty.

    A figure has its mean, `_half_width` and `_runs`. Over one run the half-width is that run's own standard error,
    over more that of the 95 % t-interval.
    """
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    shares = sorted({name for one in groups for run in one.runs for name in run.figures if name.startswith(SHARE)})
    names = [name for name in (*DATA, *shares) if any(one.figure(name) for one in groups)]
    each = [part for name in names for part in (name, f"{name}_half_width", f"{name}_runs")]
    writer.writerow(["data", "group", "kind", *each, "seeds", "device", "commit", "folders"])
    for one in groups:
        cells: list[Any] = []
        for name in names:
            mean = one.figure(name)
            cells += [mean.value, mean.half_width, mean.count] if mean else [None, None, None]
        writer.writerow(
            [
                one.data,
                one.label,
                one.kind,
                *cells,
                " ".join(str(seed) for seed in one.seeds),
                "; ".join(dict.fromkeys(run.device for run in one.runs)),
                "; ".join(dict.fromkeys(run.commit for run in one.runs)),
                "; ".join(clean(run.folder) for run in one.runs),
            ]
        )
    return content.getvalue()
