"""What lies behind the things of a picture: the ground, and perhaps a plate on it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Integer
from scipy import ndimage

DARK = 0.42  # the ground is darker than this in every channel


class Behind(NamedTuple):
    """The ground and plate of each picture: their colours, whether there is a plate, and where things can be seen."""

    colours: Float32[np.ndarray, "n s s 3"]
    plated: Bool[np.ndarray, " n"]
    plate: Float32[np.ndarray, "n 3"]
    open: Bool[np.ndarray, "n s s"]


def behind(images: Float32[np.ndarray, "n s s 3"]) -> Behind:
    """The ground as smooth colours through the dark pixels; a plate where one region nearly fills the picture.

    Colours are of second order in the place. They are fitted by least squares a few times, each time without the pixels
    that lie off: edges and shadows at first, and things.
    """
    count, size = images.shape[:2]
    ticks = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    x, y = np.broadcast_to(ticks[None, :], (size, size)), np.broadcast_to(ticks[:, None], (size, size))
    smooth = np.broadcast_to(np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1), (count, size, size, 6))
    colours = _fitted(images, smooth, images.max(-1) < DARK, (0.08, 0.04, 0.03))
    plated, rounds = _discs(np.abs(images - colours).max(-1) > 0.15)
    plate = np.zeros((count, 3), np.float32)
    seen = np.ones((count, size, size), bool)
    if plated.any():
        here = np.flatnonzero(plated)
        radius, cover, inside = _ellipses(rounds[here])
        rim = np.clip((radius - 0.86) * size * 0.46 + 0.5, 0, 1)
        surface = np.concatenate([smooth[here], rim[..., None]], -1)
        of_plate = images[here]
        middle = np.stack([np.median(one[where], axis=0) for one, where in zip(of_plate, inside, strict=True)])
        near = np.abs(of_plate - middle[:, None, None]).max(-1) < 0.25
        painted = _fitted(of_plate, surface, inside & near, (0.12, 0.06, 0.05))
        colours[here] += cover[..., None] * (painted - colours[here])
        plate[here] = middle
        seen[here] = inside
    return Behind(colours, plated, plate, seen)


def _fitted(images: np.ndarray, regressors: np.ndarray, where: np.ndarray, limits: tuple[float, ...]) -> np.ndarray:
    """The least-squares combination of regressors [n, s, s, k] over `where`, then over what of it lies near."""
    fitted, chosen = images, where
    for limit in (np.inf, *limits):
        chosen = where & (np.abs(images - fitted).max(-1) < limit)
        weighted = regressors * chosen[..., None]
        gram = np.einsum("nyxa,nyxb->nab", weighted, regressors, optimize=True) + 1e-3 * np.eye(regressors.shape[-1])
        moment = np.einsum("nyxa,nyxc->nac", weighted, images, optimize=True)
        fitted = np.einsum("nyxa,nac->nyxc", regressors, np.linalg.solve(gram, moment), optimize=True)
    return fitted.astype(np.float32)


def _discs(bright: Bool[np.ndarray, "n s s"]) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, "n s s"]]:
    """Which pictures have a region that reaches over most of them both ways, and that region without its holes."""
    size = bright.shape[-1]
    labels = connected(bright)
    plated = np.zeros(len(bright), bool)
    rounds = np.zeros_like(bright)
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        if min(side.stop - side.start for side in box[1:]) >= 0.8 * size:
            place = box[0].start
            filled = np.asarray(ndimage.binary_fill_holes(labels[place] == label))
            if 0.5 < filled.mean() < 0.8:
                plated[place], rounds[place] = True, filled
    return plated, rounds


def _ellipses(rounds: Bool[np.ndarray, "n s s"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ellipse with each region's moments: the radius at each pixel (1 at the edge), the cover, and the inside."""
    size = rounds.shape[-1]
    ticks = np.arange(size, dtype=np.float32) + 0.5
    mass = rounds.sum((1, 2))
    along, down = rounds.sum(1), rounds.sum(2)  # sums over y and over x
    cx, cy = (along @ ticks) / mass, (down @ ticks) / mass
    ax = 2 * np.sqrt((along @ ticks**2) / mass - cx**2)
    ay = 2 * np.sqrt((down @ ticks**2) / mass - cy**2)
    px = (ticks[None, None, :] - cx[:, None, None]) / ax[:, None, None]
    py = (ticks[None, :, None] - cy[:, None, None]) / ay[:, None, None]
    radius = np.sqrt(px**2 + py**2)
    pixel = (ax + ay)[:, None, None] / 2
    cover = np.clip(0.5 - (radius - 1) * pixel, 0, 1)
    return radius.astype(np.float32), cover.astype(np.float32), (radius - 1) * pixel < -0.9


def connected(mask: Bool[np.ndarray, "n s s"], corners: bool = False) -> Integer[np.ndarray, "n s s"]:
    """The number of each pixel's region, from 1 on over all pictures; 0 outside."""
    labels = np.empty(mask.shape, np.int32)
    ndimage.label(mask, in_plane(corners), output=labels)
    return labels


def in_plane(corners: bool = False) -> Bool[np.ndarray, "3 3 3"]:
    """A pixel's neighbours in its own picture, by sides or by corners too, for `ndimage` on many pictures at once."""
    structure = np.zeros((3, 3, 3), bool)
    structure[1] = ndimage.generate_binary_structure(2, 2 if corners else 1)
    return structure
