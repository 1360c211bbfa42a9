"""Single things as pixels: how much of each they cover, how their parts are lit, and the shadow that they throw."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from ddpm_jax.data.still_lifes.layout import LENGTHS, SIDE, TURN, Thing
from ddpm_jax.data.still_lifes.shapes import SHAPES

_SHIFT = np.float32(0.09)  # of a shadow, as a share of the thing's length
_SOFT = 1.2  # how wide a shadow's edge is
_REACH = LENGTHS["large"][1] * (np.cos(TURN) + np.sin(TURN)) + 1.2  # the side of a square round any thing and shadow


class Patches(NamedTuple):
    """Things drawn each in a square of p * p pixels, whose corner is pixel (left, top) of the picture.

    cover is the share of each pixel that is the thing's; colour and pale are the light that its coloured and its pale
    parts give, at most the share of the pixel that is theirs times 1.1; shadow is the share of light it takes.
    """

    cover: Float32[np.ndarray, "n p p"]
    colour: Float32[np.ndarray, "n p p"]
    pale: Float32[np.ndarray, "n p p"]
    shadow: Float32[np.ndarray, "n p p"]
    left: Int64[np.ndarray, " n"]
    top: Int64[np.ndarray, " n"]


def rasterise(things: Sequence[Thing], light: Float32[np.ndarray, "n 2"], size: int) -> Patches:
    """Each thing in its own square, lit from `light`, a direction whose length is the strength.

    Points of a grid finer than pixels are averaged, and each is anti-aliased by its distance to the outline.
    """
    scale = size / SIDE
    pixels = int(np.ceil(_REACH * scale))
    fine = 3 if size < 24 else 2
    x, y, length, turn = np.array([(one.x, one.y, one.length, one.turn) for one in things], np.float64).T
    left, top = (np.floor(middle * scale - pixels / 2 + 0.5).astype(np.int64) for middle in (x, y))
    from_x, from_y = ((corner - middle * scale)[:, None, None] for corner, middle in ((left, x), (top, y)))
    places = np.stack([np.cos(turn), np.sin(turn), length * scale], -1).astype(np.float32)
    ticks = ((np.arange(pixels * fine) + 0.5) / fine).astype(np.float32)
    out = np.empty((4, len(things), pixels, pixels), np.float32)
    kinds = np.array([thing.kind for thing in things])
    for kind, shape in SHAPES.items():
        here = np.flatnonzero(kinds == kind)
        if not len(here):
            continue
        c, s, unit = places[here].T[:, :, None, None]
        lx, ly = light[here].T[:, :, None, None]
        dx = (from_x[here].astype(np.float32) + ticks) / unit
        dy = (from_y[here].astype(np.float32) + ticks[:, None]) / unit
        across, down = c * dx + s * dy, c * dy - s * dx
        surface = shape(across, down)
        cover = np.clip(0.5 - surface.distance * unit * fine, 0, 1)
        lit = cover * surface.tone * np.clip(0.94 + 0.5 * (dx * lx + dy * ly) - 0.3 * (dx * dx + dy * dy), 0, 1.1)
        away_x, away_y = _SHIFT * (c * lx + s * ly), _SHIFT * (c * ly - s * lx)
        shadow = np.clip(0.5 - shape(across + away_x, down + away_y).distance * unit / np.float32(_SOFT * scale), 0, 1)
        for target, points in zip(out, (cover, lit * (1 - surface.pale), lit * surface.pale, shadow), strict=True):
            target[here] = points.reshape(len(here), pixels, fine, pixels, fine).mean((2, 4))
    return Patches(out[0], out[1], out[2], out[3], left, top)
