"""The lines of the plots: what is read of each run, put together by group."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from ddpm_jax.files import Record
from ddpm_jax.reporting import adherence
from ddpm_jax.reporting.checks import LAW, QUALITY
from ddpm_jax.reporting.groups import KINDS, Group, Point, line
from ddpm_jax.reporting.ledger import Run

PLOTTED = {"kl": "KL divergence, nats", "total_variation": "total variation", "frechet": "Frechet distance"}
"""Qualities that are plotted, and what their axis says; all are better where lower."""

ADHERENCE, GUIDANCE = adherence.HEADLINE, "guidance"
"""The share of pictures that show all that was asked; the weight of guidance."""

Rows = Iterable[tuple[Any, float | None, float | None]]
Lines = dict[str, list[Point]]
"""By label of the group; groups without any point are not there."""


def of_groups(groups: Sequence[Group], rows: Callable[[Run], Rows], rising: bool = True) -> Lines:
    """A line for each group that has points; `rising` as in `line`."""
    found = {one.label: line(one, rows, rising) for one in groups}
    return {label: points for label, points in found.items() if points}


def training(groups: Sequence[Group], name: str, against: str) -> Lines:
    """A number of the log (`loss`, `validation_loss`) against `images_seen` or `training_flops`."""

    def rows(run: Run) -> Rows:
        steps, end = run.figures.get("steps"), run.figures.get(against)
        if not steps or not end or not steps.value:
            return []
        return [(row["step"], row["step"] * end.value / steps.value, row[name]) for row in run.log if name in row]

    return of_groups(groups, rows)


def quality(groups: Sequence[Group], name: str, against: str) -> Lines:
    """A quality, or ADHERENCE, against `network_evaluations_per_sample` or `flops_per_sample`, over numbers of sampler
    steps.

    A run without a curve is a single point, its own sampler's. A group that was sampled in other orders too has a line
    for each, called by `in_order`.
    """

    def rows(run: Run, order: str | None) -> Rows:
        for at in run.curve:
            if _other(run, at) == order and _own_guidance(run, at):
                yield at.get("steps"), at.get(against), figure_at(at, name)
        if not run.curve and order is None:
            cost = run.figures.get("evaluations" if against.startswith("network") else against)
            figure = run.figures.get(name)
            yield "own", cost and cost.value, figure and figure.value

    found = of_groups(groups, lambda run: rows(run, None))
    for one in groups:
        for order in other_orders(one):
            if points := line(one, lambda run, order=order: rows(run, order)):
                found[in_order(one.label, order)] = points
    return found


def proportional(first: Lines, second: Lines) -> bool:
    """Whether two plots of the same values look alike, for x of one is x of the other times one factor, within 1 %."""
    ratios = [
        there.x / here.x
        for label in {*first} & {*second}
        for here, there in zip(first[label], second[label], strict=False)
        if here.x
    ]
    return {*first} >= {*second} and (not ratios or max(ratios) <= 1.01 * min(ratios))


def guidance(groups: Sequence[Group], name: str, against: str = GUIDANCE) -> Lines:
    """A quality, or ADHERENCE, against the weight of guidance, or against another quality, as the weight rises.

    The latter have no intervals, for both of a point's figures have one.
    """

    def rows(run: Run) -> Rows:
        for at in guided(run):
            yield at[GUIDANCE], at[GUIDANCE] if against == GUIDANCE else figure_at(at, against), figure_at(at, name)

    found = of_groups(groups, rows, rising=against == GUIDANCE)
    if against != GUIDANCE:
        found = {
            label: [Point(at.x, replace(at.y, half_width=None)) for at in points] for label, points in found.items()
        }
    return {label: points for label, points in found.items() if len(points) > 1}


def guided(run: Run) -> list[Record]:
    """The points of a run's curve that differ in the weight of guidance alone: the steps and order are its own."""
    steps = run.curve[0]["steps"] if run.curve else None  # the first is the config's own
    return [at for at in run.curve if GUIDANCE in at and at["steps"] == steps and _other(run, at) is None]


def figure_at(at: Record, name: str) -> float | None:
    """A quality, or ADHERENCE, at a point of a curve; None where it was not measured."""
    if name == ADHERENCE:
        return adherence.headline(at.get("adherence", {}))
    return at.get("quality", {}).get(name)


def other_orders(one: Group) -> list[str]:
    """The orders in which a group was sampled besides its own."""
    found = dict.fromkeys(_other(run, at) for run in one.runs for at in run.curve)
    return [order for order in found if order is not None]


def in_order(label: str, order: str) -> str:
    """The label of a line of a group in another order."""
    return f"{label}, {order or 'own'} order"


def _other(run: Run, at: Record) -> str | None:
    """The order of a point of a curve; None where it is the run's own."""
    order = at.get("order", run.order)
    return None if order == run.order else order


def _own_guidance(run: Run, at: Record) -> bool:
    """Whether a point of a curve has the weight of the run's own sampler."""
    own = run.config.get("sampler.guidance", 1)
    return at.get(GUIDANCE, own) == own


def history(groups: Sequence[Group], name: str) -> Lines:
    """Quality of the kept checkpoints against training FLOPs."""
    return of_groups(
        groups,
        lambda run: [
            (at.get("step"), at.get("training_flops"), (at.get("quality") or {}).get(name)) for at in run.history
        ],
    )


def history_of_likelihood(groups: Sequence[Group], kind: str) -> Lines:
    """Bits per dimension of one kind at the kept checkpoints against training FLOPs."""

    def rows(run: Run) -> Rows:
        for at in run.history:
            figure: Record = at.get("likelihood") or {}
            if figure.get("kind") == kind:
                yield at.get("step"), at.get("training_flops"), figure.get("value")

    return of_groups(groups, rows)


def comma_separated(groups: Sequence[Group]) -> str:
    """All that was measured along sampler steps and checkpoints, a line a point, with every digit, as CSV.

    The half-width is of the 95 % t-interval over runs, and empty where there is one run. Empty if there is no point.
    """
    rows = []
    for data, there in groupby(groups, key=lambda one: one.data):
        for name, against, drawn in _measured(list(there)):
            rows += [
                [data, label, name, against, at.x, at.y.value, at.y.half_width, at.y.count]
                for label, points in drawn.items()
                for at in points
            ]
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(["data", "group", "figure", "against", "x", "value", "half_width", "runs"])
    writer.writerows(rows)
    return content.getvalue() if rows else ""


def _measured(groups: Sequence[Group]) -> Iterator[tuple[str, str, Lines]]:
    curves = [one for one in groups if any(run.curve for run in one.runs)]
    for name in (ADHERENCE, *LAW, *QUALITY):
        for against in ("network_evaluations_per_sample", "flops_per_sample"):
            yield name, against, quality(curves, name, against)
        yield name, GUIDANCE, guidance(curves, name)
        yield name, "training_flops", history(groups, name)
    for kind in KINDS:
        yield f"bits_per_dimension, {kind}", "training_flops", history_of_likelihood(groups, kind)
