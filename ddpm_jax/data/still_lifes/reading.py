"""The oracle: what a picture shows, read from its pixels alone, by analysis by synthesis.

What lies behind is fitted first (`ground`). What differs from it falls apart into regions. Each region is compared with
drawings of every kind, length, turn and place (`templates`), and is the nearest one; or nothing that is known, where
even that is far. No network is trained, and nothing is learnt from any model's pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from scipy import ndimage

from ddpm_jax.data.still_lifes.drawing import HUES, _rgb
from ddpm_jax.data.still_lifes.grammar import COLOURS, KINDS, SIZES
from ddpm_jax.data.still_lifes.ground import behind, in_plane
from ddpm_jax.data.still_lifes.layout import SIDE
from ddpm_jax.data.still_lifes.templates import bank, fit

FAINT = 0.16  # a difference from what lies behind that is no thing's
CORE = 0.45  # of its greatest difference: what a thing's inner pixels reach
LEAST = 1.5  # area of a thing, in sixteenths of the side squared
KNOWN = 0.2  # the greatest misfit, as a share of the region's energy, of a thing that is known
_CHUNK = 256


@dataclass(frozen=True)
class Found:
    """A thing in a picture; kind and size are None where it is like nothing that is known.

    x and y are in sixteenths of the side; misfit is the share of the region that the nearest drawing leaves.
    """

    kind: str | None
    colour: str
    size: str | None
    x: float
    y: float
    misfit: float


@dataclass(frozen=True)
class Reading:
    """What one picture shows: its things, from left to right, and the colour of its plate or None."""

    things: tuple[Found, ...]
    plate: str | None = None


def read(images: UInt8[np.ndarray, "n size size 3"]) -> list[Reading]:
    """What each picture shows. Pictures are squares of 16 pixels a side or more, levels 0 to 255."""
    readings = []
    for start in range(0, len(images), _CHUNK):
        readings += _read(np.asarray(images[start : start + _CHUNK], np.float32) / 255)
    return readings


def _read(images: Float32[np.ndarray, "n s s 3"]) -> list[Reading]:
    ground = behind(images)
    difference = (images - ground.colours) * ground.open[..., None]
    strength = np.sqrt((difference**2).sum(-1))
    faint, _ = ndimage.label(strength > FAINT, in_plane(True))
    whole, parts = _regions(strength, faint)
    plates = _colours(ground.plate)
    found: list[list[Found]] = [[] for _ in images]
    size = images.shape[1]
    of_whole = _explain(difference, ground.colours, strength, whole, size)
    of_parts = _explain(difference, ground.colours, strength, parts, size)
    owner = _owners(whole, parts, len(of_parts))
    halves: dict[int, list[int]] = {}
    for part, one in enumerate(owner.tolist()):
        halves.setdefault(one, []).append(part)
    for one, (place, thing, left, energy) in enumerate(of_whole):
        split = [of_parts[part] for part in halves.get(one, [])]
        apart = all(part[1].kind for part in split) and sum(part[2] for part in split) < 0.7 * left
        if len(split) > 1 and (apart or not thing.kind):
            found[place] += [part[1] for part in split]
        else:
            found[place].append(thing)
    return [
        Reading(tuple(sorted(things, key=lambda thing: thing.x)), COLOURS[plates[place]] if plated else None)
        for place, (things, plated) in enumerate(zip(found, ground.plated, strict=True))
    ]


def _regions(strength: np.ndarray, faint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two labellings [n, s, s] of what differs: whole regions, and regions cut at their faint places.

    Too small ones are left out. Labels are 1, 2 ... without gaps.
    """
    size = strength.shape[-1]
    least = LEAST * (size / SIDE) ** 2
    peak = np.concatenate([[1.0], ndimage.maximum(strength, faint, np.arange(1, faint.max() + 1))]) if faint.max() else np.ones(1)
    share = np.where(faint > 0, strength / peak[faint], 0)
    area = np.bincount(faint.ravel(), share.ravel())
    kept = area >= least
    kept[0] = False
    whole = (np.cumsum(kept) * kept)[faint]
    cores, count = ndimage.label((share > CORE) & (whole > 0), in_plane())
    big = np.bincount(cores.ravel(), share.ravel(), count + 1) >= least
    big[0] = False
    cores = (np.cumsum(big) * big)[cores]
    # every pixel of a region is its nearest core's
    far = ndimage.distance_transform_edt(cores == 0, (1e4, 1, 1), return_distances=False, return_indices=True)
    parts = np.where(whole > 0, cores[tuple(far)], 0) if cores.max() else np.zeros_like(whole)
    return whole, parts


def _owners(whole: np.ndarray, parts: np.ndarray, count: int) -> np.ndarray:
    """The whole region (from 0) that each part (from 0) lies in: the one of most of its pixels."""
    owner = np.zeros(count, np.int64)
    inside = parts > 0
    owner[parts[inside] - 1] = whole[inside] - 1
    return owner


def _explain(
    difference: np.ndarray, behind_: np.ndarray, strength: np.ndarray, labels: np.ndarray, size: int
) -> list[tuple[int, Found, float, float]]:
    """For each region: its picture, the thing it is nearest to, the misfit and the energy."""
    count = int(labels.max())
    if not count:
        return []
    known = bank(size)
    side, half = known.pixels, known.pixels // 2
    index = np.arange(1, count + 1)
    mass = np.bincount(labels.ravel(), strength.ravel(), count + 1)[1:]
    energy = np.bincount(labels.ravel(), (strength**2).ravel(), count + 1)[1:]
    grid = np.indices(labels.shape)
    place = np.bincount(labels.ravel(), grid[0].ravel(), count + 1)[1:] / np.bincount(labels.ravel(), None, count + 1)[1:]
    place = np.round(place).astype(np.int64)
    cy, cx = (np.bincount(labels.ravel(), (strength * (axis + 0.5)).ravel(), count + 1)[1:] / mass for axis in grid[1:])
    row, column = np.floor(cy).astype(np.int64), np.floor(cx).astype(np.int64)
    pad = ((0, 0), (side, side), (side, side))
    square = np.arange(side)
    at = (
        place[:, None, None],
        (row[:, None] + side - half + square)[:, :, None],
        (column[:, None] + side - half + square)[:, None, :],
    )
    labels_near = np.pad(labels, pad)[at]
    own = labels_near == index[:, None, None]
    own = ndimage.binary_dilation(own, in_plane()) & ((labels_near == 0) | own)
    squares = np.pad(difference, (*pad, (0, 0)))[at] * own[..., None]
    under = behind_[place, np.clip(row, 0, size - 1), np.clip(column, 0, size - 1)]
    best, misfit, colour = fit(known, squares, under)
    inside = (squares**2).sum((1, 2, 3))
    misfit = misfit + np.maximum(energy - inside, 0)
    total = np.maximum(energy, inside)
    names = _colours(colour)
    unit = SIDE / size
    found = []
    for one in range(count):
        share = float(misfit[one] / total[one])
        template = best[one]
        sure = share < KNOWN
        found.append(
            (
                int(place[one]),
                Found(
                    KINDS[known.kinds[template]] if sure else None,
                    COLOURS[names[one]],
                    SIZES[known.sizes[template]] if sure else None,
                    float((column[one] + 0.5) * unit + known.offsets[template, 0]),
                    float((row[one] + 0.5) * unit + known.offsets[template, 1]),
                    share,
                ),
                float(misfit[one]),
                float(energy[one]),
            )
        )
    return found


def _colours(rgb: Float32[np.ndarray, "n 3"]) -> np.ndarray:
    """The number of the colour that each is nearest to, whatever its brightness."""
    table = _rgb(*np.array([HUES[name] for name in COLOURS]).T)
    table = table / table.max(-1, keepdims=True)
    rgb = np.clip(rgb, 0, None)
    rgb = rgb / np.maximum(rgb.max(-1, keepdims=True), 1e-3)
    return ((rgb[:, None] - table) ** 2).sum(-1).argmin(-1)
