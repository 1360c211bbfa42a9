"""A data set that Hugging Face's library `datasets` saved to disk, as pictures that were found.

`Dataset.save_to_disk` and `DatasetDict.save_to_disk` write Arrow files, with the bytes of pictures in them, which are
mapped into memory and not held. The column of images is the one of type Image; the label is of type ClassLabel, or the
numbers or names of `label`; `text`, `caption` or `prompt` hold texts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from ddpm_jax.data.folders import contents
from ddpm_jax.data.folders.finding import SPLITS
from ddpm_jax.data.folders.pictures import Raw
from ddpm_jax.errors import fail, one_line, some

DICT, ALONE = "dataset_dict.json", ("dataset_info.json", "state.json")
"""Files of a data set with splits, and of one without."""

IMAGE, LABEL = "image", "label"
TEXTS = ("text", "caption", "prompt")
"""Names of the column of texts; the first that is there is read."""


def is_one(root: Path) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    return (root / DICT).is_file() or all((root / name).is_file() for name in ALONE)


@dataclass(frozen=True)
class Columns:
    """The pictures' files in columns of several splits, numbered one after another.

    Attributes:
        parts: a data set of that column alone for each split, which gives the bytes.
        column: its name.
        ends: of each split, the first number after it.
    """

    parts: Sequence[Any]
    column: str
    ends: Sequence[int]

    def content(self, row: int) -> bytes:
        """The bytes of a picture's file; none where there is no picture."""
        part = int(np.searchsorted(self.ends, row, "right"))
        start = self.ends[part - 1] if part else 0
        return (self.parts[part][row - start][self.column] or {}).get("bytes") or b""


def find_raw(root: Path) -> Raw:
    """The pictures of a data set that was saved in a folder.

    Raises:
        UserError: the library is not installed; it does not read the folder; or there are no images, or no train.
    """
    splits = _splits(root)
    first = next(iter(splits.values()))
    features: Any = first.features
    column, label = _image(root, features), _label(root, features)
    text = next((name for name in TEXTS if name in features), None)
    _check_alike(root, splits, [name for name in (column, label, text) if name])
    files = Columns(
        [one.select_columns([column]).cast_column(column, _undecoded()) for one in splits.values()],
        column,
        list(accumulate(len(one) for one in splits.values())),
    )
    names = tuple(getattr(features[label], "names", None) or ()) if label else ()
    unread = sorted(set(features) - {column, label, text})
    return Raw(
        place=root,
        files=files,
        names=[f"{split}[{row}]" for split, one in splits.items() for row in range(len(one))],
        digests=contents.digests(files, files.ends[-1]),
        splits=[split for split, one in splits.items() for _ in range(len(one))],
        labels=_labels(root, splits, label, names),
        texts=_texts(root, splits, text),
        classes=names,
        notes=[f"columns that are not read: {some(unread)}"] if unread else [],
    )


def _undecoded() -> Any:
    from datasets import Image  # pyright: ignore[reportMissingImports]

    return Image(decode=False)


def _splits(root: Path) -> dict[str, Any]:
    """The data set of each split, by our names; of one without splits alone by an empty one."""
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ImportError:
        fail("data.dir", f"{root} was saved by Hugging Face's datasets: pip install 'ddpm-jax[huggingface]'")
    try:
        found: Any = datasets.load_from_disk(str(root))
    except Exception as error:  # the library raises many types
        fail("data.dir", f"{root} cannot be read ({one_line(error)[:200]}); save it to disk again")
    if not isinstance(found, dict):
        return {"": found.with_format(None)}
    splits = {}
    for name, one in found.items():
        if name.lower() not in SPLITS:
            fail("data.dir", f"{root} has a split {name!r}, which is none of train, validation, test; leave it out")
        if SPLITS[name.lower()] in splits:
            fail("data.dir", f"{root} has the splits {', '.join(found)}, of which two are the same; leave one out")
        splits[SPLITS[name.lower()]] = one.with_format(None)
    if "train" not in splits:
        fail("data.dir", f"{root} has the splits {', '.join(found)}, and no train")
    return splits


def _check_alike(root: Path, splits: dict[str, Any], columns: Sequence[str]) -> None:
    """Refuse splits whose columns mean different things, such as classes in another order."""
    (name, first), *others = splits.items()
    for other, one in others:
        for column in columns:
            if column not in one.features:
                fail("data.dir", f"{root}: {other} has no column {column}, which {name} has; give both the same")
            if one.features[column] != first.features[column]:
                fail("data.dir", f"{root}: the column {column} is of another type or classes in {other} than in {name}")


def _image(root: Path, features: Any) -> str:
    found = [name for name, kind in features.items() if type(kind).__name__ == "Image"]
    if not found:
        fail("data.dir", f"{root} has no column of type Image (it has {', '.join(features)}); cast the pictures to it")
    if len(found) > 1 and IMAGE not in found:
        fail("data.dir", f"{root} has several columns of images, {', '.join(found)}; call the one to learn {IMAGE}")
    return IMAGE if IMAGE in found else found[0]


def _label(root: Path, features: Any) -> str | None:
    """The column of the label: the one of that name, or else the only one of classes."""
    classes = [name for name, kind in features.items() if type(kind).__name__ == "ClassLabel"]
    if LABEL in features or not classes:
        return LABEL if LABEL in features else None
    if len(classes) > 1:
        fail("data.dir", f"{root} has several labels, {', '.join(classes)}; call the one to learn {LABEL}")
    return classes[0]


def _values(splits: dict[str, Any], column: str) -> Iterator[Any]:
    for one in splits.values():
        yield from one[column]


def _labels(root: Path, splits: dict[str, Any], column: str | None, names: Sequence[str]) -> list[Any]:
    if column is None:
        return []
    found = list(_values(splits, column))
    _all_said(root, column, [value is None or value in ("", -1) for value in found])
    if wrong := [value for value in found if isinstance(value, bool) or not isinstance(value, int | str)]:
        fail("data.dir", f"{root}: a {column} is {wrong[0]!r}; labels are whole numbers or names")
    return [names[value] for value in found] if names else found


def _texts(root: Path, splits: dict[str, Any], column: str | None) -> list[Any]:
    if column is None:
        return []
    found = list(_values(splits, column))
    _all_said(root, column, [not value for value in found])
    if wrong := [value for value in found if not isinstance(value, str)]:
        fail("data.dir", f"{root}: a {column} is {wrong[0]!r}, and no text")
    return found


def _all_said(root: Path, column: str, missing: Sequence[bool]) -> None:
    if count := sum(missing):
        words = f"{count} of {len(missing)} pictures have no {column}"
        fail("data.dir", f"{root}: {words}; say it of each, or leave the column out")
