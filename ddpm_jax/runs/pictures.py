"""Pictures that a person looks at: grids of images and film strips, as PNG."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeGuard

import numpy as np
from jaxtyping import Float, UInt8

from ddpm_jax.files import write_bytes
from ddpm_jax.runs import captions as words

PAPER, GAP = 255, 2
SMALLEST_SIDE = 32
"""Images are enlarged by a whole factor until their shorter side has at least this many pixels."""

APART = 14
"""Pixels between the two rows of an image in a film and those of the next, besides the usual gap."""

STRIP = "first_strip"
"""The text in a film's PNG that says how many rows of pixels its first image takes, with what is above."""

CAPTIONED_WIDTH, HIGHEST = 128, 1024
"""A caption has at least this width, to which its picture is enlarged, but no further than this height."""


def tile(
    images: Float[np.ndarray, "rows columns height width channels"], gap: int = GAP, least: int = 1
) -> UInt8[np.ndarray, "h w c"]:
    """Rows and columns of images with values in [-1, 1] as one picture, 0 ... 255, with white gaps.

    They are enlarged by the whole factor that `SMALLEST_SIDE` needs, or by `least` if that is more.
    """
    rows, columns, height, width, channels = images.shape
    factor = max(least, math.ceil(SMALLEST_SIDE / min(height, width)))
    pixels = np.clip((np.asarray(images, np.float64) + 1) * 127.5, 0, 255).round().astype(np.uint8)
    pixels = pixels.repeat(factor, axis=2).repeat(factor, axis=3)
    cell_height, cell_width = height * factor + gap, width * factor + gap
    canvas = np.full((rows * cell_height + gap, columns * cell_width + gap, channels), PAPER, np.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = gap + row * cell_height, gap + column * cell_width
            canvas[top : top + height * factor, left : left + width * factor] = pixels[row, column]
    return canvas


def save(path: Path, canvas: UInt8[np.ndarray, "h w c"], texts: Mapping[str, str] | None = None) -> Path:
    """Write a picture as PNG, whole or not at all. Three channels are RGB (more are left out), one or two are grey.

    `texts` are kept in the file, by name.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    image, kept = Image.fromarray(canvas[..., 0] if canvas.shape[-1] < 3 else canvas[..., :3]), PngInfo()
    for name, text in (texts or {}).items():
        kept.add_text(name, text)
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True, pnginfo=kept)
    write_bytes(path, content.getvalue())
    return path


def grid(
    path: Path, images: Float[np.ndarray, "count height width channels"], captions: Sequence[str] | None = None
) -> Path:
    """A picture of `count` images in about as many rows as columns; missing ones at the end are white.

    Captions, one an image, are drawn below each; an empty one is none. Raises ValueError if they are of another number.
    """
    count = len(images)
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    padded = np.ones((rows * columns, *images.shape[1:]))
    padded[:count] = images
    tiled = padded.reshape(rows, columns, *images.shape[1:])
    if not _captioned(captions, count):
        return save(path, tile(tiled))
    canvas = tile(tiled, GAP, _enlarged(images.shape, CAPTIONED_WIDTH))
    cell = (canvas.shape[1] - GAP) // columns
    bands = words.drawn([*captions, *[""] * (rows * columns - count)], cell, GAP).reshape(rows, columns, -1, cell)
    return save(path, _below(canvas, bands.swapaxes(1, 2).reshape(rows, -1, columns * cell)))


def beside(
    images: Float[np.ndarray, "count height width channels"], others: Sequence[Float[np.ndarray, "count _ _ _"]]
) -> Float[np.ndarray, "count height wider grey_or_rgb"]:
    """Images with others to the left of each, made as high as they are, and a white line between two.

    Values lie in [-1, 1]. All are grey, or all are RGB where one is.
    """
    if not others:
        return images
    coloured = any(one.shape[-1] >= 3 for one in (*others, images))
    line = np.ones((*images.shape[:2], 1, 3 if coloured else 1))
    parts: list[np.ndarray] = []
    for one in (*others, images):
        shown = one[..., :3] if one.shape[-1] >= 3 else one[..., :1].repeat(line.shape[-1], axis=-1)
        parts += [_as_high(shown, images.shape[1]), line]
    return np.concatenate(parts[:-1], axis=2)


def _as_high(images: np.ndarray, height: int) -> np.ndarray:
    """Images `[count, h, w, channels]` of this height, each pixel the nearest of theirs."""
    _, h, w, _ = images.shape
    width = max(1, round(w * height / h))
    return images[:, np.arange(height) * h // height][:, :, np.arange(width) * w // width]


def film(
    path: Path,
    noisy: Float[np.ndarray, "frames count height width channels"],
    estimates: Float[np.ndarray, "frames count height width channels"],
    captions: Sequence[str] | None = None,
    times: Sequence[float] | None = None,
) -> Path:
    """A film strip: time runs from left to right; each image has a row of x_t and below it one of its estimate.

    Times, one a frame, are written above. Captions, one an image, are drawn below its two rows; an empty one is none.
    Raises ValueError if they are of another number.
    """
    frames, count = noisy.shape[:2]
    pair = np.stack([noisy, estimates], axis=1)  # [frames, 2, count, ...]
    rows = np.moveaxis(pair, (2, 1), (0, 1)).reshape(-1, frames, *noisy.shape[2:])
    captioned, told = _captioned(captions, count), [f"{time:.3g}" for time in times or ()]
    if times is not None and len(told) != frames:
        raise ValueError(f"{len(told)} times for {frames} frames")
    wanted = CAPTIONED_WIDTH // min(2, frames) if captioned else 0
    canvas = tile(rows, GAP, _enlarged(noisy.shape, max(wanted, words.widest(told) + GAP if told else 0)))
    height, inner = (len(canvas) - GAP) // count, canvas.shape[1] - GAP
    below = words.drawn(captions or (), inner, GAP) if captioned else np.zeros((count, 0, inner), np.uint8)
    canvas = _below(canvas, np.pad(below, ((0, 0), (0, APART), (0, 0)), constant_values=PAPER))[:-APART]
    first, block = height + below.shape[1] + GAP, height + below.shape[1] + APART
    if told:
        middles = [GAP + number * block + share * (height // 4) for number in range(count) for share in (1, 3)]
        names = dict(zip(middles, ["x_t", "x_hat"] * count, strict=True))
        bare, canvas = len(canvas), words.ruled(canvas, told, inner // frames, names, GAP)
        first += len(canvas) - bare
    return save(path, canvas, {STRIP: f"{first}"})


def _captioned(captions: Sequence[str] | None, count: int) -> TypeGuard[Sequence[str]]:
    if captions is not None and len(captions) != count:
        raise ValueError(f"{len(captions)} captions for {count} images")
    return words.any_shown(captions)


def _enlarged(shape: tuple[int, ...], wanted: int) -> int:
    """The factor by which images `[..., height, width, channels]` with captions are enlarged at least."""
    height, width, _ = shape[-3:]
    return max(1, min(math.ceil(wanted / width), HIGHEST // height))


def _below(
    canvas: UInt8[np.ndarray, "h w c"], bands: UInt8[np.ndarray, "rows band inner"]
) -> UInt8[np.ndarray, "higher w c"]:
    """A tiled canvas, cut into as many rows as there are bands, with a band below each."""
    _, width, channels = canvas.shape
    rows = canvas[:-GAP].reshape(len(bands), -1, width, channels)
    below = np.full((*bands.shape[:2], width, channels), PAPER, np.uint8)
    below[:, :, :-GAP] = bands[..., None]
    joined = np.concatenate([rows, below], axis=1).reshape(-1, width, channels)
    return np.concatenate([joined, canvas[-GAP:]])
