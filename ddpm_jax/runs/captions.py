"""Words as pixels, black on white: captions under pictures, in a few lines of their width, and names beside them."""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ddpm_jax.runs import fonts

SIZE, LINE, LINES = 11, 14, 3
"""Of the font; pixels from a line to the next; lines of a caption at most."""

ABOVE, BELOW, BESIDE = 3, 7, 6
"""White pixels over a caption, under it, and between it and its neighbour on the right."""

SMALL = 10
"""Of the font of what stands above and beside."""

MOST, PAPER = 1000, 255
"""Characters of a caption that are looked at: more than three lines of any screen's width have."""


def any_shown(captions: Sequence[str] | None) -> bool:
    """Whether there is something to draw: captions that are empty, or spaces only, are none."""
    return captions is not None and any(map(fonts.legible, captions))


def drawn(captions: Sequence[str], width: int, left: int = 0) -> UInt8[np.ndarray, "count height {width}"]:
    """A grey picture of each caption, which starts `left` pixels from its left side.

    They have one height, which the longest of them needs, so that rows align.

    Characters that do not show, or that the font has not, are written as escapes. A caption that is too long for
    `LINES` lines ends in an ellipsis.
    """
    from PIL import Image, ImageDraw

    font = fonts.of_size(SIZE)
    texts = [wrapped(fonts.legible(caption, MOST), font, width - left - BESIDE) for caption in captions]
    height = ABOVE + LINE * max(map(len, texts), default=0) + BELOW
    found = np.full((len(texts), height, width), PAPER, np.uint8)
    for number, lines in enumerate(texts):
        canvas = Image.new("L", (width, height), PAPER)
        draw = ImageDraw.Draw(canvas)
        for place, line in enumerate(lines):
            draw.text((left, ABOVE + LINE * place), line, fill=0, font=font)
        found[number] = np.asarray(canvas)
    return found


def wrapped(text: str, font: Any, width: int, most: int = LINES) -> list[str]:
    """The text in lines that are not wider than `width` pixels: between words where it can be, and `most` at most."""
    lines, rest = [], text.strip()
    while rest:
        if font.getlength(rest) <= width:
            return [*lines, rest]
        if len(lines) == most - 1:
            kept = bisect_right(range(1, len(rest)), width, key=lambda count: font.getlength(f"{rest[:count]}…"))
            return [*lines, f"{rest[:kept].rstrip()}…"]
        fit = max(1, bisect_right(range(1, len(rest)), width, key=lambda count: font.getlength(rest[:count])))
        end = rest.rfind(" ", 0, fit + 1)  # a space right behind what fits ends a word as well
        lines.append(rest[: end if end > 0 else fit].rstrip())
        rest = rest[end if end > 0 else fit :].lstrip()
    return lines


def widest(names: Sequence[str]) -> int:
    """The pixels that the widest of them takes above or beside a picture."""
    font = fonts.of_size(SMALL)
    return max((math.ceil(font.getlength(fonts.legible(name))) for name in names), default=0)


def ruled(
    canvas: UInt8[np.ndarray, "h w c"], times: Sequence[str], column: int, names: Mapping[int, str], gap: int
) -> UInt8[np.ndarray, "higher wider c"]:
    """A picture of columns with a time above each, and names to its left.

    Args:
        canvas: whose first column begins `gap` pixels from its left side.
        times: from left to right.
        column: from the start of a column to that of the next.
        names: by the row of pixels that each stands beside.
        gap: pixels between columns.
    """
    from PIL import Image, ImageDraw

    left, top = widest([*names.values(), "t"]) + 2 * BESIDE, LINE + ABOVE
    sheet = Image.new("L", (left + canvas.shape[1], top + len(canvas)), PAPER)
    draw, font = ImageDraw.Draw(sheet), fonts.of_size(SMALL)
    draw.text((left - BESIDE, top // 2), "t", fill=0, font=font, anchor="rm")
    for number, time in enumerate(times):
        middle = left + gap + number * column + (column - gap) // 2
        draw.text((middle, top // 2), fonts.legible(time), fill=0, font=font, anchor="mm")
    for row, name in names.items():
        draw.text((left - BESIDE, top + row), fonts.legible(name), fill=0, font=font, anchor="rm")
    whole = np.asarray(sheet)[..., None].repeat(canvas.shape[-1], axis=-1)
    whole[top:, left:] = canvas
    return whole
