"""The colours of still lifes: what each name means, drawn and read."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32

from ddpm_jax.data.still_lifes.grammar import COLOURS

HUES = {
    "red": (0.0, 0.84, 0.90),
    "orange": (27.0, 0.90, 0.98),
    "yellow": (54.0, 0.82, 0.97),
    "green": (125.0, 0.72, 0.76),
    "blue": (216.0, 0.76, 0.92),
    "purple": (276.0, 0.62, 0.82),
    "pink": (335.0, 0.42, 0.98),
    "white": (40.0, 0.03, 0.96),
}
"""Hue in degrees, saturation and value of each colour, about which a thing's own varies."""

PALE = np.array([1.0, 0.96, 0.86], np.float32)
"""Stalks, rinds and labels, whatever the colour of the thing."""


def tints(names: Sequence[str], u: Float[np.ndarray, "n k"]) -> Float32[np.ndarray, "n 3"]:
    """Colours by name as RGB in [0, 1], each a little off in hue, saturation and value by the first three of u."""
    hue, saturation, value = np.array([HUES[name] for name in names]).T
    shift = 2 * u[:, :3].astype(np.float64) - 1
    return rgb(
        hue + 6 * shift[:, 0], saturation * (1 + 0.06 * shift[:, 1]), np.minimum(value * (0.99 + 0.06 * shift[:, 2]), 1)
    )


def rgb(
    hue: Float[np.ndarray, " n"], saturation: Float[np.ndarray, " n"], value: Float[np.ndarray, " n"]
) -> Float32[np.ndarray, "n 3"]:
    """HSV, the hue in degrees, to RGB: v - v s max(0, min(k, 4 - k, 1)), k = (5, 3, 1) + hue/60 modulo 6."""
    k = (np.array([5.0, 3.0, 1.0]) + hue[:, None] / 60) % 6
    mixed = value[:, None] * (1 - saturation[:, None] * np.clip(np.minimum(k, 4 - k), 0, 1))
    return mixed.astype(np.float32)


def nearest_colour(colours: Float[np.ndarray, "n 3"]) -> list[str]:
    """The name of the colour that each RGB is nearest to, whatever its brightness."""
    table = rgb(*np.array([HUES[name] for name in COLOURS]).T)
    table = table / table.max(-1, keepdims=True)
    bright = np.clip(colours, 1e-3, None)
    bright = bright / bright.max(-1, keepdims=True)
    return [COLOURS[one] for one in ((bright[:, None] - table) ** 2).sum(-1).argmin(-1)]
