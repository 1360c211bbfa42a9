"""The outline and the parts of each kind, in the unit box: x to the right and y down from -1/2 to 1/2.

A shape is a function of (x, y) to a `Surface`: the distance to the outline (negative inside; near the outline it is the
Euclidean one, which is all that anti-aliasing needs), and what is on it. Formulas of distances: I. Quilez,
"2D distance functions" (2D SDFs), and the plain geometry of circles and boxes.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

Plane = Float32[np.ndarray, "..."]


class Surface(NamedTuple):
    """A shape at each point: the distance to its outline, how bright its colour is, and how much of it is pale."""

    distance: Plane
    tone: Plane
    pale: Plane


def _disc(x: Plane, y: Plane, cx: float, cy: float, radius: float) -> Plane:
    return np.sqrt((x - cx) ** 2 + (y - cy) ** 2) - radius


def _ellipse(x: Plane, y: Plane, cx: float, cy: float, rx: float, ry: float) -> Plane:
    """To first order: (|p/r| - 1) over the gradient's length."""
    px, py = (x - cx) / rx, (y - cy) / ry
    norm = np.sqrt(px**2 + py**2) + 1e-6
    slope = np.sqrt((px / rx) ** 2 + (py / ry) ** 2) / norm + 1e-6
    return (norm - 1) / slope


def _box(x: Plane, y: Plane, cx: float, cy: float, hx: float, hy: float, round_: float = 0.0) -> Plane:
    dx, dy = np.abs(x - cx) - hx + round_, np.abs(y - cy) - hy + round_
    outside = np.sqrt(np.maximum(dx, 0) ** 2 + np.maximum(dy, 0) ** 2)
    return outside + np.minimum(np.maximum(dx, dy), 0) - round_


def _surface(distance: Plane, tone: Any = 1.0, pale: Any = 0.0) -> Surface:
    shape = distance.shape
    tone, pale = (np.broadcast_to(np.asarray(part, np.float32), shape) for part in (tone, pale))
    return Surface(distance.astype(np.float32), tone, pale)


def apple(x: Plane, y: Plane) -> Surface:
    """Round, hollow at the top, with a leaf."""
    body = np.minimum(_disc(x, y, -0.1, 0.1, 0.35), _disc(x, y, 0.1, 0.1, 0.35))
    body = np.minimum(body, _disc(x, y, 0.0, 0.15, 0.35))
    leaf = _ellipse(x, y, 0.15, -0.38, 0.2, 0.11)
    stem = _box(x, y, 0.0, -0.3, 0.05, 0.16)
    top = np.minimum(leaf, stem)
    return _surface(np.minimum(body, top), np.where(top < body, 0.62, 1.0))


def banana(x: Plane, y: Plane) -> Surface:
    """An arc, thick in the middle, that opens upwards."""
    angle_cos, angle_sin, radius = 0.28, 0.96, 0.41
    py = y + 0.29
    px = np.abs(x)
    on_arc = angle_cos * px <= angle_sin * py
    length = np.sqrt(px**2 + py**2)
    to_end = np.sqrt((px - radius * angle_sin) ** 2 + (py - radius * angle_cos) ** 2)
    thick = 0.085 + 0.085 * np.clip((py / (length + 1e-6) - angle_cos) / (1 - angle_cos), 0, 1)
    tip = np.clip((px - 0.33) / 0.06, 0, 1)
    return _surface(np.where(on_arc, np.abs(length - radius), to_end) - thick, 1 - 0.35 * tip)


def pear(x: Plane, y: Plane) -> Surface:
    """A small disc on a large one, and what lies between."""
    low, high, apart = 0.36, 0.16, 0.4
    py, px = 0.13 - y, np.abs(x)  # from the lower centre, upwards
    slope = (low - high) / apart
    across = math.sqrt(1 - slope * slope)
    along = -slope * px + across * py
    side = px * across + py * slope - low
    distance = np.where(
        along < 0, _disc(px, py, 0.0, 0.0, low), np.where(along > across * apart, _disc(px, py, 0.0, apart, high), side)
    )
    stem = _box(x, y, 0.03, -0.43, 0.05, 0.07)
    return _surface(np.minimum(distance, stem), np.where(stem < distance, 0.6, 1.0))


def lime(x: Plane, y: Plane) -> Surface:
    """A lens with a knob at both ends."""
    body = np.maximum(_disc(x, y, 0.0, 0.25, 0.53), _disc(x, y, 0.0, -0.25, 0.53))
    ends = _disc(np.abs(x), y, 0.42, 0.0, 0.08)
    return _surface(np.minimum(body, ends))


def watermelon(x: Plane, y: Plane) -> Surface:
    """A slice: half a disc with a pale rind and seeds."""
    distance = np.maximum(_disc(x, y, 0.0, -0.25, 0.5), -0.27 - y)
    rind = np.clip((_disc(x, y, 0.0, -0.25, 0.36)) / 0.03, 0.0, 1)
    seed = np.minimum(_disc(np.abs(x), y, 0.17, -0.12, 0.04), _disc(x, y, 0.0, -0.02, 0.04))
    return _surface(distance, np.where(seed < 0, 0.35, 1.0) * (1 - 0.3 * rind), 0.75 * rind)


def mushroom(x: Plane, y: Plane) -> Surface:
    """Half an ellipse on a pale stalk."""
    cap = np.maximum(_ellipse(x, y, 0.0, 0.02, 0.5, 0.48), y - 0.02)
    stalk = _box(x, y, 0.0, 0.22, 0.16, 0.26, 0.06)
    on_stalk = (stalk < cap).astype(np.float32)
    return _surface(np.minimum(cap, stalk), 1 - 0.15 * on_stalk, 0.7 * on_stalk)


def cup(x: Plane, y: Plane) -> Surface:
    """A body that is dark inside, and a handle."""
    half = 0.3 - 0.07 * (y + 0.05)
    body = np.maximum(np.abs(x + 0.18) - half, np.abs(y) - 0.42)
    handle = np.abs(_ellipse(x, y, 0.14, 0.02, 0.28, 0.25)) - 0.07
    handle = np.where(x < -0.1, np.abs(x + 0.1) + 0.1, handle)
    inside = _ellipse(x, y, -0.18, -0.28, 0.26, 0.12)
    return _surface(np.minimum(body, handle), np.where(inside < 0, 0.25, 1.0))


def bottle(x: Plane, y: Plane) -> Surface:
    """A narrow body, a neck and a pale label."""
    body = _box(x, y, 0.0, 0.19, 0.21, 0.31, 0.08)
    neck = _box(x, y, 0.0, -0.27, 0.09, 0.23)
    label = np.clip((0.13 - np.abs(y - 0.22)) / 0.03, 0, 1)
    return _surface(np.minimum(body, neck), 1.0, 0.6 * label)


SHAPES: dict[str, Callable[[Plane, Plane], Surface]] = {
    function.__name__: function for function in (apple, banana, pear, lime, watermelon, mushroom, cup, bottle)
}
"""The shape of each kind."""


def _extent(shape: Callable[[Plane, Plane], Surface]) -> tuple[float, float]:
    """The width and height of the box around the middle that holds the shape, to a hundredth."""
    ticks = np.linspace(-0.6, 0.6, 241, dtype=np.float32)
    x, y = np.meshgrid(ticks, ticks)
    inside = shape(x, y).distance < 0
    return 2 * float(np.abs(x[inside]).max()), 2 * float(np.abs(y[inside]).max())


EXTENTS = {kind: _extent(shape) for kind, shape in SHAPES.items()}
"""How wide and high each kind is, as shares of its length."""
