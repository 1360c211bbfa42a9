"""What can be told of a prepared set's files before they are believed: that they fit one another.

TFDS keeps no checksum of what it prepared. A flipped bit in its JSON files can rename a split or the label, or change a
count, and TFDS reads on. All that a set's files say twice is compared here; `fingerprint` serves for the rest.
"""

import contextlib
import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from ddpm_jax.errors import UserError
from ddpm_jax.files import Record

OWN_CLASSES = "tensorflow_datasets."
"""Where features come from: TFDS imports whatever module features.json names, and no code is taken from data."""
BANDS = {"1": 1, "L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
"""The channels of Pillow's modes, where these are the stored ones."""


def read(file: Path) -> Record:
    """The object in a JSON file of a prepared set.

    Raises:
        UserError: it is none: unreadable, no object, nested too deeply, or with a key twice.
    """
    try:
        content = json.loads(file.read_bytes(), object_pairs_hook=_once)
        if not isinstance(content, dict):
            raise ValueError("it holds no object")
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0][:200] if isinstance(error, ValueError) else type(error).__name__
        raise UserError(f"{file} cannot be read ({reason}): prepare the data set again") from None
    return content


def _once(pairs: list[tuple[str, Any]]) -> Record:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key is there twice")
    return content


def check_texts(folder: Path) -> None:
    """Compare what a prepared set's JSON files say; nothing else has read them yet.

    Raises:
        UserError: something does not fit.
    """
    info, features = read(folder / "dataset_info.json"), read(folder / "features.json")
    if info.get("version") != folder.name:
        _refuse(folder, f"dataset_info.json says version {info.get('version')!r}")
    splits = info.get("splits")
    names = [split.get("name") for split in splits if isinstance(split, dict)] if isinstance(splits, list) else []
    if not names or len(set(map(str, names))) < len(names):
        _refuse(folder, f"dataset_info.json names the splits {names}")
    for key, value in _leaves(features):
        if key == "pythonClassName" and not str(value).startswith(OWN_CLASSES):
            _refuse(folder, f"features.json names the class {value!r}, which is not one of TFDS's")
    if (folder / "metadata.json").exists():
        metadata = read(folder / "metadata.json")
        for key in metadata:
            if key != "levels" and len(key) == len("levels") and sum(map(str.__ne__, key, "levels")) == 1:
                _refuse(folder, f"metadata.json has {key!r} for 'levels'")
        if "levels" in metadata and type(metadata["levels"]) is not int:
            _refuse(folder, f"metadata.json says {metadata['levels']!r} levels")


def _leaves(content: Any) -> Iterator[tuple[str, Any]]:
    """Every key of nested objects, with its value where that is a leaf."""
    waiting = [("", content)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.items())
        elif isinstance(value, list):
            waiting.extend((key, item) for item in value)
        else:
            yield key, value


def check_records(folder: Path, builder: Any, image: str) -> None:
    """Compare the files of images with what the set's description says of them. `image` is the images' feature.

    Raises:
        UserError: something does not fit.
    """
    from array_record.python.array_record_module import ArrayRecordReader

    described, looked = set(), False
    for split in builder.info.splits.values():
        for path, length in zip(split.filepaths, split.shard_lengths, strict=True):
            described.add(Path(path).name)
            if not length and not Path(path).exists():
                continue
            reader = ArrayRecordReader(str(path))
            try:
                if reader.num_records() != length:
                    _refuse(folder, f"{Path(path).name} holds {reader.num_records()} images, not {length}")
                if length and not looked:
                    looked = True
                    _look(folder, reader.read(list(range(min(length, 10)))), builder.info.features, image)
            finally:
                reader.close()
    if strangers := {path.name for path in folder.glob("*.array_record*")} - described:
        _refuse(folder, f"{min(strangers)} is of no split that dataset_info.json names")


def _look(folder: Path, records: list[bytes], features: Any, image: str) -> None:
    """Compare a few records with the features: TFDS passes over one it has no name for, and makes grey pictures RGB."""
    from PIL import Image
    from tensorflow_datasets.proto import tf_example_pb2

    channels, bands = features[image].shape[-1], set()
    for record in records:
        found = tf_example_pb2.Example.FromString(record).features.feature  # pyright: ignore[reportAttributeAccessIssue]
        if strangers := {key.split("/")[0] for key in found} - set(features):
            _refuse(folder, f"its images have {min(strangers)!r}, which features.json does not name")
        for content in found[image].bytes_list.value if image in found else ():
            with contextlib.suppress(OSError), Image.open(io.BytesIO(content)) as picture:
                bands.add(BANDS.get(picture.mode, channels))
    if bands and channels not in bands:
        warnings.warn(
            f"{folder}: described with images of {channels} channels, but they are stored with {min(bands)}; if the "
            "description is wrong, prepare the data set again",
            stacklevel=2,
        )


def check_label(folder: Path, label: str, classes: int | None) -> None:
    """Compare the number of classes with the file of their names, where there is one.

    Raises:
        UserError: they differ, or there is no class.
    """
    if not classes or classes < 1:
        _refuse(folder, f"features.json says {classes} classes")
    file = folder / f"{label}.labels.txt"
    if file.exists():
        names = [line for line in file.read_text(errors="replace").split("\n") if line.strip()]
        if len(names) != classes:
            _refuse(folder, f"features.json says {classes} classes, but {file.name} names {len(names)}")


def _refuse(folder: Path, what: str) -> NoReturn:
    raise UserError(f"{folder} does not fit together ({what}): prepare the data set again")
