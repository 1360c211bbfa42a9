"""What a sweep is going to do: each member's state, what is left of it, and what that costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ddpm_jax import runs
from ddpm_jax.progress import duration
from ddpm_jax.runs.locks import holder
from ddpm_jax.sweeps.expansion import Member

LARGEST = 1e100
"""Seconds or images beyond all doubt: a number in a log that is larger is damaged."""


@dataclass(frozen=True)
class Row:
    """One member.

    Attributes:
        member: the run.
        state: in words.
        finished: whether nothing is left of it.
        steps: of its budget, None where only time limits it.
        left: steps that are left.
        seconds: of training that are left, None where nothing tells.
    """

    member: Member
    state: str
    finished: bool
    steps: int | None
    left: int | None
    seconds: float | None


def make_plan(members: Sequence[Member], steps: Sequence[int | None]) -> list[Row]:
    """Each member's row, from what its folder holds and the `steps` of its budget."""
    rates = _rates(members)
    everywhere = [rate for found in rates.values() for rate in found]
    rows = []
    for member, whole in zip(members, steps, strict=True):
        finished, step = runs.finished(member.folder), runs.latest_checkpoint(member.folder) or 0
        state = "finished" if finished else f"to resume at step {step}" if step else "new"
        if not finished and (held := holder(member.folder)):
            state = f"{held} trains it"
        left = 0 if finished else None if whole is None else max(0, whole - step)
        known = rates.get(member.config.name) or everywhere
        estimates = [left * member.config.data.batch * fmean(known)] if left is not None and known else []
        if limit := member.config.training.seconds:
            [spent] = _numbers(member, "elapsed_seconds") or [0.0]
            estimates.append(max(0.0, limit - spent))
        seconds = 0.0 if finished else min(estimates, default=None)
        rows.append(Row(member, state, finished, whole, left, seconds))
    return rows


def _rates(members: Sequence[Member]) -> dict[str, list[float]]:
    """Seconds of training an image, by the config's name, of the members that have any."""
    rates: dict[str, list[float]] = {}
    for member in members:
        elapsed, images = _numbers(member, "elapsed_seconds", "images_seen") or (0.0, 0.0)
        if images > 0:
            rates.setdefault(member.config.name, []).append(elapsed / images)
    return rates


def _numbers(member: Member, *keys: str) -> list[float]:
    """What the last row of the member's log says of the keys; empty where that is not numbers."""
    row = runs.last_row(member.folder, *keys)
    values: list[Any] = [row.get(key) for key in keys]
    good = all(type(value) in (int, float) and abs(value) < LARGEST for value in values)
    return [float(value) for value in values] if good else []


def table(rows: Sequence[Row], jobs: int) -> str:
    """The plan to read: a line a member, with its own changes, and the sum."""
    flops = any(row.member.config.training.flops for row in rows)
    lines = [["state", "steps", "images", *(["FLOPs"] if flops else []), "training left", "member", "its changes"]]
    for row in rows:
        config = row.member.config
        lines.append(
            [
                row.state,
                "?" if row.steps is None else f"{row.steps:,}",
                "?" if row.steps is None else f"{row.steps * config.data.batch:,}",
                *([f"{config.training.flops:.3g}"] if flops else []),
                duration(row.seconds),
                row.member.name,
                " ".join(f"{key}={value}" for key, value in row.member.changes.items()),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = range(1, len(widths) - 2)
    text = [
        "  ".join(word.rjust(width) if i in right else word.ljust(width) for i, (word, width) in cells).rstrip()
        for cells in (list(enumerate(zip(line, widths, strict=True))) for line in lines)
    ]
    return "\n".join([*text, total(rows, jobs)])


def total(rows: Sequence[Row], jobs: int) -> str:
    """The sum in one line."""
    going = [row for row in rows if not row.finished]
    words = [f"{len(rows)} run{'s' * (len(rows) != 1)}, {len(rows) - len(going)} finished"]
    if going and all(row.left is not None for row in going):
        steps = sum(row.left or 0 for row in going)
        images = sum((row.left or 0) * row.member.config.data.batch for row in going)
        words.append(f"left: {steps:,} steps, {images:,} images")
    known = [row.seconds for row in going if row.seconds is not None]
    if going and len(known) == len(going):
        at_once = f", {jobs} at a time" if jobs > 1 else ""
        words.append(f"about {duration(sum(known) / jobs)} of training{at_once}, evaluation not counted")
    elif going:
        words.append("time: not known before one has trained")
    return "; ".join(words)
