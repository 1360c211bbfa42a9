"""The one font of all pictures, and text that it can show."""

import logging
import os
from functools import cache
from pathlib import Path
from typing import Any

from ddpm_jax.cache import cache_folder
from ddpm_jax.runs.shown import clean, escape

FAMILY, MOST = "DejaVu Sans", 60
"""Comes with matplotlib. Characters of a label at most."""


@cache
def quiet_matplotlib() -> Any:
    """Matplotlib, which keeps what it keeps in our cache and not in the user's home, and says nothing of it."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    if folder := cache_folder():
        os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))
    import matplotlib

    return matplotlib


@cache
def file() -> Path:
    """Where the font is."""
    matplotlib = quiet_matplotlib()
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


@cache
def _characters() -> frozenset[int]:
    quiet_matplotlib()
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(file())).get_charmap())


@cache
def of_size(size: int) -> Any:
    """The font as Pillow draws it, `size` pixels high."""
    from PIL import ImageFont

    return ImageFont.truetype(str(file()), size)


def legible(text: str, most: int = MOST) -> str:
    """The text as a label of a picture: in one line, short, with escapes for what the font has not."""
    return "".join(one if ord(one) in _characters() else escape(one) for one in clean(text, most))
