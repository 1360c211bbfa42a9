"""What samples are asked for: what a person says, or what the data say of their own images."""

from typing import Any

import numpy as np
from jaxtyping import Float

from ddpm_jax.conditions import Condition, Conditions, Kind, Label, Picture
from ddpm_jax.data import Dataset
from ddpm_jax.errors import UserError
from ddpm_jax.files import Record


def conditions_of(
    conditions: Conditions, dataset: Dataset, count: int, told: Record | None = None
) -> dict[str, np.ndarray]:
    """The conditions of `count` samples, `{name: [count, ...]}`.

    Args:
        conditions: those that the model is told.
        dataset: whose images' own are taken where nothing is told: labels in turn, the captions of the test split.
        count: how many samples.
        told: by name one value for all, or a list that the samples go round; names left out say nothing.

    Raises:
        UserError: a condition that the model is not told, or a value that cannot be.
    """
    if not told:
        return _own(conditions, dataset, count)
    for name in told:
        if name not in conditions:
            known = f"it is told {', '.join(conditions)}" if len(conditions) else "it was trained without conditions"
            raise UserError(f"this model is not told {name!r}: {known}")
    lists = {name: _listed(conditions[name], value) for name, value in told.items()}
    found = {name: np.asarray(value) for name, value in conditions.null(count).items()}
    for name, rows in conditions.rows(lists).items():
        _check_given(name, conditions[name], rows)
        found[name] = rows[np.arange(count) % len(rows)]
    return found


def _listed(kind: Kind, value: Any) -> Any:
    """One value, or several, as several."""
    if kind.said:
        return list(value) if isinstance(value, list | tuple | np.ndarray) else [value]
    found = np.asarray(value)
    return found if found.ndim > len(kind.shape) else found[None]


def _check_given(name: str, kind: Kind, rows: np.ndarray) -> None:
    """Raises UserError for no values, and for the label of images that nobody knows: a person leaves it out."""
    if not len(rows):
        raise UserError(f"{name}: no value is given; leave it out")
    if isinstance(kind, Label) and (rows == kind.classes).any():
        raise UserError(f"{name}: {kind.classes} is not one of 0 ... {kind.classes - 1}")


def _own(conditions: Conditions, dataset: Dataset, count: int) -> dict[str, np.ndarray]:
    """A lone label in turn; else all that is known of the same images, so that nothing contradicts the rest."""
    turns = {name: conditions[name].turn(count) for name in conditions}
    if len(conditions) == 1 and (found := {name: turn for name, turn in turns.items() if turn is not None}):
        return found
    if not len(conditions):
        return {}
    split = dataset.sources["test"] if "test" in dataset.sources else dataset.split("validation")
    return conditions.of(split.rows(np.arange(count) % len(split))["condition"])


def words_of(conditions: Conditions, condition: Condition) -> list[str] | None:
    """A line for each sample of what was asked; None where there is nothing to read but numbers of classes."""
    names = [name for name, kind in conditions.kinds if kind.said or (isinstance(kind, Label) and kind.names)]
    if not names:
        return None
    rows = zip(*(condition[name] for name in names), strict=True)
    return [
        ", ".join(filter(None, (conditions[name].words(value) for name, value in zip(names, row, strict=True))))
        for row in rows
    ]


def pictures_of(conditions: Conditions, condition: Condition) -> list[Float[np.ndarray, "count height width channels"]]:
    """The pictures of two spatial axes that samples were told, in [-1, 1]; white where a sample was told none."""
    found = []
    for name, kind in conditions.kinds:
        if isinstance(kind, Picture) and len(kind.size) == 3:
            picture, given = kind.parts(np.asarray(condition[name]))
            if given.any():
                found.append(np.where(given > 0, picture, 1.0))
    return found
