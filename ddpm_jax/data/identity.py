"""Which data these are: a fingerprint to record with a run, and what differs between two of them.

A damaged count that no first reading can tell, a data directory with another set of that name, a set prepared anew in
another order: none looks wrong by itself, but none is what the run was trained on.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ddpm_jax.conditions.table import Condition
from ddpm_jax.data.description import Description
from ddpm_jax.data.sources import Dataset
from ddpm_jax.files import Facts, Record, sha256

LARGEST = 2**28
"""Bytes of a decoded split up to which its images are hashed, which takes about a second."""


def fingerprint(dataset: Dataset) -> Record:
    """The description, and of each split its words, its size and a hash of its images and labels, as plain JSON.

    A split above `LARGEST` is not read for this; then the names and sizes of the set's files stand in. A split that is
    known by the contents of its files has their digest. The time and place of files have no part in it.
    """
    if dataset.recorded:
        return dict(dataset.recorded)
    splits, all_hashed = {}, True
    for name, source in dataset.sources.items():
        splits[name] = {"words": source.words, "images": len(source)}
        stored = source.stored  # an encoder's outputs are rounded as the device does it
        if stored.content:
            splits[name]["content"] = stored.content
        elif len(source) * dataset.description.dimensions <= LARGEST:
            images, conditions = stored.arrays()
            splits[name]["sha256"] = sha256([images, *_hashed(stored.description, len(source), conditions)])[:32]
        else:
            all_hashed = False
    return {
        "description": dataset.description.plain(),
        "splits": splits,
        "files": {} if all_hashed else dict(dataset.files),
    }


def _hashed(description: Description, count: int, conditions: Condition) -> list[Any]:
    """The conditions in their order; images without any are hashed with zeros, as those without labels always were."""
    return [conditions[name] for name in description.conditions] or [np.zeros(count, np.int32)]


def difference(before: Facts, now: Facts) -> str | None:
    """The first thing in which two fingerprints differ, as words: `description.levels is 19, was 17`; None if equal."""
    old, new = _flat(before), _flat(now)
    for key in sorted([*old, *new], key=lambda key: not key.endswith(".encoder")):  # the rest may follow from it
        if old.get(key) != new.get(key):
            return f"{key} is {new.get(key, 'not there')}, was {old.get(key, 'not there')}"
    return None


def _flat(tree: Facts, prefix: str = "") -> Record:
    flat = {}
    for key, value in tree.items():
        inner = isinstance(value, Mapping)
        flat.update(_flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value})
    return flat
