"""Linear operators: what of an image is measured. Each is a function of images; its adjoint follows from it."""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ddpm_jax.processes.process import Images

Measurement = Float[Array, "batch ..."]


@runtime_checkable
class Operator(Protocol):
    """A linear function A of images."""

    def __call__(self, x: Images) -> Measurement:
        """A x, `[batch, ...]`."""
        ...


def adjoint(operator: Operator, y: Measurement, like: Images) -> Images:
    """A^T y, for images of the shape and type of `like`."""
    (x,) = jax.linear_transpose(operator, jax.ShapeDtypeStruct(like.shape, like.dtype))(y)
    return x


def seen(operator: Operator, y: Measurement, like: Images) -> Images:
    """A measurement as an image: as it is, or each number spread over what it is of."""
    if y.shape == like.shape:
        return y
    ones, back = operator(jnp.ones_like(like)), adjoint(operator, y, like)
    share = adjoint(operator, ones, like) if len(y.shape) == len(like.shape) else jnp.ones_like(like)
    return back / share


@dataclass(frozen=True)
class Identity:
    """The image itself: what is removed is noise."""

    def __call__(self, x: Images) -> Measurement:
        """x."""
        return x


@dataclass(frozen=True, eq=False)
class Pixels:
    """The known pixels; 0 at the others.

    Attributes:
        mask: True where a value is known, `[*site]` or `[batch, *site]`, or with 1 channel for all.
    """

    mask: Bool[Array, "..."] | Bool[np.ndarray, "..."]

    def __call__(self, x: Images) -> Measurement:
        """x where it is known."""
        return jnp.where(self.mask, x, 0)


@dataclass(frozen=True)
class Averages:
    """Means over blocks of `factor` pixels along every axis of space: an image of lower resolution.

    >>> Averages(2)(jnp.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0].tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """

    factor: int

    def __call__(self, x: Images) -> Measurement:
        """`[batch, *space / factor, channels]`.

        Raises:
            ValueError: the factor does not divide a side.
        """
        space = x.shape[1:-1]
        if any(side % self.factor for side in space):
            raise ValueError(f"a factor of {self.factor} does not divide the sides {space}")
        cut = [number for side in space for number in (side // self.factor, self.factor)]
        return x.reshape(x.shape[0], *cut, x.shape[-1]).mean(tuple(range(2, 2 * len(space) + 1, 2)))


@dataclass(frozen=True)
class Grey:
    """The weighted sum of the channels, with 1 channel: by default their mean."""

    weights: tuple[float, ...] = ()

    def __call__(self, x: Images) -> Measurement:
        """`[batch, *space, 1]`."""
        weights = jnp.asarray(self.weights or (1 / x.shape[-1],) * x.shape[-1], x.dtype)
        return (x * weights).sum(-1, keepdims=True)


@dataclass(frozen=True)
class Blur:
    """A Gaussian blur of this deviation in pixels, borders repeated around."""

    deviation: float

    def __call__(self, x: Images) -> Measurement:
        """A convolution along each axis of space, `[batch, *space, channels]`."""
        reach = math.ceil(3 * self.deviation)
        offsets = np.arange(-reach, reach + 1)
        kernel = np.exp(-0.5 * np.square(offsets / self.deviation))
        kernel /= kernel.sum()
        for axis in range(1, x.ndim - 1):
            x = sum((weight * jnp.roll(x, k, axis) for weight, k in zip(kernel.tolist(), offsets, strict=True)), 0 * x)
        return x


@dataclass(frozen=True)
class Projections:
    """Compressed sensing: `count` random numbers of an image, rows of an orthonormal matrix drawn by `seed`."""

    count: int
    seed: int = 0

    def __call__(self, x: Images) -> Measurement:
        """`[batch, count]`.

        Raises:
            ValueError: there are more than an image has values.
        """
        size = math.prod(x.shape[1:])
        if not 1 <= self.count <= size:
            raise ValueError(f"{self.count} projections of images of {size} values; take 1 to {size}")
        drawn = np.random.default_rng(self.seed).normal(size=(size, self.count))
        rows = np.linalg.qr(drawn)[0].T
        return jnp.einsum("md,bd->bm", jnp.asarray(rows, x.dtype), x.reshape(len(x), -1))
