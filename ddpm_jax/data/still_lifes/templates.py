"""What each kind looks like at every length, turn and place within a pixel, and which of these a region is nearest to.

A region E of a picture less its ground b is explained by a template with cover a, coloured part s and pale part w as
E = s c + w p - a b, where p is the colour of pale parts. The colour c that fits best has a closed form, so that the
misfit |E - (s c + w p - a b)|^2 of every template is a few products of matrices.
"""

import functools
import itertools
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Int64

from ddpm_jax.data.still_lifes.drawing import PALE, rasterise
from ddpm_jax.data.still_lifes.grammar import KINDS, SIZES
from ddpm_jax.data.still_lifes.layout import LENGTHS, SIDE, TURN, Thing

_BRIGHTNESS = 0.95  # of pale parts, in the mean over lights
_TURNS = (-1.0, -0.5, 0.0, 0.5, 1.0)  # of TURN
_STEPS = np.arange(-3, 4) * 0.25  # of places, in sixteenths of the side at 16 pixels
_VARIANCE = 0.9995  # that the subspace of templates keeps


@dataclass(frozen=True)
class Bank:
    """All templates of a picture size.

    Args:
        things: of each template, with its place relative to the middle of its square.
        basis: an orthonormal basis of the templates' subspace, [p * p, k].
        cover, colour, pale: the templates in it, [k, m].
        products: their inner products <s, s>, <a, a>, <w, w>, <a, w>, <a, s>, <w, s>, [6, m].
    """

    pixels: int
    kinds: Int64[np.ndarray, " m"]
    sizes: Int64[np.ndarray, " m"]
    offsets: Float32[np.ndarray, "m 2"]
    basis: Float32[np.ndarray, "q k"]
    cover: Float32[np.ndarray, "k m"]
    colour: Float32[np.ndarray, "k m"]
    pale: Float32[np.ndarray, "k m"]
    products: Float32[np.ndarray, "6 m"]


@functools.cache
def bank(size: int) -> Bank:
    """The templates for pictures of this many pixels a side, made once."""
    things = []
    for kind, (name, (low, high)), turn in itertools.product(KINDS, LENGTHS.items(), _TURNS):
        for length in np.linspace(low, high, 3 if name == "small" else 4):
            things.append(Thing(0, kind, "red", name, float(length), TURN * turn, SIDE / 2, SIDE / 2))
    centres = _centroids(things, size)  # of each where it is put in the middle
    middle = SIDE / 2 + SIDE / size / 2  # of the square's middle pixel
    moved, offsets = [], []
    for thing, (cx, cy) in zip(things, centres, strict=True):
        for dx, dy in itertools.product(_STEPS, _STEPS):
            # such that its centroid is (dx, dy) from the middle
            x, y = dx - cx, dy - cy
            offsets.append((x, y))
            moved.append(replace(thing, x=middle + x, y=middle + y))
    cover, colour, pale = _squares(moved, size)
    maps = np.concatenate([cover, colour, pale])
    values, vectors = np.linalg.eigh(maps.T.astype(np.float64) @ maps)
    kept = np.cumsum(values[::-1]) < _VARIANCE * values.sum()
    basis = np.ascontiguousarray(vectors[:, ::-1][:, : kept.sum() + 1]).astype(np.float32)
    pairs = ((colour, colour), (cover, cover), (pale, pale), (cover, pale), (cover, colour), (pale, colour))
    return Bank(
        pixels=int(np.sqrt(cover.shape[1])),
        kinds=np.array([KINDS.index(thing.kind) for thing in moved]),
        sizes=np.array([SIZES.index(thing.size) for thing in moved]),
        offsets=np.array(offsets, np.float32),
        basis=basis,
        cover=basis.T @ cover.T,
        colour=basis.T @ colour.T,
        pale=basis.T @ pale.T,
        products=np.stack([np.einsum("mq,mq->m", one, other) for one, other in pairs]),
    )


def fit(
    bank: Bank, squares: Float32[np.ndarray, "n p p 3"], ground: Float32[np.ndarray, "n 3"]
) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, " n"], Float32[np.ndarray, "n 3"]]:
    """The template with the least misfit for each square, that misfit, and the colour that fits.

    Args:
        bank: of the templates.
        squares: E, a region less its ground, and zero outside of the region.
        ground: b of each.
    """
    paleness = PALE * np.float32(_BRIGHTNESS)
    count = len(squares)
    flat = squares.reshape(count, -1, 3)
    seen = np.einsum("nqc,qk->nck", flat, bank.basis, optimize=True)
    ss, aa, ww, aw, as_, ws = bank.products
    mixed = np.einsum("nc,nck->nk", ground, seen), np.einsum("c,nck->nk", paleness, seen)
    misfit = 2 * (mixed[0] @ bank.cover) - 2 * (mixed[1] @ bank.pale)
    misfit += (ground**2).sum(-1)[:, None] * aa - 2 * (ground @ paleness)[:, None] * aw + (paleness**2).sum() * ww
    for channel in range(3):
        along = seen[:, channel] @ bank.colour
        along += ground[:, channel, None] * as_ - paleness[channel] * ws
        misfit -= along * along / ss
    best = misfit.argmin(1)
    rows = np.arange(count)
    energy = np.einsum("nqc,nqc->n", flat, flat)
    along = np.einsum("nck,nk->nc", seen, bank.colour[:, best].T)
    along += ground * as_[best, None] - paleness * ws[best, None]
    return best, misfit[rows, best] + energy, along / ss[best, None]


def _squares(things: list[Thing], size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cover, colour and pale parts [m, p * p] in a square whose middle is the frame's."""
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
    inner = out[:, :, 4:-4, 4:-4].reshape(3, len(things), -1)
    return inner[0], inner[1], inner[2]


def _centroids(things: list[Thing], size: int) -> np.ndarray:
    """Of the cover of each, relative to the frame's middle, in the frame's units."""
    cover = _squares(things, size)[0]
    side = int(np.sqrt(cover.shape[1]))
    cover = cover.reshape(len(things), side, side)
    ticks = (np.arange(side) - side // 2 + 0.5) * (SIDE / size)
    mass = cover.sum((1, 2))
    return np.stack([(cover.sum(1) @ ticks) / mass, (cover.sum(2) @ ticks) / mass], -1)
