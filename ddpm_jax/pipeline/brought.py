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
        own: the picture as it is, `[height, width, channels]`, 0 ... 255; None for one of the run's own data.
    """

    levels: np.ndarray
    own: UInt8[np.ndarray, "height width channels"] | None = None


def picture(option: str, words: str, dataset: Dataset) -> Brought:
    """The picture of a file, or of the data: `test:3` is the fourth test image.

    A file's shorter side is made the run's side, antialiased, and the middle square is kept; a transparent one is laid
    on white.

    Raises:
        UserError: there is none, or not one that can be read, or the run's images are of no such shape; in one line.
    """
    description = dataset.description
    if (found := re.fullmatch(r"(\w+):(\d+)", words)) and found[1] in dataset.sources:
        split, number = dataset.sources[found[1]], int(found[2])
        if number >= len(split):
            raise UserError(f"--{option}: {words}: there are {len(split)} images in {found[1]}; the first is 0")
        return Brought(np.asarray(split.rows(np.array([number]))["image"][0]))
    if len(description.space) != 2 or description.channels not in (1, 3, 4):
        raise UserError(f"--{option}: the run's images of shape {description.shape} are no pictures")
    content, (height, width) = _content(option, words), description.space
    if height != width and _asked(measure, option, words, content) != (width, height):
        raise UserError(f"--{option}: {words}: the run's pictures are {width} x {height}; give one of this size")
    form = Form(height if height == width else 0, description.channels)
    pixels = _asked(decode, option, words, content, form).pixels
    own = _asked(decode, option, words, content, Form(0, description.channels)).pixels
    if description.levels is None:
        return Brought(pixels / 127.5 - 1, own)
    top = description.levels - 1
    return Brought(np.round(pixels * (top / 255)).astype(np.uint8), own)


def mask(words: str, brought: Brought) -> Bool[np.ndarray, "height width 1"]:
    """Where a picture is known, from a mask: a region by name, or a picture of the same size, white where to draw.

    Raises:
        UserError: as `picture`; the mask is of another size, or white nowhere or everywhere.
    """
    height, width = brought.levels.shape[:2]
    if words in REGIONS:
        return ~_region(words, height, width)
    if not Path(words).exists() and "." not in words:
        raise UserError(f"--mask: {words!r} is neither a file nor a region; {nearest(words, REGIONS)}")
    content = _content("mask", words)
    size, wanted = _asked(measure, "mask", words, content), (width, height)
    if brought.own is not None:
        wanted = (brought.own.shape[1], brought.own.shape[0])
    if size != wanted:
        raise UserError(f"--mask: {words} is {size[0]} x {size[1]}, the image {wanted[0]} x {wanted[1]}")
    form = Form(height if height == width else 0, 1)
    white = _asked(decode, "mask", words, content, form).pixels >= 128
    if not white.any() or white.all():
        line = "white nowhere: nothing is to be drawn" if not white.any() else "white everywhere: nothing is known"
        raise UserError(f"--mask: {words} is {line}; white is what is drawn")
    return ~white


def pasted(brought: Brought, shown: UInt8[np.ndarray, "h w channels"], known: Bool[np.ndarray, "h w 1"]) -> Any:
    """A result in the picture that was brought, which stays as it is outside the mask and the middle square."""
    from PIL import Image

    assert brought.own is not None
    height, width = brought.own.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    size = (width, height) if shown.shape[0] != shown.shape[1] else (side, side)
    if size == (width, height):
        top = left = 0
    squeezed = shown[..., 0] if shown.shape[-1] == 1 else shown
    new = np.asarray(Image.fromarray(squeezed).resize(size, Image.Resampling.LANCZOS)).reshape(*size[::-1], -1)
    drawn = np.asarray(Image.fromarray(~known[..., 0]).resize(size, Image.Resampling.NEAREST))[..., None]
    whole = brought.own.copy()
    part = whole[top : top + size[1], left : left + size[0]]
    part[...] = np.where(drawn, new, part)
    return whole


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
