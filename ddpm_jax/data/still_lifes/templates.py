"""What each kind looks like at every length, turn and place within a pixel, and which of these a region is nearest to.

A region E of a picture less its ground b is explained by a template with cover a, coloured part s and pale part w as
E = s c + w p - a b, where p is the colour of pale parts. The colour c that fits best has a closed form, so that the
misfit |E - (s c + w p - a b)|^2 of every template is a few products of matrices.
"""

import functools
import itertools
import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64
from scipy import ndimage

from ddpm_jax.data.still_lifes.colours import PALE
from ddpm_jax.data.still_lifes.grammar import KINDS, SIZES
from ddpm_jax.data.still_lifes.layout import LENGTHS, SIDE, TURN, Thing
from ddpm_jax.data.still_lifes.raster import rasterise

_PALE = 0.95 * PALE  # in the mean over lights
_TURNS = (-0.8, 0.0, 0.8)  # of TURN
_STEPS = np.arange(-2, 3) * 0.28  # of places, in sixteenths of the side
_BLURS = (0.0, 0.35, 0.65)  # standard deviations, in sixteenths of the side
_KEPT = 0.9995  # of the templates' energy in their subspace


@dataclass(frozen=True)
class Bank:
    """All templates of a picture size, m of them in squares of p * p = q pixels; as many of each kind, kind by kind.

    Args:
        pixels: p.
        sizes: the number of each one's size.
        offsets: its box's centre relative to the middle of its square, in sixteenths of the side.
        maps: its cover, coloured and pale part.
        basis: an orthonormal basis of the subspace that they nearly lie in.
        projected: the maps in it.
        products: their inner products <s, s>, <a, a>, <w, w>, <a, w>, <a, s>, <w, s>.
    """

    pixels: int
    sizes: Int64[np.ndarray, " m"]
    offsets: Float32[np.ndarray, "m 2"]
    maps: Float32[np.ndarray, "3 m q"]
    basis: Float32[np.ndarray, "q k"]
    projected: Float32[np.ndarray, "3 k m"]
    products: Float32[np.ndarray, "6 m"]


class Fit(NamedTuple):
    """The template that explains each region best: its number, its kind's, the misfit that is left and the colour."""

    template: Int64[np.ndarray, " n"]
    kind: Int64[np.ndarray, " n"]
    misfit: Float32[np.ndarray, " n"]
    colour: Float32[np.ndarray, "n 3"]


@functools.cache
def bank(size: int) -> Bank:
    """The templates for pictures of this many pixels a side, made once."""
    things = []
    for kind, (name, (low, high)), turn in itertools.product(KINDS, LENGTHS.items(), _TURNS):
        for length in np.linspace(low, high, 3 if name == "small" else 4):
            things.append(Thing(0, kind, "red", name, float(length), TURN * turn, SIDE / 2, SIDE / 2))
    middle = SIDE / 2 + SIDE / size / 2  # of the square's middle pixel
    moved, offsets = [], []
    for thing, centroid in zip(things, _centroids(things, size), strict=True):
        for step in itertools.product(_STEPS, _STEPS):
            x, y = step - centroid  # so that its centroid is a step from the middle
            offsets.append((x, y))
            moved.append(replace(thing, x=middle + x, y=middle + y))
    sharp = _squares(moved, size)
    blurred = np.stack([_blurred(sharp, blur * size / SIDE) for blur in _BLURS], axis=2)
    maps = np.ascontiguousarray(blurred.reshape(3, -1, sharp.shape[-1]))  # of each thing its blurs, one by one
    some = maps.reshape(-1, maps.shape[-1])[::7].astype(np.float64)  # of all kinds, places and blurs
    values, vectors = np.linalg.eigh(some.T @ some)
    kept = np.count_nonzero(np.cumsum(values[::-1]) < _KEPT * values.sum()) + 1
    basis = np.ascontiguousarray(vectors[:, ::-1][:, :kept], np.float32)
    cover, colour, pale = maps
    pairs = ((colour, colour), (cover, cover), (pale, pale), (cover, pale), (cover, colour), (pale, colour))
    return Bank(
        pixels=math.isqrt(maps.shape[-1]),
        sizes=np.repeat([SIZES.index(thing.size) for thing in moved], len(_BLURS)),
        offsets=np.repeat(np.array(offsets, np.float32), len(_BLURS), axis=0),
        maps=maps,
        basis=basis,
        projected=np.ascontiguousarray((maps @ basis).transpose(0, 2, 1)),
        products=np.stack([np.einsum("mq,mq->m", one, other) for one, other in pairs]),
    )


def fit(bank: Bank, squares: Float32[np.ndarray, "n p p 3"], behind: Float32[np.ndarray, "n 3"]) -> Fit:
    """What explains each square best: the nearest template of each kind in one colour, then of these in lit colours.

    Args:
        bank: of the templates.
        squares: E, a region less what is behind, and zero outside of the region.
        behind: b of each.
    """
    count = len(squares)
    flat = squares.reshape(count, -1, 3)
    cover, colour, pale = bank.projected
    ss, aa, ww, aw, as_, ws = bank.products
    seen = np.einsum("nqc,qk->nck", flat, bank.basis, optimize=True)
    misfit = 2 * np.einsum("nc,nck->nk", behind, seen) @ cover - 2 * np.einsum("c,nck->nk", _PALE, seen) @ pale
    misfit += (behind**2).sum(-1)[:, None] * aa - 2 * (behind @ _PALE)[:, None] * aw + (_PALE**2).sum() * ww
    for channel in range(3):
        along = seen[:, channel] @ colour + behind[:, channel, None] * as_ - _PALE[channel] * ws
        misfit -= along * along / ss
    each = len(bank.sizes) // len(KINDS)
    nearest = misfit.reshape(count, len(KINDS), each).argmin(-1) + each * np.arange(len(KINDS))
    left, colours = _lit(bank, flat, behind, nearest)
    rows, best = np.arange(count), left.argmin(-1)
    return Fit(nearest[rows, best], best, left[rows, best], colours[rows, best])


def _lit(bank: Bank, flat: np.ndarray, behind: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The misfit [n, j] of chosen templates [n, j] where the light may vary over a thing, and their colours [n, j, 3].

    The colour c is fitted first. Along its direction the coloured part may then be s (g + g_x x + g_y y).
    """
    cover, colour, pale = bank.maps[:, chosen]
    target = flat[:, None] + cover[..., None] * behind[:, None, None, :] - pale[..., None] * _PALE
    tint = np.einsum("njq,njqc->njc", colour, target, optimize=True) / bank.products[0][chosen][..., None]
    tint = np.maximum(tint, 0)
    direction = tint / (np.sqrt((tint**2).sum(-1, keepdims=True)) + 1e-6)
    scalar = np.einsum("njqc,njc->njq", target, direction, optimize=True)
    ticks = (np.arange(bank.pixels, dtype=np.float32) - bank.pixels // 2) / bank.pixels
    x, y = np.tile(ticks, bank.pixels), np.repeat(ticks, bank.pixels)
    parts = np.stack([colour, colour * x, colour * y], -1)
    gram = np.einsum("njqa,njqb->njab", parts, parts, optimize=True) + 1e-4 * np.eye(3, dtype=np.float32)
    moment = np.einsum("njqa,njq->nja", parts, scalar, optimize=True)
    weights = np.linalg.solve(gram, moment[..., None])[..., 0]
    return (target**2).sum((-1, -2)) - (moment * weights).sum(-1), tint


def _blurred(maps: Float32[np.ndarray, "3 m q"], deviation: float) -> Float32[np.ndarray, "3 m q"]:
    """The squares after a Gaussian filter of so many pixels."""
    if not deviation:
        return maps
    side = math.isqrt(maps.shape[-1])
    images = maps.reshape(*maps.shape[:2], side, side)
    return ndimage.gaussian_filter(images, (0, 0, deviation, deviation), mode="constant").reshape(maps.shape)


def _squares(things: list[Thing], size: int) -> Float32[np.ndarray, "3 m q"]:
    """Cover, coloured and pale part of each in a square whose middle is the pixel right below the frame's middle."""
    patches = rasterise(things, np.zeros((len(things), 2), np.float32), size)
    pixels = patches.cover.shape[-1]
    side = pixels + 1 + pixels % 2  # odd: its middle is a pixel's
    origin = size // 2 - side // 2  # the pixel right of the picture's middle is the square's middle
    out = np.zeros((3, len(things), side + 8, side + 8), np.float32)
    rows = np.arange(len(things))[:, None, None]
    ys = (patches.top - origin + 4)[:, None, None] + np.arange(pixels)[:, None]
    xs = (patches.left - origin + 4)[:, None, None] + np.arange(pixels)
    for target, part in zip(out, (patches.cover, patches.colour, patches.pale), strict=True):
        target[rows, ys, xs] = part
    return out[:, :, 4:-4, 4:-4].reshape(3, len(things), -1)


def _centroids(things: list[Thing], size: int) -> np.ndarray:
    """Of the cover of each, relative to the frame's middle, in the frame's units."""
    cover = _squares(things, size)[0]
    side = math.isqrt(cover.shape[1])
    cover = cover.reshape(len(things), side, side)
    ticks = (np.arange(side) - side // 2 + 0.5) * (SIDE / size)
    mass = cover.sum((1, 2))
    return np.stack([(cover.sum(1) @ ticks) / mass, (cover.sum(2) @ ticks) / mass], -1)
