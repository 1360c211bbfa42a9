"""Pictures of all groups below one another: rows of samples, and how a sample comes about."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ddpm_jax import pictures
from ddpm_jax.files import write_bytes
from ddpm_jax.reporting.groups import Group
from ddpm_jax.reporting.ledger import Run
from ddpm_jax.reporting.png import fitting

SHOWN, GRID_ROWS, FILM_ROWS = 16, 8, 12
"""Samples a group; rows of images in a run's `samples.png` (of 64), and in its `film.png` (two for each of six)."""

GAP, FONT, PAPER = 6, 15, 255

Strip = UInt8[np.ndarray, "height width 3"]


def samples(path: Path, groups: Sequence[Group]) -> list[str]:
    """A row of samples of each group that has some, as PNG; the labels of those groups. Writes nothing if none has."""
    return _stack(path, groups, _row_of_samples)


def films(path: Path, groups: Sequence[Group]) -> list[str]:
    """The first image of each group's film strip, as PNG; the labels of those groups. Writes nothing if none has."""
    return _stack(path, groups, _first_of_film)


def _row_of_samples(run: Run) -> Strip | None:
    if (canvas := _read(run.folder / "samples.png")) is not None:
        height = (len(canvas) - 2) // GRID_ROWS
        return np.concatenate([canvas[: height + 2], canvas[height : 2 * height + 2, 2:]], axis=1)
    try:
        images = np.load(run.folder / "samples" / "seed0.npz")["images"][:SHOWN]
        if images.ndim != 4:
            return None
        return _colours(pictures.tile((images / max(images.max(), 1) * 2 - 1)[None]))
    except (OSError, ValueError, KeyError):
        return None


def _first_of_film(run: Run) -> Strip | None:
    canvas = _read(run.folder / "film.png")
    return None if canvas is None else canvas[: 2 * ((len(canvas) - 2) // FILM_ROWS) + 2]


def _read(path: Path) -> Strip | None:
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError):  # not there, or cut off
        return None


def _colours(canvas: UInt8[np.ndarray, "h w c"]) -> Strip:
    return canvas[..., :3] if canvas.shape[-1] >= 3 else canvas[..., :1].repeat(3, axis=-1)


def _stack(path: Path, groups: Sequence[Group], strip: Callable[[Run], Strip | None]) -> list[str]:
    from PIL import Image, ImageDraw, ImageFont

    found = {}
    for one in groups:
        if (row := next((row for row in map(strip, one.runs) if row is not None), None)) is not None:
            found[one.label] = row
    if not found:
        return []
    font = ImageFont.load_default(FONT)
    left = max(round(font.getlength(label)) for label in found) + 3 * GAP
    width = left + max(row.shape[1] for row in found.values()) + GAP
    height = sum(len(row) + GAP for row in found.values()) + GAP
    canvas = Image.new("RGB", (width, height), (PAPER, PAPER, PAPER))
    draw, top = ImageDraw.Draw(canvas), GAP
    for label, row in found.items():
        draw.text((left - 2 * GAP, top + len(row) // 2), label, fill=(0, 0, 0), font=font, anchor="rm")
        canvas.paste(Image.fromarray(np.ascontiguousarray(row)), (left, top))
        top += len(row) + GAP
    write_bytes(path, fitting(canvas))
    return list(found)
