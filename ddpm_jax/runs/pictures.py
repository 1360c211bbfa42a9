"""Pictures that a person looks at: grids of images and film strips, as PNG."""

import io
import math
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from ddpm_jax.files import write_bytes

PAPER = 255
SMALLEST_SIDE = 32
"""Images are enlarged by a whole factor until their shorter side has at least this many pixels."""


def tile(images: Float[np.ndarray, "rows columns height width channels"], gap: int = 2) -> UInt8[np.ndarray, "h w c"]:
    """Rows and columns of images with values in [-1, 1] as one picture, 0 ... 255, with white gaps."""
    rows, columns, height, width, channels = images.shape
    factor = max(1, math.ceil(SMALLEST_SIDE / min(height, width)))
    pixels = np.clip((np.asarray(images, np.float64) + 1) * 127.5, 0, 255).round().astype(np.uint8)
    pixels = pixels.repeat(factor, axis=2).repeat(factor, axis=3)
    cell_height, cell_width = height * factor + gap, width * factor + gap
    canvas = np.full((rows * cell_height + gap, columns * cell_width + gap, channels), PAPER, np.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = gap + row * cell_height, gap + column * cell_width
            canvas[top : top + height * factor, left : left + width * factor] = pixels[row, column]
    return canvas


def save(path: Path, canvas: UInt8[np.ndarray, "h w c"]) -> Path:
    """Write a picture as PNG, whole or not at all. Three channels are RGB (more are left out), one or two are grey."""
    from PIL import Image

    image = Image.fromarray(canvas[..., 0] if canvas.shape[-1] < 3 else canvas[..., :3])
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    write_bytes(path, content.getvalue())
    return path


def grid(path: Path, images: Float[np.ndarray, "count height width channels"]) -> Path:
    """A picture of `count` images in about as many rows as columns; missing ones at the end are white."""
    count = len(images)
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    padded = np.ones((rows * columns, *images.shape[1:]))
    padded[:count] = images
    return save(path, tile(padded.reshape(rows, columns, *images.shape[1:])))


def film(
    path: Path,
    noisy: Float[np.ndarray, "frames count height width channels"],
    estimates: Float[np.ndarray, "frames count height width channels"],
) -> Path:
    """A film strip: time runs from left to right; each image has a row of x_t and below it one of its estimate."""
    pair = np.stack([noisy, estimates], axis=1)  # [frames, 2, count, ...]
    rows = np.moveaxis(pair, (2, 1), (0, 1)).reshape(-1, len(noisy), *noisy.shape[2:])
    return save(path, tile(rows))
