"""Image data sets prepared for TFDS (TensorFlow Datasets): finding them, their facts, and reading them.

Nothing is downloaded, and TensorFlow is not needed: array_record files are read through TFDS's data sources. What was
learnt of a set (`Facts`) is kept in the cache, and decoded images are by `Source.arrays`; with both there, TFDS is not
even imported, which takes a second or more.
"""

import contextlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddpm_jax import cache
from ddpm_jax.conditions import labels as classes
from ddpm_jax.data import inspection
from ddpm_jax.data.description import Description
from ddpm_jax.errors import UserError, nearest

# What the cache holds depends on this module's code too: raise it when what is kept changes.
CACHE_FORMAT = 3
KNOWN_LEVELS = {"binarized_mnist": 2}
"""Of sets whose metadata do not say so: the static set of Larochelle and Murray 2011, as TFDS has it."""
_LOCK = threading.RLock()


@dataclass(frozen=True)
class Facts:
    """What is known of a prepared data set.

    Args:
        description: of its images.
        splits: for each split, TFDS's words for the examples in it and how many those are: `("train[:900]", 900)`.
    """

    description: Description
    splits: Mapping[str, tuple[str, int]]


def find(name: str, data_dir: str | os.PathLike | None) -> tuple[str, Path]:
    """A prepared data set, asked for as in TFDS (`name` or `name/config`, and `:version`): its name, and its folder.

    `data_dir` is the TFDS data directory: by default `$TFDS_DATA_DIR`, else `~/tensorflow_datasets`. The newest version
    is taken. Raises UserError where there is none that can be read.
    """
    chosen = data_dir or os.environ.get("TFDS_DATA_DIR")
    try:
        root = Path(chosen or "~/tensorflow_datasets").expanduser().absolute()
        there = prepared(root) if root.is_dir() else None
    except (OSError, RuntimeError) as error:  # a name too long; `~` of a user without a home
        reason = error.strerror if isinstance(error, OSError) else "no home folder is known"
        raise UserError(f"data set {name!r}: {reason}: set config.data.dir or $TFDS_DATA_DIR") from None
    if there is None:
        remedy = "correct" if chosen else "set"
        line = f"TFDS data directory {root} does not exist: {remedy} config.data.dir or $TFDS_DATA_DIR"
        more = "" if chosen else f", or prepare it with {_command(name, root)}; digits and still_lifes need none"
        raise UserError(f"data set {name!r}: {line}{more}")
    base, _, version = re.sub(r"/(\d+\.\d+\.\d+)$", r":\1", name).partition(":")
    if base not in there:
        configs = [other for other in there if other.startswith(f"{base}/")]
        if len(configs) > 1:
            raise UserError(f"data set {base!r} has several configurations: choose from: {', '.join(configs)}")
        if not configs:
            raise UserError(_not_prepared(base, root, list(there)))
        base = configs[0]
    if version and version not in there[base]:
        raise UserError(f"version {version} of {base!r} is not in {root}: choose from: {', '.join(there[base])}")
    folder = root / base / (version or there[base][-1])
    file_format = inspection.read(folder / "dataset_info.json").get("fileFormat", "tfrecord")
    if file_format != "array_record":
        raise UserError(
            f"{folder} is stored as {file_format}, which is not read here: prepare it as array_record in another "
            f"directory: {_command(base, '<directory>')}"
        )
    return base, folder


def prepared(root: Path) -> dict[str, list[str]]:
    """The data sets in a TFDS data directory, `name` or `name/config`, each with its versions, oldest first."""
    found: dict[str, list[tuple[int, ...]]] = {}
    for pattern in ("*/*/dataset_info.json", "*/*/*/dataset_info.json"):
        for file in root.glob(pattern):
            if re.fullmatch(r"\d+\.\d+\.\d+", file.parent.name):  # not one whose preparation was interrupted
                name = file.parent.parent.relative_to(root).as_posix()
                found.setdefault(name, []).append(tuple(map(int, file.parent.name.split("."))))
    return {name: [".".join(map(str, version)) for version in sorted(found[name])] for name in sorted(found)}


def _command(name: str, root: Path | str) -> str:
    return f"`tfds build {name} --file_format=array_record --data_dir={root}` (needs the extra 'prepare')"


def _not_prepared(name: str, root: Path, there: list[str]) -> str:
    """Why a data set is not found: misspelt, or known but not prepared. Looks at local lists only."""
    listed = f"there: {', '.join(there)}" if there else "nothing is prepared there"
    known = {"digits", "mnist", "cifar10"}
    with contextlib.suppress(Exception):  # a message must not fail; without TFDS the short list serves
        known |= set(_tfds(name).list_builders(with_community_datasets=False))
    if name.partition("/")[0] in known:
        return f"data set {name!r} is not prepared in {root} ({listed}): prepare it with {_command(name, root)}"
    hint = nearest(name, [*known, *there])
    return f"unknown data set {name!r} in {root} ({listed}): {hint if len(hint) < 100 else 'correct its name'}"


def made_from(name: str, folder: Path, what: str) -> list[str]:
    """What `what` of a data set depends on: its files as they are now (place, names, sizes, times of change)."""
    return [repr((CACHE_FORMAT, name, str(folder.resolve()), files(folder), what))]


def files(folder: Path) -> list[tuple[str, int, int]]:
    """The name, the size and the time of change, in nanoseconds, of each file of a data set."""
    with _readable(folder):
        states = [(file.name, file.stat()) for file in sorted(folder.iterdir()) if file.is_file()]
        return [(name, state.st_size, state.st_mtime_ns) for name, state in states]


def facts(name: str, folder: Path, splits: Mapping[str, str] | None) -> Facts:
    """The facts of a prepared data set, from the cache where they are known.

    `splits` names the splits and says, in TFDS's words ("train[:90%]"), what is in them. By default they are train,
    validation and test: a set without a validation split of its own gives the last tenth of train, at most 5,000.
    """
    wanted = repr(None if splits is None else sorted(splits.items()))
    key = made_from(name, folder, wanted)
    if (kept := cache.load("facts", key)) is not None:
        known = json.loads(kept)
        description = described(**known["description"])
        return Facts(description, {split: (words, size) for split, (words, size) in known["splits"].items()})
    with _opened(name, folder) as builder:
        description, image, _ = _description(name, folder, builder)
        inspection.check_records(folder, builder, image)
        result = Facts(description, _sizes(name, builder, splits))
    cache.save("facts", key, json.dumps({"description": description.plain(), "splits": result.splits}).encode())
    return result


def _sizes(name: str, builder: Any, splits: Mapping[str, str] | None) -> dict[str, tuple[str, int]]:
    own = {split: int(info.num_examples) for split, info in builder.info.splits.items()}
    if splits is None:
        splits = {split: split for split in ("train", "validation", "test") if split in own}
        if "validation" not in own and own.get("train", 0) > 1:
            kept = own["train"] - min(max(own["train"] // 10, 1), 5000)
            splits = {"train": f"train[:{kept}]", "validation": f"train[{kept}:]"} | {
                split: split for split in splits if split != "train"
            }
        if not splits:
            raise UserError(
                f"data set {name!r} has no train or test split: set config.data.splits from: {', '.join(own)}"
            )
    sizes = {}
    for split, words in splits.items():
        for part in words.split("+"):
            base = part.split("[")[0].strip()
            if base not in own and base != "all":
                raise UserError(
                    f"data set {name!r} has no split {base!r} (config.data.splits.{split}): {nearest(base, own)}"
                )
        try:
            size = int(builder.info.splits[words].num_examples)
        except Exception as error:  # TFDS raises many types for words it cannot read
            raise UserError(
                f"split {words!r} of data set {name!r} (config.data.splits.{split}): {_line(error)}"
            ) from None
        if size < 1:
            raise UserError(f"split {words!r} of data set {name!r} (config.data.splits.{split}) is empty")
        sizes[split] = (words, size)
    return sizes


def described(name: str, version: str, shape: list[int], levels: int | None, labels: int, **_: Any) -> Description:
    """The description that was kept as plain JSON, of images with labels or without."""
    return Description(name, version, tuple(shape), levels, classes(labels))


def _description(name: str, folder: Path, builder: Any) -> tuple[Description, str, str | None]:
    """The images' description, which of the features is the image, and which the class label, if there is one."""
    features = builder.info.features
    keys = builder.info.supervised_keys
    named = keys[:2] if keys and len(keys) >= 2 and all(isinstance(key, str) for key in keys) else ("", "")
    for key in named:
        if key and key not in features:
            raise UserError(f"{folder} does not fit together (it has no feature {key!r}): prepare the data set again")
    image = named[0] if named[0] in features and len(features[named[0]].shape or ()) >= 2 else "image"
    label = named[1] if named[1] in features else "label"
    if image not in features:
        raise UserError(f"data set {name!r} has no 'image' (it has {', '.join(features)}): choose an image data set")
    shape, dtype = features[image].shape, np.dtype(features[image].np_dtype)
    if shape is None or None in shape:
        raise UserError(
            f"data set {name!r} has images of shape {shape}, not of one size: choose or prepare a resized one"
        )
    if dtype != np.uint8:
        raise UserError(f"data set {name!r} has images of type {dtype}: only uint8 is read")
    label = label if label in features and hasattr(features[label], "num_classes") else None
    if label:
        inspection.check_label(folder, label, features[label].num_classes)
    try:
        description = Description(
            name=name,
            version=str(builder.info.version),
            shape=tuple(shape),
            levels=(builder.info.metadata or {}).get("levels", KNOWN_LEVELS.get(name, 256)),
            conditions=classes(int(features[label].num_classes) if label else 0),
        )
    except ValueError as error:
        raise UserError(f"data set {name!r} cannot be used: {error}") from None
    return description, image, label


def reader(name: str, folder: Path, words: str, size: int, description: Description) -> Callable:
    """A function from example numbers to `(images uint8 [n, *shape], conditions)`; it opens the files late.

    A stored label of -1, TFDS's "unknown", is given as the label that says nothing.
    """
    opened: list[Any] = []

    def read(indices: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        with _LOCK:
            if not opened:
                with _opened(name, folder) as builder:
                    now, image, label = _description(name, folder, builder)
                    source = builder.as_data_source(split=words)
                    if (now, len(source)) != (description, size):
                        raise UserError(f"{folder} has changed while it was read: run again")
                    source[0]  # decoded once in here, where the notice that TFDS then logs is not shown
                    opened.extend((source, image, label))
        source, image, label = opened
        images, found = np.empty((len(indices), *description.shape), np.uint8), np.zeros(len(indices), np.int64)
        with _readable(folder):
            for row, example in enumerate(source.__getitems__([int(index) for index in indices])):
                if example[image].shape != description.shape:  # NumPy would broadcast some of these
                    raise ValueError(f"an image of shape {example[image].shape}")
                images[row] = example[image]
                found[row] = example[label] if label else 0
        highest, bounds = images.max(initial=0), (found.min(initial=0), found.max(initial=0))
        if description.levels is not None and highest >= description.levels:
            raise UserError(
                f"{folder} says {description.levels} levels, but holds the value {highest}: prepare it again"
            )
        for bound in bounds:
            if not -1 <= bound < max(description.labels, 1):
                raise UserError(
                    f"{folder} says {description.labels} classes, but holds the label {bound}: prepare it again"
                )
        known = np.where(found < 0, description.labels, found).astype(np.int32)
        return images, {"label": known} if description.labels else {}

    return read


@contextlib.contextmanager
def _readable(folder: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # TFDS, array_record and PIL raise many types for damaged files
        raise UserError(f"{folder} cannot be read ({_line(error)}): delete it and prepare it again") from None


@contextlib.contextmanager
def _opened(name: str, folder: Path) -> Iterator[Any]:
    """TFDS's read-only builder of a prepared data set."""
    tfds = _tfds(name)
    with _LOCK, quiet(), _readable(folder):
        inspection.check_texts(folder)
        yield tfds.builder_from_directory(str(folder))


def _tfds(name: str) -> Any:
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(
            f"data set {name!r} needs TFDS ({_line(error)}): pip install tensorflow-datasets importlib_resources"
        ) from None
    return tfds


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """TFDS's log lines below an error stay unseen inside this."""
    from absl import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)
