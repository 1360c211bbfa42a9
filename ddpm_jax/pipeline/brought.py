"""A picture that a person brings to a run: made the run's size, and put back into the picture afterwards."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from ddpm_jax.data import Dataset
from ddpm_jax.data.folders.decoding import Form, Unreadable, decode, measure
from ddpm_jax.errors import UserError, nearest

REGIONS = ("left", "right", "top", "bottom", "middle")
"""Masks that need no file: halves, and the middle quarter."""


@dataclass(frozen=True, eq=False)
class Brought:
    """A picture in a run's form.

    Attributes:
        levels: as the run stores images, `[*site]`.
        own: the picture as it is, in colour or with alpha, 0 ... 255; None for one of the run's own data.
        row: of one of the run's own data, what is known of it; else None.
        is_told: whether it is no image of the run's, but what is told or was measured of one, 0 ... 255.
    """

    levels: np.ndarray
    own: UInt8[np.ndarray, "height width channels"] | None = None
    row: Any = None
    is_told: bool = False


@dataclass(frozen=True, eq=False)
class Mask:
    """Where a picture is known: as the run has it, where a pixel of which anything is to be drawn is not known, and in
    the picture that was brought."""

    known: Bool[np.ndarray, "h w 1"]
    own: Bool[np.ndarray, "height width 1"] | None = None


def picture(option: str, words: str, dataset: Dataset) -> Brought:
    """The picture of a file, or of the data: `test:3` is the fourth test image.

    A file's shorter side is made the run's side, antialiased, and the middle square is kept; a transparent one is laid
    on white.

    Raises:
        UserError: there is none, or not one that can be read, or the run's images are of no such shape; in one line.
    """
    description = dataset.description
    if len(description.space) != 2 or description.channels not in (1, 3, 4):
        raise UserError(f"--{option}: the run's images of shape {description.shape} are no pictures")
    if (found := of_data(words)) is not None:
        name, number = found
        if name not in dataset.sources:
            raise UserError(f"--{option}: {words}: there is no split {name!r}; {nearest(name, dataset.sources)}")
        split = dataset.sources[name]
        if number >= len(split):
            raise UserError(f"--{option}: {words}: there are {len(split)} images in {name}; the first is 0")
        rows = split.rows(np.array([number]))
        return Brought(np.asarray(rows["image"][0]), None, rows["condition"])
    return of_bytes(option, _content(option, words), dataset, words)


def of_data(words: str) -> tuple[str, int] | None:
    """The split and the number of one of the data's images, `test:3`; None where the words are a file's."""
    found = re.fullmatch(r"(\w+):(\d+)", words)
    return (found[1], int(found[2])) if found else None


def of_bytes(option: str, content: bytes, dataset: Dataset, words: str = "it") -> Brought:
    """The picture of a file's content; as `picture`."""
    description = dataset.description
    height, width = description.space
    if height != width and _asked(measure, option, words, content) != (width, height):
        raise UserError(f"--{option}: {words}: the run's pictures are {width} x {height}; give one of this size")
    form = Form(height if height == width else 0, description.channels)
    pixels = _asked(decode, option, words, content, form).pixels
    own = _asked(decode, option, words, content, Form(0, 4 if description.channels == 4 else 3)).pixels
    if description.levels is None:
        return Brought(pixels / 127.5 - 1, own)
    top = description.levels - 1
    return Brought(np.round(pixels * (top / 255)).astype(np.uint8), own)


def told(option: str, words: str, size: tuple[int, ...]) -> Brought:
    """The picture of a file in another size than the run's images, as a sketch or a measurement of one.

    Raises:
        UserError: as `picture`.
    """
    return told_bytes(option, _content(option, words), size, words)


def told_bytes(option: str, content: bytes, size: tuple[int, ...], words: str = "it") -> Brought:
    """The picture of a file's content; as `told`."""
    height, width, channels = size
    if height != width and _asked(measure, option, words, content) != (width, height):
        raise UserError(f"--{option}: {words}: what is told is {width} x {height}; give one of this size")
    pixels = _asked(decode, option, words, content, Form(height if height == width else 0, channels)).pixels
    return Brought(pixels, pixels, is_told=True)


def mask(words: str, brought: Brought) -> Mask:
    """Where a picture is known, from a mask: a region by name, or a picture of the same size, white where to draw.

    Raises:
        UserError: as `picture`; the mask is of another size, or white nowhere or everywhere.
    """
    height, width = brought.levels.shape[:2]
    if words in REGIONS:
        return Mask(~_region(words, height, width))
    if not Path(words).exists() and "." not in words:
        raise UserError(f"--mask: {words!r} is neither a file nor a region; {nearest(words, REGIONS)}")
    content = _content("mask", words)
    size, wanted = _asked(measure, "mask", words, content), (width, height)
    if brought.own is not None:
        wanted = (brought.own.shape[1], brought.own.shape[0])
    if size != wanted:
        raise UserError(f"--mask: {words} is {size[0]} x {size[1]}, the image {wanted[0]} x {wanted[1]}")
    white = _asked(decode, "mask", words, content, Form(0, 1)).pixels >= 128
    return painted(f"--mask: {words}", white[..., 0], brought)


def painted(named: str, drawn: Bool[np.ndarray, "height width"], brought: Brought, how: str = "white") -> Mask:
    """The mask of what is to be drawn, in the size of a picture that was brought, or any of one of the data.

    Raises:
        UserError: nothing is to be drawn or everything, in a line that begins with what is `named`.
    """
    height, width = brought.levels.shape[:2]
    _, _, middle = _middle(drawn.shape, height == width)
    seen = _any(_any(drawn[middle], width).T, height).T[..., None]
    if not seen.any() or seen.all():
        line = "nowhere: nothing is to be drawn" if not seen.any() else "everywhere: nothing is known"
        raise UserError(f"{named} is {how} {line} of what the run sees; {how} is what is drawn")
    return Mask(~seen, ~drawn[..., None])


def pasted(brought: Brought, shown: UInt8[np.ndarray, "h w channels"], mask: Mask) -> Any:
    """A result in the picture that was brought, which stays as it is outside the mask and the middle square."""
    from PIL import Image

    assert brought.own is not None
    whole = brought.own.copy()
    height, width, middle = _middle(whole.shape[:2], shown.shape[0] == shown.shape[1])
    squeezed = shown[..., 0] if shown.shape[-1] == 1 else shown
    new = np.asarray(Image.fromarray(squeezed).resize((width, height), Image.Resampling.LANCZOS))
    if mask.own is not None:
        known = mask.own[middle]
    else:
        shrunk = Image.fromarray(mask.known[..., 0]).resize((width, height), Image.Resampling.NEAREST)
        known = np.asarray(shrunk)[..., None]
    whole[middle] = np.where(known, whole[middle], new.reshape(height, width, -1))
    return whole


def _middle(size: tuple[int, int], square: bool) -> tuple[int, int, tuple[slice, slice]]:
    """Height, width and place of the part of a picture that a run sees: its middle square, or all."""
    height, width = size
    side = min(size)
    if not square:
        return height, width, (slice(None), slice(None))
    top, left = (height - side) // 2, (width - side) // 2
    return side, side, (slice(top, top + side), slice(left, left + side))


def _any(rows: Bool[np.ndarray, "rows long"], short: int) -> Bool[np.ndarray, "rows short"]:
    """Whether anything is true of the part of each row that each of fewer, or more, places stands for."""
    long = rows.shape[1]
    first = np.arange(short) * long // short
    last = np.maximum(-(-(np.arange(short) + 1) * long // short), first + 1)
    return np.stack([rows[:, a:b].any(1) for a, b in zip(first, last, strict=True)], axis=1)


def _region(words: str, height: int, width: int) -> Bool[np.ndarray, "height width 1"]:
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    inside = (abs(2 * rows + 1 - height) < height / 2) & (abs(2 * columns + 1 - width) < width / 2)
    where = {
        "left": 2 * columns < width,
        "right": 2 * columns >= width,
        "top": 2 * rows < height,
        "bottom": 2 * rows >= height,
        "middle": inside,
    }[words]
    return np.broadcast_to(where, (height, width))[..., None].copy()


def _content(option: str, words: str) -> bytes:
    try:
        return Path(words).read_bytes()
    except OSError as error:
        raise UserError(f"--{option}: {words} cannot be read ({error.strerror})") from error


def _asked(function: Any, option: str, words: str, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except (Unreadable, MemoryError) as error:
        raise UserError(f"--{option}: {words}: {error or 'it is too large'}") from error
