"""Whether a picture shows what its caption asks, attribute by attribute, and how often the oracle itself is right.

The columns are those of GenEval (Ghosh, Hajishirzi and Schmidt, "GenEval: an object-focused framework for evaluating
text-to-image alignment", 2023), each asked of every scene that it applies to, and the size.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ddpm_jax.data.still_lifes.drawing import paint
from ddpm_jax.data.still_lifes.grammar import Group, Scene
from ddpm_jax.data.still_lifes.layout import SIDE, Thing, layouts
from ddpm_jax.data.still_lifes.reading import Found, Reading, read
from ddpm_jax.data.still_lifes.splits import scenes as stream

ALL_OF = ("all of one", "all of two", "all of three", "all of four")
COLUMNS = ("one object", "two objects", "counting", "colours", "position", "colour binding", "size", "all", *ALL_OF)
ATTRIBUTES = ("number", "kind", "colour", "size", "centre", "plate", "place", "relation", "all")
NEAR = 1.0  # sixteenths of the side: how far from a thing's true centre it may be read


def agrees(reading: Reading, scene: Scene) -> dict[str, bool | None]:
    """Whether what is asked is there, a column each; None where the scene does not ask it.

    one object, two objects: things of the kind, or of both kinds, are there, however many.
    counting: as many things of each kind as asked (of each colour, where both groups are of one kind).
    colours: for one group, all things of its kind have its colour.
    position: all things of one group are left of (right of, above, below) all of the other; or in the half of the
        picture that a place means; or there is a plate.
    colour binding: for two groups, or one on a plate, all that has a colour has its own.
    size: all things of a group have its size.
    all: everything that is asked, and nothing else: no other thing, and no plate that is not asked for.
    all of one, all of two ...: the same, of scenes that ask for so many things.
    """
    groups = scene.groups
    members = [_members(reading, group, scene) for group in groups]
    of_kind = [[thing for thing in reading.things if thing.kind == group.kind] for group in groups]
    there = all(of_kind) and (len(groups) == 1 or len({id(thing) for some in of_kind for thing in some}) > 1)
    coloured = all(_right_colours(some, group, scene) for some, group in zip(of_kind, groups, strict=True))
    one, said = len(groups) == 1, [group.colour for group in groups if group.colour]
    sized = [(group.size, some) for group, some in zip(groups, members, strict=True) if group.size]
    columns: dict[str, bool | None] = {
        "one object": there if one else None,
        "two objects": None if one else there,
        "counting": all(len(some) == group.count for some, group in zip(members, groups, strict=True)),
        "colours": coloured if one and said else None,
        "position": _position(reading, scene, members),
        "colour binding": None,
        "size": all(some and all(thing.size == size for thing in some) for size, some in sized) if sized else None,
    }
    if scene.plate or (not one and said):
        columns["colour binding"] = coloured and reading.plate == scene.plate
    asked = sum(group.count for group in groups)
    exact = len(reading.things) == asked and reading.plate == scene.plate
    right = exact and all(value is not False for value in columns.values())
    of_so_many = {name: right if number == asked else None for number, name in enumerate(ALL_OF, start=1)}
    return {**columns, "all": right, **of_so_many}


def agreement(readings: Sequence[Reading], scenes: Sequence[Scene]) -> dict[str, float]:
    """Of each column the share of pictures that agree, among those whose scene asks it; NaN where none does."""
    found = [agrees(reading, scene) for reading, scene in zip(readings, scenes, strict=True)]
    return {name: _share(one[name] for one in found) for name in COLUMNS}


@dataclass(frozen=True)
class Accuracy:
    """How often the oracle is right about fresh drawings.

    Args:
        attributes: of pictures, the share in which the attribute is read right of every thing.
        columns: what the drawings score by `agreement`: no model's score means more than that.
    """

    attributes: dict[str, float]
    columns: dict[str, float]


def accuracy(size: int, count: int, seed: int, unseen: bool = False) -> Accuracy:
    """The oracle measured on `count` fresh pictures of a seed's stream, whose things are known."""
    numbers = np.arange(count)
    scenes = stream(seed, numbers, unseen)
    things = layouts(scenes, seed, numbers)
    readings: list[Reading] = []
    for start in range(0, count, 1000):
        rows = slice(start, start + 1000)
        readings += read(paint(scenes[rows], things[rows], seed, numbers[rows], size))
    found = [_right(*one) for one in zip(readings, scenes, things, strict=True)]
    attributes = {name: _share(one[name] for one in found) for name in ATTRIBUTES}
    return Accuracy(attributes, agreement(readings, scenes))


def _right(reading: Reading, scene: Scene, things: Sequence[Thing]) -> dict[str, bool | None]:
    """Whether each attribute is read as it was drawn; those of things where their number is right."""
    pairs = _paired(reading.things, things) if len(reading.things) == len(things) else None
    position = agrees(reading, scene)["position"]
    right: dict[str, bool | None] = {"number": pairs is not None, "plate": reading.plate == scene.plate}
    for name in ("kind", "colour", "size"):
        right[name] = None if pairs is None else all(getattr(a, name) == getattr(b, name) for a, b in pairs)
    right["centre"] = None if pairs is None else all((a.x - b.x) ** 2 + (a.y - b.y) ** 2 < NEAR**2 for a, b in pairs)
    right["all"] = all(value for value in right.values())
    right["place"] = position if len(scene.groups) == 1 and scene.where else None
    right["relation"] = position if len(scene.groups) == 2 else None
    return right


def _paired(found: Sequence[Found], things: Sequence[Thing]) -> list[tuple[Found, Thing]]:
    """Each thing with the nearest of what is found and not taken yet."""
    left, pairs = list(found), []
    for thing in things:
        nearest = min(left, key=lambda one: (one.x - thing.x) ** 2 + (one.y - thing.y) ** 2)
        left.remove(nearest)
        pairs.append((nearest, thing))
    return pairs


def _members(reading: Reading, group: Group, scene: Scene) -> list[Found]:
    """The things that are of the group: of its kind, and where both groups are of one kind, of its colour."""
    shared = len({one.kind for one in scene.groups}) < len(scene.groups)
    return [one for one in reading.things if one.kind == group.kind and (not shared or one.colour == group.colour)]


def _right_colours(things: Sequence[Found], group: Group, scene: Scene) -> bool:
    """Whether the things of a kind have the colours that are asked of it, and these alone."""
    asked = {one.colour for one in scene.groups if one.kind == group.kind}
    return group.colour is None or {thing.colour for thing in things} == asked


def _position(reading: Reading, scene: Scene, members: list[list[Found]]) -> bool | None:
    if scene.plate:
        return reading.plate is not None and bool(members[0])
    if scene.where is None:
        return None
    across = scene.where in ("left of", "right of", "on the left", "on the right")
    places = [[thing.x if across else thing.y for thing in some] for some in members]
    if not all(places):
        return False
    low, high = places[0], places[-1] if len(places) == 2 else [SIDE / 2]
    if scene.where in ("right of", "below", "on the right", "at the bottom"):
        low, high = high, low
    return max(low) < min(high)


def _share(values: Iterable[bool | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")
