"""Where the things of a scene are put: each kind, colour, size, place and turn that the scene leaves open is drawn.

Lengths are in units of a sixteenth of the picture's side, in a frame from 0 to SIDE, x to the right and y down.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ddpm_jax.data.still_lifes.grammar import COLOURS, Group, Scene
from ddpm_jax.data.still_lifes.randomness import uniforms
from ddpm_jax.data.still_lifes.shapes import EXTENTS
from ddpm_jax.data.still_lifes.splits import HELD_OUT_PAIRS

SIDE = 16.0
LENGTHS = {"small": (4.1, 4.5), "large": (6.1, 6.8)}
"""From and to which length a thing of each size is drawn."""

GAP = 1.25  # between boxes of things
EDGE = 0.2  # between a box and the picture's edge
TURN = 0.2  # radians either way
_PURPOSE = 1


@dataclass(frozen=True)
class Thing:
    """One thing as it is drawn.

    Args:
        group: which of the scene's groups it is of.
        kind, colour, size: what it is.
        length: the side of the box that it fills before it is turned.
        turn: in radians, clockwise.
        x, y: its box's centre.
    """

    group: int
    kind: str
    colour: str
    size: str
    length: float
    turn: float
    x: float = 0.0
    y: float = 0.0

    @property
    def extent(self) -> tuple[float, float]:
        """The width and height of the box around the turned thing."""
        wide, high = EXTENTS[self.kind]
        c, s = abs(math.cos(self.turn)) * self.length, abs(math.sin(self.turn)) * self.length
        return wide * c + high * s, wide * s + high * c


Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def layouts(scenes: list[Scene], seed: int, numbers: np.ndarray) -> list[list[Thing]]:
    """The things of each scene, for these numbers of the stream. Their boxes lie in the frame and GAP apart."""
    rows = uniforms(seed, numbers, _PURPOSE, 64).tolist()
    return [_layout(scene, iter(row)) for scene, row in zip(scenes, rows, strict=True)]


def _layout(scene: Scene, row: Iterator[float]) -> list[Thing]:
    groups = [_things(scene, place, row) for place in range(len(scene.groups))]
    whole = (EDGE, EDGE, SIDE - EDGE, SIDE - EDGE)
    if len(groups) == 2:
        axis = 0 if scene.where in ("left of", "right of") else 1
        ordered = groups if scene.where in ("left of", "above") else groups[::-1]
        bands = _split(ordered, whole, axis, row)
        return [thing for band, group in bands for thing in _line(group, band, 1 - axis, row)]
    (group,) = groups
    if scene.where:
        return _line(group, *_place(scene.where), row)
    axis = int(next(row) * 2)
    box = _middle(group, axis, row) if scene.plate else whole
    if len(group) < 3:
        return _line(group, box, axis, row)
    # two in a line beside one
    rows = [group[:2], group[2:]] if next(row) < 0.5 else [group[:1], group[1:]]
    bands = _split(rows, box, 1 - axis, row)
    return [thing for band, group in bands for thing in _line(group, band, axis, row)]


def _things(scene: Scene, place: int, row: Iterator[float]) -> list[Thing]:
    """A group's things, not placed yet."""
    group = scene.groups[place]
    size = group.size or ("small" if next(row) < 0.5 else "large")
    if group.count > scene.most_large:
        size = "small"
    colour = group.colour or _free_colour(group, scene, next(row))
    low, high = LENGTHS[size]
    made = []
    for _ in range(group.count):
        length = low + (high - low) * next(row)
        made.append(Thing(place, group.kind, colour, size, length, TURN * (2 * next(row) - 1)))
    return made


def _free_colour(group: Group, scene: Scene, uniform: float) -> str:
    """A colour for a group whose colour is not said: none that is held out with its kind, none of the plate's."""
    free = [one for one in COLOURS if (one, group.kind) not in HELD_OUT_PAIRS and one != scene.plate]
    return free[int(uniform * len(free))]


def _middle(group: list[Thing], axis: int, row: Iterator[float]) -> Box:
    """The box for a group on a plate, round whose middle there is room for it: two lie along the axis."""
    need = [max(thing.extent[side] for thing in group) for side in (0, 1)]
    loose = (1.2 if len(group) == 1 else 0.3) * (0.5 + next(row))
    sides = [length + loose for length in need]
    if len(group) > 1:
        sides[axis] += GAP + need[axis]
    if len(group) == 3:
        sides[1 - axis] += GAP + need[1 - axis]
    middle = SIDE / 2
    return middle - sides[0] / 2, middle - sides[1] / 2, middle + sides[0] / 2, middle + sides[1] / 2


def _place(where: str) -> tuple[Box, int]:
    """The half of the frame that a place means, and the axis along which a group is put into it."""
    low, high, middle = EDGE, SIDE - EDGE, SIDE / 2
    return {
        "on the left": ((low, low, middle - 0.5, high), 1),
        "on the right": ((middle + 0.5, low, high, high), 1),
        "at the top": ((low, low, high, middle - 0.5), 0),
        "at the bottom": ((low, middle + 0.5, high, high), 0),
    }[where]


def _split(groups: list[list[Thing]], box: Box, axis: int, row: Iterator[float]) -> list[tuple[Box, list[Thing]]]:
    """Two bands of the box side by side along the axis, each as thick as its group needs and a share of the rest."""
    need = [max(thing.extent[axis] for thing in group) for group in groups]
    start, end = box[axis], box[axis + 2]
    cut = start + need[0] + next(row) * max(0.0, end - start - GAP - sum(need))
    first, second = list(box), list(box)
    first[axis + 2], second[axis] = cut, cut + GAP
    return [(_as_box(first), groups[0]), (_as_box(second), groups[1])]


def _as_box(sides: list[float]) -> Box:
    left, top, right, bottom = sides
    return left, top, right, bottom


def _line(group: list[Thing], box: Box, axis: int, row: Iterator[float]) -> list[Thing]:
    """The things put one after the other along the axis of the box, GAP apart, and anywhere across it."""
    room = box[axis + 2] - box[axis] - GAP * (len(group) - 1)
    group = _shrunk(group, axis, room, box[3 - axis] - box[1 - axis])
    lengths = [thing.extent[axis] for thing in group]
    slack = max(0.0, room - sum(lengths))
    shifts = sorted(next(row) * slack for _ in group)
    placed, start = [], box[axis]
    for thing, length, shift in zip(group, lengths, shifts, strict=True):
        along = start + shift + length / 2
        start += length + GAP
        half = thing.extent[1 - axis] / 2
        across = box[1 - axis] + half + next(row) * max(0.0, box[3 - axis] - box[1 - axis] - 2 * half)
        x, y = (along, across) if axis == 0 else (across, along)
        placed.append(replace(thing, x=x, y=y))
    return placed


def _shrunk(group: list[Thing], axis: int, along: float, across: float) -> list[Thing]:
    """The things, a little smaller where they would not fit."""
    factor = min(1.0, along / sum(thing.extent[axis] for thing in group))
    factor = min(factor, across / max(thing.extent[1 - axis] for thing in group))
    return [replace(thing, length=thing.length * factor) for thing in group] if factor < 1 else group
