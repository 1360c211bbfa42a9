"""PNG files that are small enough to be kept in a repository."""

import io
from typing import Any

LARGEST = 300_000
"""Bytes of a picture at most."""


def fitting(image: Any) -> bytes:
    """A PIL image as PNG of at most `LARGEST` bytes: with fewer colours, and then fewer pixels, if it must be."""
    from PIL import Image

    content = _png(image)
    if len(content) > LARGEST:
        content = _png(_few_colours(image))
    size = image.size
    while len(content) > LARGEST:
        size = (round(size[0] * 0.85), round(size[1] * 0.85))
        content = _png(_few_colours(image.resize(size, Image.Resampling.LANCZOS)))
    return content


def _few_colours(image: Any) -> Any:
    from PIL import Image

    return image.convert("RGB").quantize(128, dither=Image.Dither.NONE)


def _png(image: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    return content.getvalue()
