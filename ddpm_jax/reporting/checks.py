"""What a run's files may hold, checked where it enters, so that what lies behind can trust its types.

A kind is a function that returns the value or raises `Odd`, an object of kinds by their keys, `Each` of a list, `Named`
of an object of any keys, or `Needing`. A value of another kind is left out and named; null is one that is not there.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ddpm_jax.files import Record
from ddpm_jax.reporting.markup import NAME
from ddpm_jax.runs.lineage import EXTENDED, STARTED
from ddpm_jax.runs.shown import clean

LARGEST, SMALLEST = 1e30, 1e-30
"""Numbers beyond are no figure of a run, and numbers nearer to zero are zero: means and plots do not overflow."""

DEEPEST = 8
"""Sections within sections of a config."""


class Odd(ValueError):
    """A value is not of its kind; says what it is not."""


@dataclass(frozen=True)
class Each:
    """A list of values of one kind."""

    kind: Any


@dataclass(frozen=True)
class Named:
    """An object whose values are of one kind, whatever its keys are."""

    kind: Any


@dataclass(frozen=True)
class Needing:
    """An object of kinds by their keys, which is left out if it has not all the `keys`."""

    kinds: Record
    keys: Sequence[str]


def number(value: Any) -> float:
    """A finite number that is not beyond all figures."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Odd("is not a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise Odd("is not a finite number")
    if abs(value) > LARGEST:
        raise Odd("is too large")
    return float(value) if abs(value) >= SMALLEST else 0.0


def amount(value: Any) -> float:
    """A number of zero or more."""
    found = number(value)
    if found < 0:
        raise Odd("is less than 0")
    return found


def share(value: Any) -> float:
    """A number from 0 to 1."""
    found = amount(value)
    if found > 1:
        raise Odd("is more than 1")
    return found


def whole(value: Any) -> int:
    """A whole number of zero or more."""
    amount(value)
    if isinstance(value, float) and not value.is_integer():
        raise Odd("is not a whole number")
    return int(value)


def words(value: Any) -> str:
    """Text, as `clean` has it."""
    if not isinstance(value, str):
        raise Odd("is not text")
    return clean(value, NAME)


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Odd("is neither true nor false")
    return value


def take(kind: Any, value: Any, place: str, faults: list[str]) -> Any:
    """What of the value is of its kind; None if nothing is. What is not is added to the faults, with its place."""
    if value is None:
        return None
    try:
        if isinstance(kind, Each):
            items = _of(value, list, "a list")
            found = [take(kind.kind, item, f"{place}[{i}]", faults) for i, item in enumerate(items)]
            return [item for item in found if item is not None]
        if isinstance(kind, Named):
            return _object(dict.fromkeys(_of(value, dict, "an object"), kind.kind), value, place, faults)
        if isinstance(kind, Needing):
            found = _object(kind.kinds, value, place, faults)
            faults += [f"{place} has no {key}" for key in kind.keys if value.get(key) is None]
            return found if all(key in found for key in kind.keys) else None
        return kind(value) if callable(kind) else _object(kind, value, place, faults)
    except Odd as error:
        faults.append(f"{place} {error} ({shown(value)})")
        return None


def shown(value: Any) -> str:
    """The start of an odd value."""
    return clean(type(value).__name__ if isinstance(value, dict | list) else repr(value)[:100], 40)


def _object(kinds: Record, value: Any, place: str, faults: list[str]) -> Record:
    _of(value, dict, "an object")
    dot = f"{place}." if place else ""
    known = [key for key in kinds if key in value]
    found = {clean(key, NAME): take(kinds[key], value[key], f"{dot}{clean(key, NAME)}", faults) for key in known}
    return {key: item for key, item in found.items() if item is not None}


def _of(value: Any, kind: Callable[..., Any], title: str) -> Any:
    if not isinstance(value, kind):  # type: ignore[arg-type]
        raise Odd(f"is not {title}")
    return value


QUALITY = ("frechet", "precision", "recall", "copies", "variance")
"""Figures of samples against test images."""

LAW = ("kl", "total_variation")
"""Figures of samples of data whose law is known."""

LIKELIHOOD = Needing(
    {"value": number, "standard_error": amount, "kind": words, "nats": number, "nats_standard_error": amount},
    ("value", "kind"),
)
SAMPLES = {
    **dict.fromkeys((*LAW, *QUALITY), number),
    **{f"{name}_standard_error": amount for name in (*LAW, *QUALITY)},
    "features": words,
    "features_hash": words,
    "count": whole,
}
ADHERENCE = {"text": Named(share), "label": share}
"""Shares of pictures that show what was asked."""

POINT = Needing(
    {
        "steps": whole,
        "order": words,
        "guidance": amount,
        "network_evaluations_per_sample": amount,
        "flops_per_sample": amount,
        "quality": SAMPLES,
        "adherence": ADHERENCE,
    },
    ("steps",),
)
CHECKPOINT = {"step": whole, "training_flops": amount, "likelihood": LIKELIHOOD, "quality": SAMPLES}
RESULT = {
    "device": {"kind": words, "count": whole},
    "git_commit": words,
    STARTED: Needing({"run": words, "step": whole, "weights": words}, ("run", "step")),
    EXTENDED: Each(Needing({"step": whole, "changes": words}, ("step", "changes"))),
    "evaluated": {"step": whole, "git_commit": words},
    "finished": flag,
    "steps": whole,
    "images_seen": whole,
    "parameters": whole,
    "training_flops": amount,
    "likelihood": {"test": LIKELIHOOD, "ode": LIKELIHOOD, "in_order": LIKELIHOOD, "floors": Named(LIKELIHOOD)},
    "quality": {"samples": SAMPLES, "references": Named(SAMPLES), "law": words},
    "adherence": dict.fromkeys(("samples", "real", "unseen", "unseen_real"), ADHERENCE),
    "sampling": {"network_evaluations_per_sample": amount},
    "curve": Each(POINT),
    "history": Each(Needing(CHECKPOINT, ("step",))),
    "raw": CHECKPOINT,
    "not_computed": Named(words),
}
"""What reports read of a `result.json`."""

ROW = Needing({"step": whole, "loss": number, "validation_loss": number}, ("step",))
"""And of a row of `metrics.jsonl`."""


def settings(config: Any) -> Record:
    """The dotted keys and values of a config as a run wrote it.

    Raises:
        ValueError: it is none, or a value that a report must know is of another kind.
    """
    values = dict(_settings(config, "config"))
    kinds = {
        **dict.fromkeys(("name", "data.name", "data.splits.test", "sampler.order"), words),
        "seed": whole,
        "data.levels": whole,
    }
    for key in kinds.keys() & values.keys():
        try:
            kinds[key](values[key])
        except Odd as error:
            raise ValueError(f"config.{key} {error} ({shown(values[key])})") from error
    if not words(values.get("data.name", "")):
        raise ValueError("config has no data.name")
    return {**values, "seed": int(values["seed"])} if "seed" in values else values


def _settings(section: Any, place: str) -> list[tuple[str, Any]]:
    if not isinstance(section, dict) or place.count(".") > DEEPEST:
        raise ValueError(f"{clean(place, NAME)} is {'nested too deeply' if isinstance(section, dict) else 'no object'}")
    found: list[tuple[str, Any]] = []
    for key, value in section.items():
        inside = f"{place}.{key}"
        if isinstance(value, dict):
            found += _settings(value, inside)
        elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
            raise ValueError(f"{clean(inside, NAME)} is a list of more than numbers and words")
        else:
            found.append((inside.removeprefix("config."), value))
    return found
