"""Pictures of all groups below one another: rows of samples, and how a sample comes about."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ddpm_jax.files import write_bytes
from ddpm_jax.reporting import images
from ddpm_jax.reporting.groups import Group
from ddpm_jax.reporting.images import Strip
from ddpm_jax.reporting.png import fitting
from ddpm_jax.runs import fonts

GAP, FONT, PAPER = 6, 13, 255


def samples(path: Path, groups: Sequence[Group]) -> list[str]:
    """A row of samples of each group that has some, as PNG; the labels of those groups. Writes nothing if none has."""
    return _stack(path, groups, images.samples)


def films(path: Path, groups: Sequence[Group]) -> list[str]:
    """The first image of each group's film strip, as PNG; the labels of those groups. Writes nothing if none has."""
    return _stack(path, groups, images.film)


def _stack(path: Path, groups: Sequence[Group], strip: Callable[[Path], Strip | None]) -> list[str]:
    from PIL import Image, ImageDraw

    found = {}
    for one in groups:
        rows = (strip(run.folder) for run in one.runs)
        if (row := next((row for row in rows if row is not None), None)) is not None:
            found[one.label] = row
    if not found:
        return []
    font = fonts.of_size(FONT)
    left = max(round(font.getlength(fonts.legible(label))) for label in found) + 3 * GAP
    width = left + max(row.shape[1] for row in found.values()) + GAP
    height = sum(len(row) + GAP for row in found.values()) + GAP
    canvas = Image.new("RGB", (width, height), (PAPER, PAPER, PAPER))
    draw, top = ImageDraw.Draw(canvas), GAP
    for label, row in found.items():
        words = fonts.legible(label)
        draw.text((left - 2 * GAP, top + len(row) // 2), words, fill=(0, 0, 0), font=font, anchor="rm")
        canvas.paste(Image.fromarray(np.ascontiguousarray(row)), (left, top))
        top += len(row) + GAP
    write_bytes(path, fitting(canvas))
    return list(found)
