"""A likelihood figure that says what it is, so that a bound is never read as an exact value."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

Kind = Literal["exact", "bound", "ode"]


@dataclass(frozen=True)
class Likelihood:
    """Bits per dimension of held-out or training images.

    Attributes:
        value: the mean over images, in bits per dimension. A `bound` is an upper bound on it in expectation.
        standard_error: of that mean, over the images; Monte Carlo error within an image is part of it.
        kind: `exact`, `bound` or `ode`.
        images: how many images the mean is over.
        dimensions: D, values an image.
        dequantisation: how discrete pixels were made continuous, `none` for a discrete decoder, or `uniform`.
        draws: K, draws of the dequantisation noise for one image.
    """

    value: float
    standard_error: float
    kind: Kind
    images: int
    dimensions: int
    dequantisation: str = "none"
    draws: int = 1

    @property
    def nats(self) -> float:
        """The mean in nats an image: value D log 2."""
        return self.value * self.dimensions * math.log(2)

    @property
    def nats_standard_error(self) -> float:
        """The standard error in nats an image."""
        return self.standard_error * self.dimensions * math.log(2)


def bits_per_dimension(
    nats: Float[np.ndarray, " images"], dimensions: int, kind: Kind, dequantisation: str = "none", draws: int = 1
) -> Likelihood:
    """The figure from each image's negative log-likelihood, `[images]` in nats: nats / (D log 2).

    For a density of dequantised pixels, `nats` already holds the bins' -D log(width) and is the mean of `draws`.
    """
    bits = np.asarray(nats, np.float64) / (dimensions * math.log(2))
    error = float(bits.std(ddof=1) / math.sqrt(len(bits))) if len(bits) > 1 else float("nan")
    return Likelihood(float(bits.mean()), error, kind, len(bits), dimensions, dequantisation, draws)
