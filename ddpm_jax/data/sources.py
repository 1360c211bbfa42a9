"""Data sets by name: a description, and a source of images for each split."""

import functools
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import UInt8

from ddpm_jax import cache, plugins
from ddpm_jax.conditions import Conditions, Label, Text
from ddpm_jax.data import binarised, captioned, digits, ising, tfds
from ddpm_jax.data.description import Description
from ddpm_jax.errors import UserError, nearest, one_line

# A decoded copy of a split is kept up to this size; a larger one would fill the disk unasked.
LARGEST_COPY = 2**30

Examples = tuple[np.ndarray, dict[str, Any]]
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
    """

    description: Description
    length: int
    read: Callable[[np.ndarray], Examples] = field(repr=False)
    made_from: Sequence[str] = ()
    words: str = ""

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

    def arrays(self) -> Examples:
        """All images `[n, *shape]` and conditions, decoded once: kept in memory (read-only) and as a file."""
        return self._decoded

    @functools.cached_property
    def _decoded(self) -> Examples:
        kept = self._load_copy()
        if kept is None:
            kept = self._read_all()
            self._save_copy(*kept)
        self._doubt(*kept)
        for array in jax.tree.leaves(kept):
            array.flags.writeable = False
        return kept

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

    def _empty(self) -> Examples:
        """Room for all of it."""
        kinds = self.description.conditions
        conditions = {name: np.empty((self.length, *kinds[name].shape), kinds[name].dtype) for name in kinds}
        return np.empty((self.length, *self.description.shape), np.uint8), conditions

    def _read_all(self, chunk: int = 500) -> Examples:
        from tqdm import tqdm

        images, conditions = self._empty()
        title = f"decoding {self.description.name}"
        with tqdm(total=self.length, desc=title, unit=" images", delay=3, mininterval=1, leave=False) as bar:
            for start in range(0, self.length, chunk):
                rows = np.arange(start, min(start + chunk, self.length))
                images[rows], found = self.read(rows)
                for name, values in conditions.items():
                    values[rows] = found[name]
                bar.update(len(rows))
        return images, conditions

    def _load_copy(self) -> Examples | None:
        """The decoded copy, or None if there is none that fits."""
        if not self.made_from or (content := cache.load("images", self._key)) is None:
            return None
        images, conditions = self._empty()
        start = 0
        for array in (*conditions.values(), images):
            array[...] = np.frombuffer(content, array.dtype, array.size, start).reshape(array.shape)
            start += array.nbytes
        return images, conditions

    def _save_copy(self, images: np.ndarray, conditions: dict[str, np.ndarray]) -> None:
        if self.made_from and images.nbytes <= LARGEST_COPY:
            cache.save("images", self._key, b"".join(array.tobytes() for array in (*conditions.values(), images)))

    @property
    def _key(self) -> list[str]:
        return [*self.made_from, repr((self.length, self.description.shape, self.description.conditions))]


@runtime_checkable
class Oracle(Protocol):
    """Reads back from pictures what they show."""

    def agreement(self, images: UInt8[np.ndarray, "n *site"], captions: Sequence[str]) -> dict[str, float]:
        """Of each attribute the share of pictures that show what their caption asks, among those that ask it."""
        ...


@dataclass(frozen=True)
class Dataset:
    """A data set: the description of its images, and a source a split.

    >>> load("digits").sizes
    {'train': 1000, 'validation': 350, 'test': 447}

    `law` is the table of all probabilities, `(levels,) * D`, where it is known (`data/ising.py`), else None. `oracle`
    says whether pictures show their captions, where that can be read from them (`data/captioned.py`), else None.
    `files` are the names and sizes of the files it is read from.
    """

    description: Description
    sources: Mapping[str, Source]
    law: np.ndarray | None = None
    oracle: Oracle | None = None
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
        sources[split] = Source(description, len(images), functools.partial(_take, images, found))
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


def load(
    name: str,
    data_dir: str | os.PathLike | None = None,
    splits: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Dataset:
    """A data set by name. Nothing is downloaded, and no image is read yet.

    Args:
        name: `digits` (embedded, whatever `data_dir`); `ising` (drawn from a known law, likewise); `still_lifes` and
            `emoji` (pictures with captions), or with the pixels of a side, `still_lifes/32`; or an image data
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
    if captioned.is_captioned(name):
        return _captioned(name, splits)
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
        read = functools.partial(_take, images, {})
        sources[split] = Source(description, len(images), read)
    return Dataset(description, sources, ising.LAWS[name][0]())


def _captioned(name: str, splits: Mapping[str, str] | None) -> Dataset:
    description, sources = captioned.describe(name), {}
    if name.partition("/")[0] == captioned.EMOJI:
        for split, words in (splits or {split: split for split in ("train", "validation", "test")}).items():
            read = functools.partial(captioned.read_emoji, description, words)
            sources[split] = Source(description, captioned.count_of_emoji(name, words), read, words=words)
        return Dataset(description, sources)
    from ddpm_jax.data import still_lifes  # needs SciPy, whose import takes a while

    for split, (words, count) in captioned.splits_of(name, splits).items():
        read = functools.partial(captioned.read_still_lifes, description, words)
        made_from = [name, f"{still_lifes.VERSION}", f"images of {words.partition('[')[0]}"]
        sources[split] = Source(description, count, read, made_from, words)
    return Dataset(description, sources, oracle=captioned.StillLifes())


def _binarised(grey: Dataset) -> Dataset:
    description = binarised.describe(grey.description)
    sources = {}
    for split, source in grey.sources.items():
        made_from = source.made_from and [f"{binarised.PREFIX}{binarised.DRAW}", *source.made_from]
        sources[split] = Source(
            description, len(source), functools.partial(_drawn, source.read), made_from, source.words
        )
    return Dataset(description, sources, files=grey.files)


def _drawn(read: Callable, indices: np.ndarray) -> Examples:
    images, conditions = read(indices)
    return binarised.draw(images), conditions


def _plain_digits(splits: Mapping[str, str] | None, why: Exception) -> Dataset:
    splits = splits or {split: split for split in digits.SPLITS}
    sources = {}
    for split, words in splits.items():
        if words not in digits.SPLITS:
            raise UserError(
                f"split {words!r} of 'digits' needs TFDS and a cache folder ({why}): provide them or use whole splits"
            )
        images, labels = digits.arrays(words)
        read = functools.partial(_take, images, {"label": labels})
        sources[split] = Source(digits.DESCRIPTION, len(labels), read, words=words)
    return Dataset(digits.DESCRIPTION, sources)


def _take(images: np.ndarray, conditions: dict[str, np.ndarray], indices: np.ndarray) -> Examples:
    return images[indices], {name: values[indices] for name, values in conditions.items()}
