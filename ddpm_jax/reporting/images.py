"""Pictures that runs left: rows of samples and film strips, read from files that nobody looked at."""

import io
import math
import os
import re
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ddpm_jax.runs import pictures

SAMPLES, FILM, ARRAYS = "samples.png", "film.png", "samples/seed0.npz"
SHOWN, GRID_ROWS, FILM_ROWS = 16, 8, 12
"""Samples a row; rows of images in a run's `samples.png` (of 64), and in a `film.png` that does not say what its first
image takes (two for each of six)."""

WIDE = 1100
"""Pixels up to which a row of samples is enlarged, and beyond which it is cut in two."""

MOST_PIXELS, MOST_BYTES = 80_000_000, 2**33
"""Of a picture, and of the samples, that are opened: larger ones would fill the memory."""

WIDEST, HIGHEST = 4096, 1024
"""Pixels of a row in a report: a larger one is made smaller."""

Strip = UInt8[np.ndarray, "height width 3"]


class Unfit(ValueError):
    """A file is not what a run writes; says which, and what is wrong with it."""


def samples(folder: Path) -> Strip | None:
    """A row of samples or two, of whichever file has them; None if none has."""
    return _first(folder, _grid, _drawn)


def film(folder: Path) -> Strip | None:
    """The first image of the film strip; None if there is none."""
    return _first(folder, _film)


def faults(folder: Path) -> list[str]:
    """What is wrong with the pictures of a run: a line for each file."""
    found = []
    for read in (_grid, _film, _drawn):
        try:
            read(folder)
        except Unfit as error:
            found.append(str(error))
    return found


def _first(folder: Path, *ways: Callable[[Path], Strip | None]) -> Strip | None:
    for read in ways:
        try:
            if (row := read(folder)) is not None:
                return row
        except Unfit:  # the run's line at the top of the report says so
            continue
    return None


def _grid(folder: Path) -> Strip | None:
    if (canvas := _reading(folder, SAMPLES, _png)) is None:
        return None
    height = _cell(canvas, SAMPLES, GRID_ROWS)
    if 2 * canvas.shape[1] > WIDE:  # such as with captions
        return _smaller(canvas[: 2 * height + 2])
    return _larger(np.concatenate([canvas[: height + 2], canvas[height : 2 * height + 2, 2:]], axis=1))


def _film(folder: Path) -> Strip | None:
    if (canvas := _reading(folder, FILM, _png)) is None:
        return None
    told = _reading(folder, FILM, _strip)
    if told is None:  # of a version whose rows were all alike
        return _smaller(canvas[: 2 * _cell(canvas, FILM, FILM_ROWS) + 2])
    if not 2 < told <= len(canvas):
        raise Unfit(f"{FILM} is no picture whose first image takes {told} rows of pixels (it has {len(canvas)})")
    return _smaller(canvas[:told])


def _drawn(folder: Path) -> Strip | None:
    if (images := _reading(folder, ARRAYS, _first_images)) is None or images.ndim != 4:  # not of two axes
        return None
    _, height, width, channels = images.shape
    enlarged = max(1, math.ceil(pictures.SMALLEST_SIDE / min(height, width)))
    if SHOWN * height * width * max(channels, 3) * enlarged**2 > MOST_PIXELS:
        raise Unfit(f"{ARRAYS} holds images that are too large to be shown ({height} x {width})")
    canvas = pictures.tile((images / max(images.max(), 1) * 2 - 1)[None])
    return _larger(canvas[..., :3] if channels >= 3 else canvas[..., :1].repeat(3, axis=-1))


def _reading(folder: Path, name: str, read: Callable[[Path], Any]) -> Any:
    """What `read` makes of a file; None if it is not there."""
    path = folder / name
    try:
        if not os.path.lexists(path):
            return None
        if not path.is_file():
            raise Unfit("is not a file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read(path)
    except Unfit as error:
        raise Unfit(f"{name} {error}") from error
    except Exception as error:  # whatever decoders raise on bytes that are none of theirs
        words = getattr(error, "strerror", None) or " ".join(f"{error}".split())[:100] or type(error).__name__
        raise Unfit(f"{name} is damaged ({words})") from error


def _png(path: Path) -> Strip:
    from PIL import Image

    with path.open("rb") as file:
        head = file.read(24)
    if head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR" or len(head) < 24:
        raise Unfit("is no PNG" if head else "is empty")
    width, height = struct.unpack(">II", head[16:])
    if width * height > MOST_PIXELS or path.stat().st_size > 4 * MOST_PIXELS:
        raise Unfit(f"is too large to be opened ({width} x {height} pixels)")
    content = path.read_bytes()
    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
        image.verify()  # the checksums of its parts, which decoding does not look at
    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
        if image.mode.startswith("I"):  # 16 bits of grey, which PIL would cut, not scale
            return (np.asarray(image, np.int64).clip(0, 65535) >> 8).astype(np.uint8)[..., None].repeat(3, axis=-1)
        if not image.has_transparency_data:
            return np.asarray(image.convert("RGB"))
        layer = image.convert("RGBA")
        paper = Image.new("RGBA", layer.size, (pictures.PAPER,) * 4)
        return np.asarray(Image.alpha_composite(paper, layer).convert("RGB"))


def _strip(path: Path) -> int | None:
    """The rows of pixels of a film's first image, if it says so."""
    from PIL import Image

    with Image.open(path, formats=("PNG",)) as image:
        told = image.info.get(pictures.STRIP)
    return int(told) if isinstance(told, str) and re.fullmatch("[0-9]{1,6}", told) else None


def _cell(canvas: Strip, name: str, rows: int) -> int:
    """The height of an image of a grid with its gap."""
    cell, rest = divmod(len(canvas) - 2, rows)
    if rest or cell < 3 or canvas.shape[1] < 5:
        raise Unfit(f"{name} is no picture of {rows} rows ({canvas.shape[1]} x {len(canvas)} pixels)")
    return cell


def _first_images(path: Path) -> np.ndarray:
    """The first images of the samples. The file is read to its end, where its checksum is, but not kept."""
    from numpy.lib import format as layout

    with zipfile.ZipFile(path) as archive, archive.open("images.npy") as file:
        read_header = {(1, 0): layout.read_array_header_1_0, (2, 0): layout.read_array_header_2_0}
        shape, columns, dtype = read_header[layout.read_magic(file)](file)
        if dtype.kind not in "ui" or dtype.itemsize > 8 or columns:
            raise Unfit(f"holds no images of whole numbers ({dtype}{' by columns' if columns else ''})")
        if len(shape) < 3 or 0 in shape or any(side < 0 for side in shape):
            raise Unfit(f"holds no images (shape {shape})")
        if math.prod(shape) * dtype.itemsize > MOST_BYTES or math.prod(shape[1:]) > MOST_PIXELS:
            raise Unfit(f"is too large to be opened (shape {shape})")
        count = min(SHOWN, shape[0])
        size = count * math.prod(shape[1:]) * dtype.itemsize
        images = np.frombuffer(file.read(size), dtype).reshape(count, *shape[1:])
        rest = math.prod(shape) * dtype.itemsize - size
        while block := file.read(2**20):
            rest -= len(block)
            if rest < 0:
                break
        if rest:
            raise Unfit(f"holds {'more' if rest < 0 else 'less'} than its images")
    if images.min() < 0:
        raise Unfit("holds images with values below 0")
    return images


def _larger(canvas: Strip) -> UInt8[np.ndarray, "tall wide 3"]:
    """Enlarged by a whole factor, up to a width; or made smaller, where it is wider."""
    factor = WIDE // canvas.shape[1]
    return canvas.repeat(factor, 0).repeat(factor, 1) if factor > 1 else _smaller(canvas)


def _smaller(row: Strip) -> UInt8[np.ndarray, "tall wide 3"]:
    from PIL import Image

    height, width = row.shape[:2]
    share = min(1.0, WIDEST / width, HIGHEST / height)
    if share == 1:
        return row
    size = max(1, round(width * share)), max(1, round(height * share))
    return np.asarray(Image.fromarray(np.ascontiguousarray(row)).resize(size))
