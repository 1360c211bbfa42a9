"""Data sets by name: a description, and a source of images for each split."""

import functools
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8

from ddpm_jax import cache, plugins
from ddpm_jax.data import binarised, digits, ising, tfds
from ddpm_jax.data.description import Description
from ddpm_jax.errors import UserError, nearest, one_line

# A decoded copy of a split is kept up to this size; a larger one would fill the disk unasked.
LARGEST_COPY = 2**30
_doubted: set[Description] = set()  # of which this process has said so


@dataclass(frozen=True)
class Source:
    """The images of one split, in a fixed order, as they are stored: uint8 levels, and int32 labels.

    A label is a class, or `description.null_condition` where it is not known; 0 in a set without labels.

    Args:
        description: of the images.
        length: how many there are.
        read: from an array of example numbers in [0, length) to (images [n, *shape], labels [n]).
        made_from: what the decoded split depends on, by which the cache keeps it; empty to keep none.
        words: TFDS's for what is in the split: `train[:900]`.
    """

    description: Description
    length: int
    read: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] = field(repr=False)
    made_from: Sequence[str] = ()
    words: str = ""

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """Example `index`: `{"image": [*shape], "condition": [], "row": []}`."""
        return {key: value[0] for key, value in self.rows([index]).items()}

    def rows(self, indices: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        """The examples of these numbers, read now.

        `{"image": uint8 [n, *shape], "condition": int32 [n], "row": int32 [n]}`: the images, their labels, the numbers.
        """
        indices = np.asarray(indices, np.int64)
        if indices.size and not (indices.min() >= 0 and indices.max() < self.length):
            raise IndexError(f"examples are numbered from 0 to {self.length - 1}")
        if "_decoded" in self.__dict__:
            images, labels = (array[indices] for array in self._decoded)
        else:
            images, labels = self.read(indices)
        return {"image": images, "condition": labels, "row": indices.astype(np.int32)}

    def arrays(self) -> tuple[UInt8[np.ndarray, "n ..."], Int32[np.ndarray, " n"]]:
        """All images `[n, *shape]` and labels `[n]`, decoded once: kept in memory (read-only) and as a file."""
        return self._decoded

    @functools.cached_property
    def _decoded(self) -> tuple[np.ndarray, np.ndarray]:
        kept = self._load_copy()
        if kept is None:
            kept = self._read_all()
            self._save_copy(*kept)
        self._doubt(*kept)
        for array in kept:
            array.flags.writeable = False
        return kept

    def _doubt(self, images: np.ndarray, labels: np.ndarray) -> None:
        """Say where more levels or classes are described than the images have: a damaged count looks like that."""
        levels, classes = self.description.levels, self.description.labels
        known, doubt = labels[labels < classes], None
        if levels not in (None, 256) and images.size >= 5 * levels and images.max() < levels - 1:
            doubt = f"{levels} levels, but its highest value is {images.max()}"
        elif classes and len(known) >= 5 * classes and known.max() < classes - 1:
            doubt = f"{classes} classes, but its highest label is {known.max()}"
        if doubt and self.description not in _doubted:
            _doubted.add(self.description)
            where = f"data set {self.description.name!r}, split {self.words!r}"
            warnings.warn(f"{where}: described with {doubt}; if that is wrong, prepare it again", stacklevel=2)

    def _read_all(self, chunk: int = 500) -> tuple[np.ndarray, np.ndarray]:
        from tqdm import tqdm

        images = np.empty((self.length, *self.description.shape), np.uint8)
        labels = np.empty(self.length, np.int32)
        title = f"decoding {self.description.name}"
        with tqdm(total=self.length, desc=title, unit=" images", delay=3, mininterval=1, leave=False) as bar:
            for start in range(0, self.length, chunk):
                rows = np.arange(start, min(start + chunk, self.length))
                images[rows], labels[rows] = self.read(rows)
                bar.update(len(rows))
        return images, labels

    def _load_copy(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The decoded copy, or None if there is none that fits."""
        if not self.made_from or (content := cache.load("images", self._key)) is None:
            return None
        labels = np.frombuffer(content, "<i4", self.length).astype(np.int32)
        images = np.frombuffer(content, np.uint8, offset=4 * self.length)
        return images.reshape(self.length, *self.description.shape), labels

    def _save_copy(self, images: np.ndarray, labels: np.ndarray) -> None:
        if self.made_from and images.nbytes <= LARGEST_COPY:
            cache.save("images", self._key, labels.astype("<i4").tobytes() + images.tobytes())

    @property
    def _key(self) -> list[str]:
        return [*self.made_from, repr((self.length, self.description.shape))]


@dataclass(frozen=True)
class Dataset:
    """A data set: the description of its images, and a source a split.

    >>> load("digits").sizes
    {'train': 1000, 'validation': 350, 'test': 447}

    `law` is the table of all probabilities, `(levels,) * D`, where it is known (`data/ising.py`), else None.
    `files` are the names and sizes of the files it is read from.
    """

    description: Description
    sources: Mapping[str, Source]
    law: np.ndarray | None = None
    files: Mapping[str, int] = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """The number of images of each split."""
        return {name: len(source) for name, source in self.sources.items()}

    def split(self, name: str) -> Source:
        """The source of a split; a UserError names the splits there are."""
        if name not in self.sources:
            raise UserError(f"data set {self.description.name!r} has no split {name!r}: {nearest(name, self.sources)}")
        return self.sources[name]


Arrays = np.ndarray | tuple[np.ndarray, np.ndarray]
"""Images as levels, with their labels or without."""


def from_arrays(splits: Mapping[str, Arrays], levels: int = 256, labels: int = 0, name: str = "arrays") -> Dataset:
    """A data set of arrays in memory.

    >>> import numpy as np
    >>> images = np.zeros((100, 8, 8, 1), np.uint8)
    >>> from_arrays({"train": images[:90], "validation": images[90:]}).sizes
    {'train': 90, 'validation': 10}

    Args:
        splits: `train` and `validation` for training, `test` for figures: images `[n, *space, channels]`, uint8 levels
            0 ... levels - 1, or `(images, labels)`.
        levels: how many values a dimension can take.
        labels: the number of classes.
        name: of the data set.

    Raises:
        UserError: a split is empty, or does not fit the description.
    """
    sources, description = {}, None
    for split, arrays in splits.items():
        images, classes = arrays if isinstance(arrays, tuple) else (arrays, np.zeros(len(arrays), np.int32))
        images, classes = np.asarray(images), np.asarray(classes, np.int32)
        try:
            description = description or Description(name, "1", tuple(images.shape[1:]), levels, labels)
        except ValueError as error:
            raise UserError(f"split {split!r} of {name!r}: {error}") from error
        wrong = (
            images.dtype != np.uint8 and f"images are {images.dtype}, and must be uint8 levels",
            len(images) == 0 and "there are no images",
            images.shape[1:] != description.shape and f"images are {images.shape[1:]}, and not {description.shape}",
            images.size and images.max() >= levels and f"a value is {images.max()}, of {levels} levels",
            len(classes) != len(images) and f"there are {len(classes)} labels of {len(images)} images",
            labels and len(classes) and not 0 <= classes.min() <= classes.max() <= labels and "a label is no class",
        )
        if reason := next((words for words in wrong if words), None):
            raise UserError(f"split {split!r} of {name!r}: {reason}")
        sources[split] = Source(description, len(images), functools.partial(_take, images, classes))
    if description is None:
        raise UserError(f"data set {name!r} has no split: give train and validation")
    return Dataset(description, sources)


def load(
    name: str,
    data_dir: str | os.PathLike | None = None,
    splits: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Dataset:
    """A data set by name. Nothing is downloaded, and no image is read yet.

    Args:
        name: `digits` (embedded, whatever `data_dir`); `ising` (drawn from a known law, likewise); or an image data
            set prepared for TFDS as array_record files: `mnist`, `cifar10`, `name/config`, `name:version`; or
            `binarised_` and the name of one with grey images: `binarised_mnist` (`data/binarised.py` says which draw);
            or a dotted path `package.module:function` to a function that returns a `Dataset`.
        data_dir: the TFDS data directory; by default `$TFDS_DATA_DIR`, else `~/tensorflow_datasets`.
        splits: what is in each split, in TFDS's words: `{"train": "train[:55000]", "validation": "train[55000:]"}`. By
            default train, validation and test are the set's own; where it has no validation split, that is the last
            tenth of train, at most 5,000, and train is the rest. (TFDS stores most sets shuffled. For one that is
            sorted by class, name the splits.)
        options: the keyword arguments of a dotted path.

    Raises UserError, within seconds, where the set is not there or cannot be read.
    """
    if plugins.dotted(name):
        return _users(name, options or {})
    if name.startswith(binarised.PREFIX):
        return _binarised(load(name.removeprefix(binarised.PREFIX), data_dir, splits))
    if name in ising.LAWS:
        return _known(name, splits)
    if name == digits.NAME:
        try:
            folder = digits.prepare()
        except (ImportError, OSError) as error:  # the same images, straight from scikit-learn
            if isinstance(error, OSError):
                cache.tell(str(error))
            return _plain_digits(splits, error)
    else:
        name, folder = tfds.find(name, data_dir)
    facts = tfds.facts(name, folder, splits)
    sources = {}
    for split, (words, size) in facts.splits.items():
        read = tfds.reader(name, folder, words, size, facts.description)
        made_from = tfds.made_from(name, folder, f"images of {words}")
        sources[split] = Source(facts.description, size, read, made_from, words)
    files = {name: size for name, size, _ in tfds.files(folder)}
    return Dataset(facts.description, sources, files=files)


def _users(name: str, options: Mapping[str, Any]) -> Dataset:
    """A data set of the user's own."""
    try:
        made = plugins.made(name, plugins.find({}, name), options)
    except ValueError as error:
        raise UserError(f"config.data.name: {name} cannot be made: {one_line(error)}") from error
    if not isinstance(made, Dataset):
        raise UserError(f"config.data.name: {name} must return a ddpm_jax.Dataset, such as ddpm_jax.from_arrays makes")
    return made


def _known(name: str, splits: Mapping[str, str] | None) -> Dataset:
    description, sources = ising.describe(name), {}
    for split, images in ising.split_images(name, splits).items():
        read = functools.partial(_take, images, np.zeros(len(images), np.int32))
        sources[split] = Source(description, len(images), read)
    return Dataset(description, sources, ising.LAWS[name][0]())


def _binarised(grey: Dataset) -> Dataset:
    description = binarised.describe(grey.description)
    sources = {}
    for split, source in grey.sources.items():
        made_from = source.made_from and [f"{binarised.PREFIX}{binarised.DRAW}", *source.made_from]
        sources[split] = Source(
            description, len(source), functools.partial(_drawn, source.read), made_from, source.words
        )
    return Dataset(description, sources, files=grey.files)


def _drawn(read: Callable, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    images, labels = read(indices)
    return binarised.draw(images), labels


def _plain_digits(splits: Mapping[str, str] | None, why: Exception) -> Dataset:
    splits = splits or {split: split for split in digits.SPLITS}
    sources = {}
    for split, words in splits.items():
        if words not in digits.SPLITS:
            raise UserError(
                f"split {words!r} of 'digits' needs TFDS and a cache folder ({why}): provide them or use whole splits"
            )
        images, labels = digits.arrays(words)
        read = functools.partial(_take, images, labels)
        sources[split] = Source(digits.DESCRIPTION, len(labels), read, words=words)
    return Dataset(digits.DESCRIPTION, sources)


def _take(images: np.ndarray, labels: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return images[indices], labels[indices]
