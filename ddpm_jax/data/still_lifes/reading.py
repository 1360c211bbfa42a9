"""The oracle: what a picture shows, read from its pixels alone, by analysis by synthesis.

What lies behind is fitted first (`ground`). What differs from it falls apart into regions. Each region is compared with
drawings of every kind, length, turn and place (`templates`), and is the nearest one; or nothing that is known, where
even that is far. No network is trained, and nothing is learnt from any model's pictures.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from scipy import ndimage

from ddpm_jax.data.still_lifes.colours import nearest_colour
from ddpm_jax.data.still_lifes.grammar import KINDS, SIZES
from ddpm_jax.data.still_lifes.ground import behind, connected, in_plane
from ddpm_jax.data.still_lifes.layout import SIDE
from ddpm_jax.data.still_lifes.templates import bank, fit

FAINT = 0.12  # a difference from what lies behind that is no thing's
CLEAR = 0.2  # a difference that some pixel of every thing has
REST = 0.2  # of a region's greatest difference: what is less is no part of it
CORE = 0.45  # of its greatest difference: what a thing's inner pixels reach
LEAST = 1.5  # area of a thing, in sixteenths of the side squared
NOISE = 0.12  # the largest standard deviation of noise that is allowed for
KNOWN = 0.15  # the greatest misfit, as a share of the region's energy, of a thing that is known
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
    """What one picture shows: its things, from left to right, and the colour of its plate or None.

    area is the share of the picture that things cover.
    """

    things: tuple[Found, ...]
    plate: str | None = None
    area: float = 0.0


def read(images: UInt8[np.ndarray, "n size size 3"]) -> list[Reading]:
    """What each picture shows. Pictures are squares of 16 pixels a side or more, levels 0 to 255."""
    readings = []
    for start in range(0, len(images), _CHUNK):
        readings += _read(np.asarray(images[start : start + _CHUNK], np.float32) / 255)
    return readings


def _read(images: Float32[np.ndarray, "n s s 3"]) -> list[Reading]:
    ground = behind(images)
    difference = images - ground.colours
    # of a normal law 30 % lie within 0.385 standard deviations; most of a picture is ground
    noise = np.minimum(np.quantile(np.abs(difference).reshape(len(images), -1), 0.3, axis=1) / 0.385, NOISE)
    difference = difference * ground.open[..., None]
    strength = np.sqrt((difference**2).sum(-1))
    faint = connected(strength > np.maximum(FAINT, 4 * noise)[:, None, None], corners=True)
    whole, parts = _regions(strength, faint, np.maximum(CLEAR, 5 * noise))
    plates = nearest_colour(ground.plate)
    found: list[list[Found]] = [[] for _ in images]
    areas = (whole > 0).mean((1, 2)).tolist()
    regions = _explain(difference, ground.colours, whole, noise)
    pieces = _explain(difference, ground.colours, parts, noise)
    inside = parts > 0
    of_region = dict(zip((parts[inside] - 1).tolist(), (whole[inside] - 1).tolist(), strict=True))
    for number, region in enumerate(regions):
        split = [piece for part, piece in enumerate(pieces) if of_region[part] == number]
        found[region.place] += [one.thing for one in _whole_or_split(region, split)]
    return [
        Reading(tuple(sorted(things, key=lambda thing: thing.x)), plates[place] if plated else None, area)
        for place, (things, plated, area) in enumerate(zip(found, ground.plated, areas, strict=True))
    ]


class _Region(NamedTuple):
    """A region: its picture, the thing that explains it best, and the misfit."""

    place: int
    thing: Found
    misfit: float


def _whole_or_split(region: _Region, split: list[_Region]) -> list[_Region]:
    """A region as one thing, or as several where it is nothing that is known, or they explain it much better."""
    if len(split) < 2:
        return [region]
    better = all(one.thing.kind for one in split) and sum(one.misfit for one in split) < 0.7 * region.misfit
    return split if better or not region.thing.kind else [region]


def _regions(strength: np.ndarray, faint: np.ndarray, clear: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels [n, s, s] from 1 on, without gaps: of the regions, and of the parts of those that have several cores.

    Regions and cores that are too small for a thing are left out, and regions that are nowhere `clear` [n].
    """
    least = LEAST * (strength.shape[-1] / SIDE) ** 2
    numbers = np.arange(1, faint.max() + 1)
    peak, excess = np.ones(len(numbers) + 1), np.ones(len(numbers) + 1)
    peak[1:] = ndimage.maximum(strength, faint, numbers)
    excess[1:] = ndimage.maximum(strength - clear[:, None, None], faint, numbers)
    share = np.where(faint > 0, strength / peak[faint], 0)
    faint = np.where(share > REST, faint, 0)
    whole = _renumbered(faint, (np.bincount(faint.ravel(), share.ravel(), len(peak)) >= least) & (excess > 0))
    cores = connected((share > CORE) & (whole > 0))
    cores = _renumbered(cores, np.bincount(cores.ravel(), share.ravel()) >= least)
    region = np.zeros(cores.max() + 1, np.int64)  # of each core
    region[cores] = whole
    region[0] = 0
    several = np.bincount(region)[region] > 1
    cores = _renumbered(cores, several)
    if not cores.max():
        return whole, np.zeros_like(whole)
    # every pixel of a region is its nearest core's
    nearest = np.empty((3, *cores.shape), np.int32)
    ndimage.distance_transform_edt(
        cores == 0, (1e4, 1, 1), return_distances=False, return_indices=True, indices=nearest
    )
    of_core = np.isin(whole, region[1:][several[1:]])
    return whole, np.where(of_core, cores[tuple(nearest)], 0)


def _renumbered(labels: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The labels that are kept, as 1, 2 ...; others, and 0, become 0."""
    kept = kept.copy()
    kept[0] = False
    return (np.cumsum(kept) * kept)[labels]


def _explain(difference: np.ndarray, colours: np.ndarray, labels: np.ndarray, noise: np.ndarray) -> list[_Region]:
    """What each region is, given what differs from what lies behind, its colours, and the noise of each picture."""
    count, size = int(labels.max()), labels.shape[-1]
    if not count:
        return []
    known = bank(size)
    side, half, unit = known.pixels, known.pixels // 2, SIDE / size
    pixels = np.nonzero(labels)
    label = labels[pixels] - 1
    weight = (difference[pixels] ** 2).sum(-1)
    place = np.zeros(count, np.int64)
    place[label] = pixels[0]
    mass = np.bincount(label, np.sqrt(weight), count)
    row, column = (
        np.floor(np.bincount(label, np.sqrt(weight) * (axis + 0.5), count) / mass).astype(np.int64)
        for axis in pixels[1:]
    )
    corner = side - half + np.arange(side)
    at = (place[:, None, None], (row[:, None] + corner)[:, :, None], (column[:, None] + corner)[:, None, :])
    pad = ((0, 0), (side, side), (side, side))
    near = np.pad(labels, pad)[at]
    own = near == np.arange(1, count + 1)[:, None, None]
    own |= ndimage.binary_dilation(own, in_plane()) & (near == 0)
    squares = np.pad(difference, (*pad, (0, 0)))[at] * own[..., None]
    found = fit(known, squares, colours[place, row, column])
    inside = (squares**2).sum((1, 2, 3))
    energy = np.maximum(np.bincount(label, weight, count), inside)
    of_noise = 3 * noise[place] ** 2 * own.sum((1, 2))
    misfit = np.maximum(found.misfit - of_noise, 0) + energy - inside
    shares = misfit / np.maximum(energy - of_noise, misfit)
    names = nearest_colour(found.colour)
    regions = []
    for one, (template, kind) in enumerate(zip(found.template, found.kind, strict=True)):
        share = float(shares[one])
        dx, dy = known.offsets[template].tolist()
        thing = Found(
            kind=KINDS[kind] if share < KNOWN else None,
            colour=names[one],
            size=SIZES[known.sizes[template]] if share < KNOWN else None,
            x=float(column[one] + 0.5) * unit + dx,
            y=float(row[one] + 0.5) * unit + dy,
            misfit=share,
        )
        regions.append(_Region(int(place[one]), thing, float(misfit[one])))
    return regions
