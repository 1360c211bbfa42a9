"""Which data these are: a fingerprint to record with a run, and what differs between two of them.

A damaged count that no first reading can tell, a data directory with another set of that name, a set prepared anew in
another order: none looks wrong by itself, but none is what the run was trained on.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ddpm_jax.data.sources import Dataset
from ddpm_jax.files import sha256

LARGEST = 2**28
"""Bytes of a decoded split up to which its images are hashed, which takes about a second."""


def fingerprint(dataset: Dataset) -> dict[str, Any]:
    """The description, and of each split its words, its size and a hash of its images and labels, as plain JSON.

    A split above `LARGEST` is not read for this; then the names and sizes of the set's files stand in. The time and
    place of files have no part in it.
    """
    description = asdict(dataset.description) | {"shape": list(dataset.description.shape)}
    splits, all_hashed = {}, True
    for name, source in dataset.sources.items():
        splits[name] = {"words": source.words, "images": len(source)}
        if len(source) * dataset.description.dimensions <= LARGEST:
            splits[name]["sha256"] = sha256(source.arrays())[:32]
        else:
            all_hashed = False
    return {"description": description, "splits": splits, "files": {} if all_hashed else dict(dataset.files)}


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The first thing in which two fingerprints differ, as words: `description.levels is 19, was 17`; None if equal."""
    old, new = _flat(before), _flat(now)
    for key in [*old, *new]:
        if old.get(key) != new.get(key):
            return f"{key} is {new.get(key, 'not there')}, was {old.get(key, 'not there')}"
    return None


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        inner = isinstance(value, Mapping)
        flat.update(_flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value})
    return flat
