"""Data sets by name: those that come with the project, prepared ones, and the user's own."""

import functools
import os
from collections.abc import Callable, Mapping

import numpy as np

from ddpm_jax import cache, plugins
from ddpm_jax.data import binarised, captioned, digits, ising, tfds
from ddpm_jax.data.arrays import take
from ddpm_jax.data.sources import Dataset, Examples, Source
from ddpm_jax.errors import UserError, one_line
from ddpm_jax.plugins import FOLDER, Options


def load(
    name: str,
    data_dir: str | os.PathLike | None = None,
    splits: Mapping[str, str] | None = None,
    options: Options | None = None,
) -> Dataset:
    """A data set by name. Nothing is downloaded, and no image is read yet.

    Args:
        name: `digits` (embedded, whatever `data_dir`); `ising` (drawn from a known law, likewise); `still_lifes` and
            `emoji` (pictures with captions), or with the pixels of a side, `still_lifes/32`; or an image data
            set prepared for TFDS as array_record files: `mnist`, `cifar10`, `name/config`, `name:version`; or
            `binarised_` and the name of one with grey images: `binarised_mnist` (`data/binarised.py` says which draw);
            or `folder`, the user's own pictures in `data_dir` (`data/folders/`);
            or a dotted path `package.module:function` to a function that returns a `Dataset`.
        data_dir: the TFDS data directory; by default `$TFDS_DATA_DIR`, else `~/tensorflow_datasets`. Or the folder.
        splits: what is in each split, in TFDS's words: `{"train": "train[:55000]", "validation": "train[55000:]"}`. By
            default train, validation and test are the set's own; where it has no validation split, that is the last
            tenth of train, at most 5,000, and train is the rest. (TFDS stores most sets shuffled. For one that is
            sorted by class, name the splits.)
        options: the keyword arguments of a dotted path, or of `folders.load`.

    Raises UserError, within seconds, where the set is not there or cannot be read.
    """
    if name == FOLDER or plugins.dotted(name):
        return _users(name, options or {}, data_dir, splits)
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


def _users(name: str, options: Options, place: str | os.PathLike | None, splits: Mapping[str, str] | None) -> Dataset:
    """A data set of the user's own: a folder, or what a function returns."""
    if name == FOLDER:
        from ddpm_jax.data import folders  # imports Pillow

        return folders.load(place, splits, **options)
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
        read = functools.partial(take, images, {})
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
        read = functools.partial(take, images, {"label": labels})
        sources[split] = Source(digits.DESCRIPTION, len(labels), read, words=words)
    return Dataset(digits.DESCRIPTION, sources)
