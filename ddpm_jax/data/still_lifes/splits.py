"""The endless stream of scenes: which numbers each split has, and which combinations are kept from training.

Picture `number` of a seed's stream is always the same. A split is a range of numbers (`numbers`), so no picture of one
is a picture of another. There are two streams. In the seen one, from which train, validation and test come, no scene
has a combination of HELD_OUT_PAIRS or HELD_OUT_RELATIONS. In the unseen one every scene has at least one: it asks a
model for what it never saw together. Both have all kinds, colours and relations apart.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from ddpm_jax.data.still_lifes.grammar import COLOURS, KINDS, PLACES, RELATIONS, Group, Scene
from ddpm_jax.data.still_lifes.randomness import uniforms
from ddpm_jax.errors import UserError, nearest

HELD_OUT_PAIRS = (
    ("green", "banana"),
    ("blue", "apple"),
    ("purple", "mushroom"),
    ("yellow", "cup"),
    ("pink", "bottle"),
    ("orange", "pear"),
)
"""(colour, kind) that no seen scene has."""

HELD_OUT_RELATIONS = (
    ("apple", "above", "cup"),
    ("banana", "left of", "bottle"),
    ("mushroom", "above", "pear"),
    ("cup", "left of", "lime"),
    ("bottle", "above", "watermelon"),
)
"""(kind, relation, kind) that no seen scene has, nor the same said the other way round: a cup below an apple."""

SPLITS = {"validation": (0, 2**20), "test": (2**20, 2**21), "train": (2**21, 2**31)}
"""The numbers of each split, from the first to before the last."""

OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
_COUNTS = {
    1: ((1,), (1,), (1,), (2,), (2,), (3,), (3,)),
    2: ((1, 1), (1, 1), (1, 1), (1, 2), (2, 1), (1, 2), (2, 1), (2, 2), (1, 3), (3, 1)),
}  # each as likely as it is often here
_TRIES = 200
_SEEN, _UNSEEN = 1000, 2000  # purposes of random numbers


def numbers(split: str, rows: Sequence[int] | np.ndarray) -> Int64[np.ndarray, " n"]:
    """The stream's numbers of a split's rows 0, 1, 2 ...

    Raises:
        UserError: there is no such split.
        IndexError: the split ends before a row.
    """
    if split not in SPLITS:
        raise UserError(f"still lifes have no split {split!r}: {nearest(split, SPLITS)}")
    first, end = SPLITS[split]
    rows = np.asarray(rows, np.int64)
    if rows.size and not (rows.min() >= 0 and rows.max() < end - first):
        raise IndexError(f"rows of {split} are numbered from 0 to {end - first - 1}")
    return first + rows


def scenes(seed: int, numbers: np.ndarray, unseen: bool = False) -> list[Scene]:
    """The scenes of these numbers: half of one group, half of two.

    With `unseen` each has a held-out combination, else none has.
    """
    numbers = np.asarray(numbers, np.int64)
    found: dict[int, Scene] = {}
    todo = np.arange(len(numbers))
    for attempt in range(_TRIES):
        rows = uniforms(seed, numbers[todo], (_UNSEEN if unseen else _SEEN) + attempt, 24).tolist()
        for place, row in zip(todo.tolist(), rows, strict=True):
            scene = _proposal(row, unseen)
            if scene is not None and held_out(scene) == unseen:
                found[place] = scene
        todo = todo[[place not in found for place in todo.tolist()]]
        if not len(todo):
            return [found[place] for place in range(len(numbers))]
    raise AssertionError("a scene is found long before this")


def held_out(scene: Scene) -> bool:
    """Whether the scene has a combination that is kept from training."""
    if any((group.colour, group.kind) in HELD_OUT_PAIRS for group in scene.groups):
        return True
    if len(scene.groups) == 1:
        return False
    first, second = (group.kind for group in scene.groups)
    said = (first, scene.where, second), (second, OPPOSITE[str(scene.where)], first)
    return any(one in HELD_OUT_RELATIONS for one in said)


def _proposal(row: list[float], unseen: bool) -> Scene | None:
    """A scene from uniform numbers; None where they say one that cannot be drawn."""
    row = row[::-1]  # taken from the end
    one = row.pop() < 0.5
    kinds, colours, sizes = [], [], []
    counts = _of(_COUNTS[1 if one else 2], row.pop())
    for _ in range(2):
        kinds.append(_of(KINDS, row.pop()))
        colours.append(_of(COLOURS, row.pop()) if row.pop() > 0.1 else None)
        sizes.append(_of((None, None, "small", "large", "large"), row.pop()))
    where, plate, side = _of(RELATIONS, row.pop()), None, row.pop()
    if one:
        where = _of(PLACES, row.pop()) if side < 0.35 else None
        plate = _of(COLOURS, row.pop()) if side > 0.6 else None
    if unseen:
        pair, relation, which, turned = (row.pop() for _ in range(4))
        if one or which < 0.5:
            place = 0 if one else int(turned * 2)
            colours[place], kinds[place] = _of(HELD_OUT_PAIRS, pair)
        else:
            first, where, second = _of(HELD_OUT_RELATIONS, relation)
            kinds = [first, second]
            if turned < 0.5:
                where, kinds = OPPOSITE[where], [second, first]
    groups = tuple(Group(*described) for described in zip(kinds, colours, sizes, counts, strict=False))
    try:
        return Scene(groups, where, plate)
    except UserError:
        return None


def _of(choices: Sequence, uniform: float):
    return choices[int(uniform * len(choices))]
