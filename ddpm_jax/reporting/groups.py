"""Groups of runs that differ by their seed only, and what a group says: a mean, and how sure it is."""

import json
import math
import os
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ddpm_jax.config.identity import SAME_RESULT, own_data, within
from ddpm_jax.files import Record
from ddpm_jax.reporting.ledger import Figure, Run
from ddpm_jax.reporting.markup import NAME
from ddpm_jax.runs.shown import clean

SAME_MODEL = (
    *SAME_RESULT,
    "seed",
    "training.keep_latest",
    "training.keep_every",
    "evaluation.curve",
    "evaluation.curve_orders",
    "evaluation.history",
    "evaluation.raw",
    "evaluation.pictures",
    "evaluation.at_end",
)
"""Keys in which the runs of a group may differ: none changes a figure that the group takes a mean of, but the seed."""

KINDS = ("exact", "bound", "ode")
"""Kinds of likelihood, in the order in which a table has them. A figure is ranked within its kind only."""

MOST_KEYS, SETTING = 3, 60
"""A group without a name is called by the keys in which it differs from others, if these are not more, each of so many
characters at most."""


@dataclass(frozen=True)
class Estimate:
    """A mean over the runs of a group.

    Attributes:
        half_width: of the 95 % t-interval, where there is more than one run; else the run's own standard error.
        count: how many runs.
    """

    value: float
    half_width: float | None
    count: int

    @property
    def low(self) -> float:
        """The interval's lower end; the mean where there is no interval over seeds."""
        return self.value - self.spread

    @property
    def high(self) -> float:
        """The interval's upper end."""
        return self.value + self.spread

    @property
    def spread(self) -> float:
        """The half-width of an interval over seeds; 0 where there is one seed."""
        return self.half_width if self.count > 1 and self.half_width is not None else 0.0


@dataclass(frozen=True)
class Point:
    """A place on a line of a plot."""

    x: float
    y: Estimate


@dataclass(frozen=True)
class Group:
    """Runs that differ by their seed, on one data set, in the order of their seeds."""

    label: str
    data: str
    runs: Sequence[Run]

    @property
    def kind(self) -> str | None:
        """Of the likelihood."""
        return next((run.kind for run in self.runs if run.kind), None)

    @property
    def seeds(self) -> list[int]:
        """One a run."""
        return [run.seed for run in self.runs]

    def figure(self, name: str) -> Estimate | None:
        """The figure of this name over all runs that have it; None if none has."""
        return estimate([run.figures[name] for run in self.runs if name in run.figures])


def estimate(figures: Sequence[Figure]) -> Estimate | None:
    """Mean and 95 % t-interval of the mean; of a single figure its own standard error; None of none."""
    if not figures:
        return None
    values = [figure.value for figure in figures]
    if len(values) == 1:
        return Estimate(values[0], figures[0].error, 1)
    from scipy.special import stdtrit

    deviation = statistics.stdev(values) / math.sqrt(len(values))
    return Estimate(statistics.fmean(values), float(stdtrit(len(values) - 1, 0.975)) * deviation, len(values))


def line(
    group: Group, rows: Callable[[Run], Iterable[tuple[Any, float | None, float | None]]], rising: bool = True
) -> list[Point]:
    """A line of a plot: means over the runs of a group.

    `rows` gives of a run (what is the same in all runs, such as the step; x; y). Values that are missing or not finite
    are left out. Points are in the order of x; with `rising` False, of what is the same.
    """
    gathered: dict[Any, list[tuple[float, float]]] = {}
    for run in group.runs:
        for same, x, y in rows(run):
            if x is not None and y is not None and math.isfinite(x) and math.isfinite(y):
                gathered.setdefault(same, []).append((x, y))
    points = []
    for same in gathered if rising else sorted(gathered):
        pairs = gathered[same]
        mean = estimate([Figure(y) for _, y in pairs])
        assert mean is not None
        points.append(Point(statistics.fmean(x for x, _ in pairs), mean))
    return sorted(points, key=lambda point: point.x) if rising else points


def group(runs: Sequence[Run]) -> tuple[list[Group], list[str]]:
    """The groups, best likelihood first within its kind and data set, each with a label of its own; and notes."""
    notes: list[str] = []
    members: dict[str, list[Run]] = {}
    for run in runs:
        there = members.setdefault(_identity(run), [])
        if twin := next((other for other in there if other.seed == run.seed), None):
            twins = f"{clean(run.folder)} has the config and the seed of {clean(twin.folder)}"
            notes.append(f"{twins}; only the latter counts")
        else:
            there.append(run)
    unnamed = [Group("", data_set(there[0]), sorted(there, key=lambda run: run.seed)) for there in members.values()]
    groups: list[Group] = []
    for data in dict.fromkeys(one.data for one in unnamed):
        groups += _labelled([one for one in unnamed if one.data == data], notes)
    order = {data: i for i, data in enumerate(dict.fromkeys(one.data for one in groups))}
    return sorted(groups, key=lambda one: (order[one.data], *_rank(one))), notes


def data_set(run: Run) -> str:
    """The data set, or the folder of the user's own; its levels if it was rounded, its test split's words if other."""
    levels, words = (run.config.get(key) for key in ("data.levels", "data.splits.test"))
    rounded = f" in {levels} levels" if levels else ""
    name = own_data(run.config) or run.config["data.name"]
    return clean(name + rounded + (f" ({words})" if words and words != "test" else ""), NAME)


def differing(runs: Iterable[Run]) -> list[str]:
    """The keys in which some runs differ, besides those that the runs of a group may differ in."""
    configs = [_model(run) for run in runs]
    keys = dict.fromkeys(key for config in configs for key in config)
    return [key for key in keys if len({json.dumps(config.get(key)) for config in configs}) > 1]


def several(what: str, values: Iterable[str]) -> str | None:
    """A line that says which values there are, if there is more than one."""
    counts = Counter(values)
    if len(counts) < 2:
        return None
    return f"{what}: {'; '.join(f'{value} ({count})' for value, count in counts.most_common())}"


def _model(run: Run) -> Record:
    return {key: value for key, value in run.config.items() if not within(key, SAME_MODEL)}


def _identity(run: Run) -> str:
    return json.dumps([run.config["name"], _model(run), own_data(run.config)], sort_keys=True)


def _rank(one: Group) -> tuple[int, float]:
    kinds: dict[str | None, int] = {kind: i for i, kind in enumerate(KINDS)}
    bits = one.figure("bits_per_dimension")
    return kinds.get(one.kind, len(kinds)), bits.value if bits else math.inf


def _labelled(groups: list[Group], notes: list[str]) -> list[Group]:
    """The groups of one data set with their labels: the name, else the keys that differ, else the folder."""
    names = [clean(one.runs[0].config["name"], NAME) for one in groups]
    nameless = [one for one, name in zip(groups, names, strict=True) if not name]
    keys = differing(one.runs[0] for one in nameless)
    short = 1 <= len(keys) <= MOST_KEYS
    labels = [
        name or (_settings(one, keys) if short else "") or stem(one.runs[0])
        for one, name in zip(groups, names, strict=True)
    ]
    for label, count in Counter(labels).items():
        if count == 1:
            continue
        same = [i for i, other in enumerate(labels) if other == label]
        keys = differing(groups[i].runs[0] for i in same) or ["name"]
        more = f" and {len(keys) - MOST_KEYS} more" if len(keys) > MOST_KEYS else ""
        differ = f"{', '.join(keys[:MOST_KEYS])}{more}"
        notes.append(clean(f"{label}: {count} configs, kept apart; they differ in {differ}"))
        for number, i in enumerate(same, 1):
            apart = _settings(groups[i], keys) if len(keys) <= MOST_KEYS and keys != ["name"] else f"{number}"
            labels[i] = f"{label} ({apart})"
    while len(set(labels)) < len(labels):  # names that look like such labels, or long ones that were cut
        seen = Counter(labels)
        labels = [f"{label} [{i}]" if seen[label] > 1 else label for i, label in enumerate(labels, 1)]
    return [replace(one, label=label) for one, label in zip(groups, labels, strict=True)]


def _settings(one: Group, keys: Sequence[str]) -> str:
    config = one.runs[0].config
    return ", ".join(clean(f"{key.split('.')[-1]} {config.get(key)}", SETTING) for key in keys)


def stem(run: Run) -> str:
    """The folder's name without the data set at its start, and a config's hash and a seed at its end."""
    whole = clean(os.path.basename(os.path.realpath(run.folder)), NAME) or "unnamed"
    name = re.sub(r"[_-]?seed[_-]?\d+$", "", re.sub(r"-[0-9a-f]{8}$", "", whole))
    return name.removeprefix(f"{run.config['data.name']}_") or whole
