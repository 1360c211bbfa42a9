"""Pictures that are made of each image and told to a model, which then draws the image from them.

`edges` are its outlines, dark on white; `grey` its brightness; `small` the means of 4 x 4 pixels; `known` the image
itself with a hole, whose place is the row's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt8

from ddpm_jax.conditions import Conditions, Picture
from ddpm_jax.data.description import Description
from ddpm_jax.data.levels import table
from ddpm_jax.data.sources import Dataset, Examples, Source
from ddpm_jax.errors import UserError, nearest

VERSION = 1
"""Of what is made: another number is other pictures."""

Pictures = UInt8[np.ndarray, "n _ _ _"]
Shown = Bool[np.ndarray, "n _ _ 1"]


@runtime_checkable
class View(Protocol):
    """What is made of images."""

    def size(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Of the picture of an image of this shape. Raises UserError where there is none of it."""
        ...

    def __call__(self, images: Pictures, rows: np.ndarray) -> tuple[Pictures, Shown | None]:
        """The pictures of images, values 0 ... 255, of these row numbers, and where they show anything; None: all."""
        ...


@dataclass(frozen=True)
class Edges:
    """Outlines, black on white: how far the values of a channel differ within 2 x 2 pixels, the most of all channels.

    >>> half = np.zeros((1, 2, 6, 3), np.uint8)
    >>> half[:, :, 3:] = 255
    >>> Edges()(half, np.arange(1))[0][0, 0, :, 0].tolist()
    [255, 255, 255, 0, 255, 255]

    Attributes:
        none, full: the differences in levels, of 255, up to which there is no line, and from which it is black.
    """

    none: int = 32
    full: int = 96

    def size(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """In one channel."""
        return (*shape[:2], 1)

    def __call__(self, images: Pictures, rows: np.ndarray) -> tuple[Pictures, None]:
        """The outlines."""
        from scipy.ndimage import maximum_filter, minimum_filter

        square = (1, 2, 2, 1)
        differences = (maximum_filter(images, square) - minimum_filter(images, square)).max(-1, keepdims=True)
        darkness = np.clip((differences.astype(np.float32) - self.none) / (self.full - self.none), 0, 1)
        return np.round(255 * (1 - darkness)).astype(np.uint8), None


@dataclass(frozen=True)
class Grey:
    """Brightness, by the weights of ITU-R BT.601."""

    def size(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """In one channel."""
        if shape[-1] < 3:
            raise UserError("the images have no colours that could be left out")
        return (*shape[:2], 1)

    def __call__(self, images: Pictures, rows: np.ndarray) -> tuple[Pictures, None]:
        """The brightness."""
        grey = images[..., :3] @ np.array([0.299, 0.587, 0.114], np.float32)
        return np.round(grey[..., None]).astype(np.uint8), None


@dataclass(frozen=True)
class Small:
    """The means of squares of `factor` pixels a side."""

    factor: int = 4

    def size(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Smaller by the factor."""
        if shape[0] % self.factor or shape[1] % self.factor:
            raise UserError(f"{self.factor} does not divide the sides of images of {shape[0]} x {shape[1]} pixels")
        return (shape[0] // self.factor, shape[1] // self.factor, shape[2])

    def __call__(self, images: Pictures, rows: np.ndarray) -> tuple[Pictures, None]:
        """The means."""
        height, width, channels = self.size(images.shape[1:])
        blocks = images.reshape(-1, height, self.factor, width, self.factor, channels)
        return np.round(blocks.mean((2, 4))).astype(np.uint8), None


@dataclass(frozen=True)
class Known:
    """The image with a hole: of half of the rows a rectangle is hidden, of a quarter all but one, of a quarter a side.

    A rectangle's sides have a quarter to three quarters of the image's, and so has what is hidden at a side. After
    GLIDE (Nichol et al. 2022, section 2.4), whose network is told the image and where it is known.
    """

    def size(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The image's."""
        return shape

    def __call__(self, images: Pictures, rows: np.ndarray) -> tuple[Pictures, Shown]:
        """The images, and where they are known."""
        height, width = images.shape[1:3]
        return images, np.stack([self.known(int(row), height, width) for row in rows])

    def known(self, row: int, height: int, width: int) -> Bool[np.ndarray, "height width 1"]:
        """Where the image of a row is known."""
        rng = np.random.default_rng([VERSION, row])
        sides = np.array([height, width])
        extent = np.maximum(1, np.round(sides * rng.uniform(0.25, 0.75, 2)).astype(int))
        corner = np.floor(rng.uniform(size=2) * (sides - extent + 1)).astype(int)
        kind, side = rng.uniform(), rng.integers(4)
        if kind >= 0.75:  # a side: all along one axis, at one of its ends
            axis, end = divmod(int(side), 2)
            extent[1 - axis], corner[1 - axis] = sides[1 - axis], 0
            corner[axis] = end * (sides - extent)[axis]
        inside = np.zeros((height, width, 1), bool)
        inside[corner[0] : corner[0] + extent[0], corner[1] : corner[1] + extent[1]] = True
        return inside if 0.5 <= kind < 0.75 else ~inside


KNOWN = "known"
"""The view that serves for filling holes."""

VIEWS: dict[str, View] = {"edges": Edges(), "grey": Grey(), "small": Small(), KNOWN: Known()}


def with_views(dataset: Dataset, names: Sequence[str], noise: float = 0.0) -> Dataset:
    """The data set with pictures that are made of its images as conditions, by their names in `VIEWS`.

    >>> import ddpm_jax as dj
    >>> list(with_views(dj.data.load("digits"), ("edges",)).description.conditions)
    ['label', 'edges']

    Args:
        dataset: of images with levels, of two spatial axes.
        names: of the views.
        noise: the greatest deviation of the noise that training adds to the pictures, from black to white being 2
            (Ho et al. 2022, section 4: the model is told how much); 0 is none.

    Raises:
        UserError: there is no such view, or the images have none, or the data a condition of its name.
    """
    description, kinds = dataset.description, []
    for name in names:
        if name not in VIEWS:
            raise UserError(f"there is no view {name!r} of an image; {nearest(name, VIEWS)}")
        if len(description.shape) != 3 or description.levels is None:
            raise UserError(f"images of shape {description.shape} are no pictures with levels, of which views are made")
        height, width, channels = description.shape
        try:
            kinds.append((name, Picture(VIEWS[name].size((height, width, channels)), noise)))
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
    described = replace(description, conditions=Conditions((*description.conditions.kinds, *kinds)))
    return replace(
        dataset,
        description=described,
        sources={split: _seen(source, described, dict(kinds)) for split, source in dataset.sources.items()},
    )


def _seen(source: Source, described: Description, kinds: dict[str, Picture]) -> Source:
    made_from = [*source.made_from, f"views {VERSION}", *kinds] if source.made_from else ()
    return Source(described, len(source), partial(_read, source, kinds), made_from, source.words, source.content)


def _read(source: Source, kinds: dict[str, Picture], rows: np.ndarray) -> Examples:
    found = source.rows(rows)
    full, made = table(source.description.levels or 256, 256)[found["image"]], {}
    for name, kind in kinds.items():
        pictures, shown = VIEWS[name](full, np.asarray(rows))
        made[name] = kind.rows(pictures, shown)
    return found["image"], {**found["condition"], **made}
