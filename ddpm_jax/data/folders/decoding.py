"""One picture: from the bytes of its file to levels of the form asked for."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from ddpm_jax.errors import one_line

VERSION = 1
"""Of what is made of a file: part of what the cache keeps, and of what a run knows its data by."""

Image.init()
FORMATS = tuple(
    name
    for name in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "AVIF", "JPEG2000")
    if name in Image.OPEN  # Pillow may be built without some
)
"""As Pillow names them. Others run programs (EPS), or are no pictures."""

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's, by channels."""

SIXTEEN_BITS = ("PNG", "PPM")
"""Formats that Pillow may read into mode I though they have 16 bits."""


class Unreadable(Exception):
    """A file is no picture that can be read. Its text is the reason, in a few words."""


@dataclass(frozen=True)
class Form:
    """What every picture is brought into.

    Attributes:
        size: of both sides; the shorter side becomes this, and the middle is kept. 0: as it is.
        channels: 1, 3, or 4 with alpha; 0: 3, of which one is enough where no picture has colour.
        background: what transparent pictures are laid on, unless alpha is kept.
    """

    size: int = 0
    channels: int = 0
    background: tuple[int, int, int] = (255, 255, 255)

    @property
    def kept(self) -> int:
        """Channels of a picture that is decoded."""
        return self.channels or 3


@dataclass(frozen=True)
class Picture:
    """A picture that was decoded.

    Attributes:
        pixels: `[height, width, channels]`.
        size: width and height before it was brought into its form, the right way up.
    """

    pixels: UInt8[np.ndarray, "height width channels"]
    size: tuple[int, int]


def decode(content: bytes, form: Form) -> Picture:
    """A file's picture: the first of several, the right way up (EXIF), 8 bits, in the form.

    16 bits v become v/257, rounded. Of a colour with alpha a, `(a colour + (255 - a) background)/255` is left.
    Sides are resized by Lanczos' filter over the source's pixels, which is antialiased, by one factor for both.

    Raises:
        Unreadable: it is none, or not whole.
    """
    try:
        with _opened(content) as opened:
            size = _upright(opened)
            if form.size:
                opened.draft(None, (2 * form.size, 2 * form.size))  # a JPEG is read at a coarser scale, far above ours
            kind = opened.format
            return Picture(fitted(eight_bits(ImageOps.exif_transpose(opened), kind), form), size)
    except (Unreadable, MemoryError):
        raise
    except Exception as error:  # Pillow raises many types for damaged files
        raise Unreadable(reason(error)) from error


def measure(content: bytes) -> tuple[int, int]:
    """Width and height of a picture, the right way up, by its header alone.

    Raises:
        Unreadable: it has none.
    """
    try:
        with _opened(content) as image:
            return _upright(image)
    except (Unreadable, MemoryError):
        raise
    except Exception as error:
        raise Unreadable(reason(error)) from error


ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)
"""The EXIF tag, and its values for pictures that lie on a side."""


def _upright(image: Image.Image) -> tuple[int, int]:
    """Width and height of the picture as it is to be looked at; of a TIFF Pillow says them so itself."""
    width, height = image.size
    turned = image.format != "TIFF" and image.getexif().get(ORIENTATION) in SIDEWAYS
    return (height, width) if turned else (width, height)


def _opened(content: bytes) -> Image.Image:
    if not content:
        raise Unreadable("it is empty")
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.UnidentifiedImageError as error:
        raise Unreadable("it is no picture that Pillow reads") from error


def reason(error: Exception) -> str:
    """What Pillow says, in a few words."""
    words = one_line(error)[:100] or type(error).__name__
    return "it is cut off" if "truncated" in words.lower() else words


def eight_bits(image: Image.Image, kind: str | None = None) -> Image.Image:
    """A picture of mode L, RGB or RGBA; `kind` is the format of its file.

    Raises:
        Unreadable: it holds numbers that have no highest one.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and kind in SIXTEEN_BITS):
        values = np.asarray(image).astype(np.int64)
        return Image.fromarray(((values + 128) // 257).clip(0, 255).astype(np.uint8))
    if image.mode in ("I", "F"):
        kind = "whole numbers of 32 bits" if image.mode == "I" else "real numbers"
        raise Unreadable(f"it holds {kind}; save it with 8 or 16 bits")
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def fitted(image: Image.Image, form: Form) -> UInt8[np.ndarray, "height width channels"]:
    """A picture of 8 bits, in the form."""
    if image.mode == "RGBA" and form.channels != 4:
        ground = Image.new("RGBA", image.size, (*form.background, 255))
        image = Image.alpha_composite(ground, image).convert("RGB")
    mode: Any = MODES[form.kept]
    image = image.convert(mode)
    if form.size and image.size != (form.size, form.size):
        image = ImageOps.fit(image, (form.size, form.size), Image.Resampling.LANCZOS)
    pixels = np.asarray(image)
    return pixels.reshape(*pixels.shape[:2], form.kept)
