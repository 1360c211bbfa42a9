"""The straight lines that x_t follows once it is rescaled, along which the classical rules for equations are exact.

Where x and z do not change, x_t / c = x/unit + u v, v = z - slope x: a straight line in u. A solver averages v over a
step, or extrapolates it, and says what comes of it as an estimate of x.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from ddpm_jax.processes.process import Images, Times


@dataclass(frozen=True)
class Place:
    """A time on such a line.

    Attributes:
        scale: c.
        u: 0 where the image is clean.
        unit: of x, the same at all times.
    """

    scale: Array
    u: Array
    unit: Array | float

    def velocity(self, x_t: Images, x: Images) -> Images:
        """v, where x is the clean image. For u > 0."""
        return (x_t / self.scale - x / self.unit) / self.u

    def clean(self, x_t: Images, velocity: Images) -> Images:
        """x, where this is the velocity: `velocity` undone."""
        return self.unit * (x_t / self.scale - self.u * velocity)


Coordinate = Callable[[Any, Times, Images], Place]
"""The place of a time, of a Gaussian process, for images like these."""


def line(process: Any, t: Times, like: Images) -> Place:
    """Straight from the image, (alpha, sigma) = (1, 0), to the schedule's own end (alpha_1, sigma_1).

    c = sigma_1 alpha + (1 - alpha_1) sigma, u = sigma/c, unit = sigma_1. On flow matching's paths u is t, and v its
    velocity; with alpha = 1 u is sigma but for a factor, and v the noise, as for Karras et al. 2022. v is finite where
    alpha(1) = 0, and the schedule needs no derivatives.
    """
    (alpha, sigma), (last, unit) = process.at(t, like), process.at(jnp.ones((), like.dtype), like)
    scale = unit * alpha + (1 - last) * sigma
    return Place(scale, sigma / scale, unit)


def noise_ratio(process: Any, t: Times, like: Images) -> Place:
    """u = sigma/alpha and v = z, whatever the schedule; needs alpha > 0."""
    alpha, sigma = process.at(t, like)
    return Place(alpha, sigma / alpha, 1.0)


COORDINATES: dict[str, Coordinate] = {"line": line, "noise_ratio": noise_ratio}
"""Each by its name."""
