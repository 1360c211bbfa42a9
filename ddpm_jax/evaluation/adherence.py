"""Whether samples show what was asked: a caption by the data set's oracle, a label by an independent classifier."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ddpm_jax.conditions import Condition, Conditions
from ddpm_jax.data import Dataset
from ddpm_jax.evaluation.told import words_of
from ddpm_jax.files import Record


def adherence(
    images: UInt8[np.ndarray, "n *site"],
    condition: Condition,
    conditions: Conditions,
    dataset: Dataset,
    predict: Callable[[Any], Any] | None = None,
) -> Record:
    """Shares of images that show what was asked, in [0, 1]: `text`, a share for each attribute, and `label`.

    Args:
        images: as stored.
        condition: what was asked of each.
        conditions: the kinds of these.
        dataset: whose oracle reads captions' pictures; without one there is no `text`.
        predict: class scores of images, of a classifier that no model has seen; None: there is no `label`.
    """
    found: Record = {}
    words = words_of(conditions.only(condition), condition)
    if dataset.oracle is not None and words is not None and any(words):
        found["text"] = dataset.oracle.agreement(np.asarray(images), words)
    if predict is not None and "label" in condition:
        asked = np.asarray(condition["label"])
        known = asked < dataset.description.labels
        if known.any():
            found["label"] = float(np.mean(np.argmax(predict(images[known]), axis=1) == asked[known]))
    return found


def headline(found: Record) -> dict[str, float]:
    """The figures that go to the trackers."""
    text = found.get("text") or {}
    return {**({"all": text["all"]} if "all" in text else {}), **{k: v for k, v in found.items() if k == "label"}}
