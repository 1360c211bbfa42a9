"""A data set: a description, and a source of images for each split."""

import functools
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import UInt8

from ddpm_jax import cache
from ddpm_jax.conditions.table import Condition
from ddpm_jax.data.description import Description
from ddpm_jax.errors import UserError, nearest
from ddpm_jax.files import Facts
from ddpm_jax.progress import Bar

# A decoded copy of a split is kept up to this size, with its conditions; a larger one would fill the disk unasked.
LARGEST_COPY = 2**30

Examples = tuple[np.ndarray, Condition]
"""Images as they are stored, and what is known of each, by name: arrays, or what is indexed by rows as an array is."""

_doubted: set[Description] = set()  # of which this process has said so


@dataclass(frozen=True)
class Source:
    """The images of one split, in a fixed order, as they are stored: uint8 levels, with what is known of each.

    Args:
        description: of the images.
        length: how many there are.
        read: from an array of example numbers in [0, length) to (images [n, *shape], {name: [n, ...]} of the
            description's conditions).
        made_from: what the decoded split depends on, by which the cache keeps it; empty to keep none.
        words: TFDS's for what is in the split: `train[:900]`.
        content: a digest of the files' contents and of what is made of them, by which the split is known where there
            is one: decoders of other versions may round otherwise.
    """

    description: Description
    length: int
    read: Callable[[np.ndarray], Examples] = field(repr=False)
    made_from: Sequence[str] = ()
    words: str = ""
    content: str = ""

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Example `index`: `{"image": [*shape], "condition": {name: [...]}, "row": []}`."""
        return jax.tree.map(lambda value: value[0], self.rows([index]))

    def rows(self, indices: Sequence[int] | np.ndarray) -> dict[str, Any]:
        """The examples of these numbers, read now.

        `{"image": uint8 [n, *shape], "condition": {name: [n, ...]}, "row": int32 [n]}`: the images, what is known of
        them, the numbers.
        """
        indices = np.asarray(indices, np.int64)
        if indices.size and not (indices.min() >= 0 and indices.max() < self.length):
            raise IndexError(f"examples are numbered from 0 to {self.length - 1}")
        if "_decoded" in self.__dict__:
            images, conditions = self._decoded
            images, conditions = images[indices], {name: values[indices] for name, values in conditions.items()}
        else:
            images, conditions = self.read(indices)
        return {"image": images, "condition": conditions, "row": indices.astype(np.int32)}

    @property
    def stored(self) -> "Source":
        """With captions as the data have them, where an encoder has read these."""
        return self

    @property
    def nbytes(self) -> int:
        """Bytes of what `arrays` gives, images and conditions; nothing is read for it."""
        description = self.description
        return self.length * (description.dimensions + sum(kind.nbytes for _, kind in description.conditions.kinds))

    def arrays(self) -> Examples:
        """All images `[n, *shape]` and conditions, decoded once: kept in memory (read-only) and as a file."""
        return self._decoded

    @property
    def affordable(self) -> int:
        """How many of its examples, from the first, `LARGEST_COPY` bytes hold."""
        return self.length if self.nbytes <= LARGEST_COPY else max(1, LARGEST_COPY * self.length // self.nbytes)

    def first(self) -> Examples:
        """As `arrays`, of a split that is too large for it only those that are affordable. Read-only."""
        return self.arrays() if self.affordable == self.length else self._first

    @functools.cached_property
    def _first(self) -> Examples:
        return _read_only(self._read_first(self.affordable))

    @functools.cached_property
    def _decoded(self) -> Examples:
        kept = self._load_copy()
        if kept is None:
            kept = self._read_first(self.length)
            self._save_copy(*kept)
        self._doubt(*kept)
        return _read_only(kept)

    def _doubt(self, images: np.ndarray, conditions: dict[str, np.ndarray]) -> None:
        """Say where more levels or classes are described than the images have: a damaged count looks like that."""
        levels, classes = self.description.levels, self.description.labels
        found = conditions.get("label", np.zeros(0, np.int32))
        known, doubt = found[found < classes], None
        if levels not in (None, 256) and images.size >= 5 * levels and images.max() < levels - 1:
            doubt = f"{levels} levels, but its highest value is {images.max()}"
        elif classes and len(known) >= 5 * classes and known.max() < classes - 1:
            doubt = f"{classes} classes, but its highest label is {known.max()}"
        if doubt and self.description not in _doubted:
            _doubted.add(self.description)
            where = f"data set {self.description.name!r}, split {self.words!r}"
            warnings.warn(f"{where}: described with {doubt}; if that is wrong, prepare it again", stacklevel=2)

    def _shapes(self, count: int) -> Mapping[str, tuple[tuple[int, ...], Any]]:
        """Shape and type of the conditions of so many examples, by name."""
        kinds = self.description.conditions
        return {name: ((count, *kinds[name].shape), kinds[name].dtype) for name in kinds}

    def _read_first(self, count: int, chunk: int = 500) -> Examples:
        """So many examples, from the first, a chunk at a time: beside them only that is in memory."""
        images = np.empty((count, *self.description.shape), np.uint8)
        conditions = {name: np.empty(shape, kind) for name, (shape, kind) in self._shapes(count).items()}
        with Bar(f"decoding {self.description.name}: image", count, unit="images") as bar:
            for start in range(0, count, chunk):
                rows = np.arange(start, min(start + chunk, count))
                images[rows], found = self.read(rows)
                for name, values in conditions.items():
                    values[rows] = found[name]
                bar.update(int(rows[-1]) + 1)
        return images, conditions

    def _load_copy(self) -> Examples | None:
        """The decoded copy, or None if there is none that fits."""
        if not self.made_from or (content := cache.load("images", self._key)) is None:
            return None
        conditions, start = {}, 0
        for name, (shape, kind) in self._shapes(self.length).items():
            conditions[name] = np.frombuffer(content, kind, math.prod(shape), start).reshape(shape).copy()
            start += conditions[name].nbytes
        return np.frombuffer(content, np.uint8, offset=start).reshape(self.length, *self.description.shape), conditions

    def _save_copy(self, images: np.ndarray, conditions: dict[str, np.ndarray]) -> None:
        if self.made_from and self.nbytes <= LARGEST_COPY:
            cache.save("images", self._key, b"".join(array.data for array in (*conditions.values(), images)))

    @property
    def _key(self) -> list[str]:
        return [*self.made_from, repr((self.length, self.description.shape, self.description.conditions))]


def _read_only(examples: Examples) -> Examples:
    for array in jax.tree.leaves(examples):
        array.flags.writeable = False
    return examples


@runtime_checkable
class Oracle(Protocol):
    """Reads back from pictures what they show."""

    def agreement(self, images: UInt8[np.ndarray, "n *site"], captions: Sequence[str]) -> dict[str, float]:
        """Of each attribute the share of pictures that show what their caption asks, among those that ask it."""
        ...


@dataclass(frozen=True)
class Dataset:
    """A data set: the description of its images, and a source a split.

    >>> import ddpm_jax as dj
    >>> dj.data.load("digits").sizes
    {'train': 1000, 'validation': 350, 'test': 447}

    `law` is the table of all probabilities, `(levels,) * D`, where it is known (`data/ising.py`), else None. `oracle`
    says whether pictures show their captions, where that can be read from them (`data/captioned.py`), else None.
    `files` are the names and sizes of the files it is read from, `notes` lines that a person is to be told of them.
    `recorded` is the fingerprint that a run kept, where the data themselves are not at hand.
    """

    description: Description
    sources: Mapping[str, Source]
    law: np.ndarray | None = None
    oracle: Oracle | None = None
    files: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    recorded: Facts = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """The number of images of each split."""
        return {name: len(source) for name, source in self.sources.items()}

    def split(self, name: str) -> Source:
        """The source of a split; a UserError names the splits there are."""
        if self.recorded:
            raise UserError("config.data.dir: the images that the run was trained on are needed for this, and not read")
        if name not in self.sources:
            raise UserError(f"data set {self.description.name!r} has no split {name!r}: {nearest(name, self.sources)}")
        return self.sources[name]
