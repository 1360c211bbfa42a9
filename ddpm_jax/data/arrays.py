"""Data sets of arrays in memory."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from ddpm_jax.conditions import Conditions, Label, Text
from ddpm_jax.data.description import Description
from ddpm_jax.data.sources import Dataset, Examples, Source
from ddpm_jax.errors import UserError

Arrays = np.ndarray | tuple[np.ndarray, Any]
"""Images as levels, alone, with their labels, or with their conditions by name."""


def from_arrays(
    splits: Mapping[str, Arrays],
    levels: int = 256,
    labels: int = 0,
    name: str = "arrays",
    conditions: Conditions | None = None,
) -> Dataset:
    """A data set of arrays in memory.

    >>> import numpy as np
    >>> images = np.zeros((100, 8, 8, 1), np.uint8)
    >>> from_arrays({"train": images[:90], "validation": images[90:]}).sizes
    {'train': 90, 'validation': 10}

    Args:
        splits: `train` and `validation` for training, `test` for figures: images `[n, *space, channels]`, uint8 levels
            0 ... levels - 1, or `(images, labels)`, or `(images, {name: values})`.
        levels: how many values a dimension can take.
        labels: the number of classes.
        name: of the data set.
        conditions: of these names, if labels are not all; by default texts are captions, whose words are those of
            training.

    Raises:
        UserError: a split is empty, or does not fit the description.
    """
    sources, description = {}, None
    for split in sorted(splits, key=lambda split: split != "train"):  # training first: it says what words there are
        arrays = splits[split]
        images, values = arrays if isinstance(arrays, tuple) else (arrays, {})
        images, values = np.asarray(images), values if isinstance(values, Mapping) else {"label": values}
        try:
            if description is None:
                kinds = conditions or _kinds(values, labels)
                description = Description(name, "1", tuple(images.shape[1:]), levels, kinds)
            found = description.conditions.rows(description.conditions.of(values))
        except (ValueError, UserError) as error:
            raise UserError(f"split {split!r} of {name!r}: {error}") from error
        except KeyError as error:
            raise UserError(f"split {split!r} of {name!r} has no {error.args[0]!r}") from error
        wrong = (
            images.dtype != np.uint8 and f"images are {images.dtype}, and must be uint8 levels",
            len(images) == 0 and "there are no images",
            images.shape[1:] != description.shape and f"images are {images.shape[1:]}, and not {description.shape}",
            images.size and images.max() >= levels and f"a value is {images.max()}, of {levels} levels",
            *(
                len(found[one]) != len(images) and f"there are {len(found[one])} of {one!r} for {len(images)} images"
                for one in found
            ),
        )
        if reason := next((words for words in wrong if words), None):
            raise UserError(f"split {split!r} of {name!r}: {reason}")
        sources[split] = Source(description, len(images), functools.partial(take, images, found))
    if description is None:
        raise UserError(f"data set {name!r} has no split: give train and validation")
    return Dataset(description, {split: sources[split] for split in splits})


def _kinds(values: Mapping[str, Any], labels: int) -> Conditions:
    """Labels, and texts with the words of these captions."""
    if "label" in values and not labels:
        raise UserError("there are labels: say how many classes they are of, labels=10")
    for name, given in values.items():
        if name != "label" and not all(isinstance(one, str) for one in given):
            raise UserError(f"{name!r} is no text: say of what kind it is, conditions=Conditions(...)")
    kinds = {name: Label(labels) if name == "label" else Text.of(given) for name, given in values.items()}
    return Conditions(tuple(kinds.items()))


def take(images: np.ndarray, conditions: dict[str, np.ndarray], indices: np.ndarray) -> Examples:
    """Rows of arrays, as a source reads them."""
    return images[indices], {name: values[indices] for name, values in conditions.items()}
