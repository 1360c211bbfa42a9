"""Arrays in a file as a collection: `.npz` with images, labels and texts by name, or `.npy` with images alone.

Names of arrays are `images`, `labels` and `texts`, or with a split `x_train`, `y_test` (as Keras has them) and
`train_images`, `val_labels` (as MedMNIST).
"""

import hashlib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ddpm_jax.data.folders.assembling import Collection
from ddpm_jax.data.folders.decoding import VERSION, Form, fitted
from ddpm_jax.data.folders.finding import SPLITS
from ddpm_jax.data.folders.splitting import Rows
from ddpm_jax.errors import fail, one_line, some

ENDINGS = (".npz", ".npy")

IMAGES, LABELS, TEXTS = "images", "labels", "texts"
WORDS = {
    **dict.fromkeys(("images", "image", "x", "data"), IMAGES),
    **dict.fromkeys(("labels", "label", "y", "targets"), LABELS),
    **dict.fromkeys(("texts", "text", "captions", "prompts"), TEXTS),
}
"""Names of arrays, in small letters, and what they hold."""

CHANNELS = (1, 3, 4)


def collect(file: Path, form: Form) -> Collection:
    """The images in a file, and what it says of them.

    Raises:
        UserError: it does not read, or holds no images of levels, or not as many labels or texts as images.
    """
    arrays, unread = _read(file)
    notes = [f"arrays of {file.name} that are not read: {some(unread)}"] if unread else []
    parts = {split: _levels(file, name, one) for split, (name, one) in _of(arrays, IMAGES).items()}
    if not parts:
        fail("data.dir", f"{file} has {some(sorted(arrays))}, and no images; name them images, or x_train and x_test")
    if "" in parts and len(parts) > 1:
        fail("data.dir", f"{file} has images with a split and images without; name a split of all, as in x_train")
    if "" not in parts and "train" not in parts:
        fail("data.dir", f"{file} has images of {', '.join(parts)}, and none of train; name some x_train")
    first = next(iter(parts.values()))
    for split, images in parts.items():
        if images.shape[1:] != first.shape[1:]:
            fail("data.dir", f"{file}: images of {split} are {images.shape[1:]}, and others {first.shape[1:]}")
    levels = 2 if all(images.dtype == bool for images in parts.values()) else 256
    shape = _shape(file, first.shape[1:], form, levels)
    if levels == 256 and max(int(images[:1000].max()) for images in parts.values()) == 1:
        notes.append("no value is above 1, of 255: save images of two levels as bool")
    changed = shape != first.shape[1:]
    starts = np.cumsum([0, *(len(images) for images in parts.values())])
    form = replace(form, channels=shape[-1])
    return Collection(
        names=[f"{split}[{row}]" for split, images in parts.items() for row in range(len(images))],
        digests=[_digest(image) for images in parts.values() for image in images],
        read=partial(_rows, list(parts.values()), starts, form if changed else None, shape),
        shape=shape,
        made_from=f"arrays {VERSION} {levels} {form if changed else shape}",
        levels=levels,
        splits=[split for split, images in parts.items() for _ in images],
        labels=_values(file, arrays, LABELS, parts),
        texts=_values(file, arrays, TEXTS, parts),
        notes=notes,
        costly=changed,
    )


def _read(file: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of a file that are read, by name, and the names of the others."""
    try:
        found = np.load(file, mmap_mode="r", allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {IMAGES: found}, []
        names = [str(name) for name in found.files]
        lone = {names[0]: IMAGES} if len(names) == 1 and names[0] == "arr_0" else {}
        wanted = [name for name in names if name in lone or _meaning(name)]
        return {lone.get(name, name): found[name] for name in wanted}, sorted(set(names) - set(wanted))
    except (OSError, EOFError, zipfile.BadZipFile, ValueError) as error:
        if "Object arrays" in str(error):
            fail("data.dir", f"{file} holds Python objects; save texts as numpy.array(texts), of one type")
        fail("data.dir", f"{file} cannot be read ({one_line(error)}); save it by numpy.savez")


def _meaning(name: str) -> tuple[str, str] | None:
    """What an array of this name holds, and of which split."""
    name = name.lower()
    if name in WORDS:
        return WORDS[name], ""
    for word, _, split in (name.partition("_"), name.rpartition("_")[::-1]):
        if word in WORDS and split in SPLITS:
            return WORDS[word], SPLITS[split]
    return None


def _of(arrays: Mapping[str, np.ndarray], what: str) -> dict[str, tuple[str, np.ndarray]]:
    """The name and the array of each split, of those that hold this."""
    found: dict[str, tuple[str, np.ndarray]] = {}
    for name, array in arrays.items():
        meaning = _meaning(name)
        if meaning and meaning[0] == what:
            if meaning[1] in found:
                fail("data.dir", f"{found[meaning[1]][0]} and {name} are both {what}; leave one of them")
            found[meaning[1]] = (name, array)
    return found


def _levels(file: Path, name: str, images: np.ndarray) -> np.ndarray:
    """Images of levels, `[n, height, width, channels]`."""
    where = f"{file}: {name}"
    if images.ndim not in (3, 4) or not images.size:
        fail("data.dir", f"{where} has the shape {images.shape}; images are [n, height, width, channels]")
    if images.ndim == 3:
        images = images[..., None]
    if images.shape[-1] not in CHANNELS:
        first = images.shape[1] in CHANNELS
        words = "; channels come last: save x.transpose(0, 2, 3, 1)" if first else "; channels are 1, 3 or 4"
        fail("data.dir", f"{where} has the shape {images.shape}{words}")
    if images.dtype in (np.uint8, bool):
        return images
    low, high = images.min(), images.max()
    if np.issubdtype(images.dtype, np.integer) and low >= 0 and high <= 255:
        return images.astype(np.uint8)
    how = "scale it so that black is 0 and white is 255"
    if np.issubdtype(images.dtype, np.floating) and low >= -1 and high <= 1:
        how = f"save numpy.rint({'255 * x' if low >= 0 else '127.5 * (x + 1)'}).astype('uint8')"
    return fail("data.dir", f"{where} is {images.dtype} from {low:g} to {high:g}, and must be uint8; {how}")


def _shape(file: Path, shape: Sequence[int], form: Form, levels: int) -> tuple[int, int, int]:
    height, width, channels = shape
    asked = form.channels or (3 if channels == 4 else channels)
    if form.size:
        height = width = form.size
    if levels == 2 and (height, width, asked) != tuple(shape):
        fail("data.size", f"{file} has images of two levels, which are not resized or coloured; leave it 0")
    return height, width, asked


def _values(file: Path, arrays: Mapping[str, np.ndarray], what: str, parts: Mapping[str, np.ndarray]) -> list[Any]:
    """The labels or texts of all images; none where there are none."""
    there = _of(arrays, what)
    if not there:
        return []
    found: list[Any] = []
    for split, images in parts.items():
        if split not in there:
            fail("data.dir", f"{file} has {what} of {', '.join(there)}, and not of {split or 'all images'}; add them")
        name, values = there[split]
        if values.ndim == 2 and values.shape[1] == 1:  # as MedMNIST has them
            values = values[:, 0]
        if values.shape != (len(images),):
            fail("data.dir", f"{file}: {name} has the shape {values.shape}, for {len(images)} images; one for each")
        if values.dtype.kind not in ("iuUb" if what == LABELS else "U"):
            kinds = "whole numbers or names" if what == LABELS else "texts"
            fail("data.dir", f"{file}: {name} is {values.dtype}, and must be {kinds}")
        found += (values.astype(int) if values.dtype == bool else values).tolist()
    if "" in found:
        fail(
            "data.dir", f"{file}: {found.count('')} of {len(found)} {what} are empty; say it of each, or leave them out"
        )
    return found


def _digest(image: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()


def _rows(
    parts: Sequence[np.ndarray], starts: np.ndarray, form: Form | None, shape: tuple[int, ...], rows: Rows
) -> UInt8[np.ndarray, "n height width channels"]:
    """Images of all parts, which are numbered one after another, brought into a form if there is one."""
    found, grey = np.empty((len(rows), *shape), np.uint8), parts[0].shape[-1] == 1
    for place, image in enumerate(_images(parts, starts, rows)):
        found[place] = image if form is None else fitted(Image.fromarray(image.squeeze(-1) if grey else image), form)
    return found


def _images(parts: Sequence[np.ndarray], starts: np.ndarray, rows: Rows) -> Iterator[np.ndarray]:
    for row in map(int, rows):
        part = int(np.searchsorted(starts, row, "right")) - 1
        yield parts[part][row - int(starts[part])]
