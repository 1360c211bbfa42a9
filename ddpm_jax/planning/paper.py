"""Data sets by their facts alone: to plan a run nobody needs the images."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from ddpm_jax.conditions import labels
from ddpm_jax.data import Dataset, Description, Source
from ddpm_jax.errors import UserError
from ddpm_jax.experiment import load_data

KNOWN: dict[str, tuple[tuple[int, ...], int, dict[str, int]]] = {
    "mnist": ((28, 28, 1), 10, {"train": 60_000, "test": 10_000}),
    "cifar10": ((32, 32, 3), 10, {"train": 50_000, "test": 10_000}),
    "imagenet_resized/32x32": ((32, 32, 3), 1000, {"train": 1_281_167, "validation": 50_000}),
    "imagenet_resized/64x64": ((64, 64, 3), 1000, {"train": 1_281_167, "validation": 50_000}),
}
"""Shape, classes, and images of each split (https://www.tensorflow.org/datasets/catalog)."""


@dataclass(frozen=True)
class OnPaper(Source):
    """A split whose images are shapes alone."""

    def arrays(self) -> Any:
        """Shapes and types of what `Source.arrays` would give."""
        images = jax.ShapeDtypeStruct((self.length, *self.description.shape), jnp.uint8)
        told = {
            name: jax.ShapeDtypeStruct((self.length, *kind.shape), kind.dtype)
            for name, kind in self.description.conditions.kinds
        }
        return images, told


def dataset_of(config: ConfigDict) -> Dataset:
    """The config's data set, each split without its images; a known one need not be there.

    Raises:
        UserError: it is neither there nor known.
    """
    try:
        found = load_data(config)
    except UserError:
        if config.data.name not in KNOWN:
            raise
        return _known(config.data.name, dict(config.data.splits))
    sources = {name: OnPaper(source.description, len(source), source.read) for name, source in found.sources.items()}
    return Dataset(found.description, sources)


def _known(name: str, splits: Mapping[str, str]) -> Dataset:
    shape, classes, sizes = KNOWN[name]
    description = Description(name, "on paper", shape, 256, labels(classes))
    words = {split: chosen or split for split, chosen in splits.items()}
    if not splits.get("validation") and "validation" not in sizes:
        held_out = min(sizes["train"] // 10, 5000)
        words["validation"] = f"train[-{held_out}:]"
        words["train"] = splits.get("train") or f"train[:-{held_out}]"
    if not splits.get("test") and "test" not in sizes:
        words["test"] = "validation"
    return Dataset(description, {one: OnPaper(description, _size(words[one], sizes), _none) for one in words})


def _size(words: str, sizes: Mapping[str, int]) -> int:
    """How many examples TFDS's words for a part of a split mean."""
    found = re.fullmatch(r"(\w+)(?:\[(-?\d*):(-?\d*)\])?", words)
    if not found or found[1] not in sizes:
        raise UserError(f"config.data.splits: {words!r} is not understood here; give such as train[:45000]")
    return len(range(*slice(*(int(end) if end else None for end in found.groups()[1:])).indices(sizes[found[1]])))


def _none(rows: Any) -> Any:
    raise AssertionError("a plan reads no images")
