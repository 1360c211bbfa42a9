"""Data sets of pictures with captions that come with the project: still lifes, drawn as they are needed, and emoji.

Still lifes need SciPy, whose import takes a while, so they are imported where they are asked for.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ddpm_jax.conditions import Conditions, Picture, Text
from ddpm_jax.conditions.table import Condition
from ddpm_jax.data import emoji
from ddpm_jax.data.description import Description
from ddpm_jax.errors import UserError, nearest

STILL_LIFES, EMOJI = "still_lifes", emoji.NAME

LENGTH = 10
"""Words of the longest caption of a still life."""

SIZES = {STILL_LIFES: 16, EMOJI: 32}
"""Pixels of a side, unless the name says another number: `still_lifes/32`."""

COUNTS = {"train": 50_000, "validation": 1000, "test": 1000, "unseen": 1000}
"""Still lifes of each split. `unseen` are those with a combination that is kept from the others."""

SEED = 0
"""Of the stream of still lifes."""


def is_captioned(name: str) -> bool:
    """Whether a name is of one of these."""
    return name.partition("/")[0] in SIZES


def size_of(name: str) -> int:
    """Pixels of a side. Raises UserError where the name says no number."""
    base, slash, words = name.partition("/")
    if slash and not (words.isdecimal() and int(words)):
        raise UserError(f"data set {name!r}: {words!r} is no size in pixels, such as {base}/{SIZES[base]}")
    return int(words) if slash else SIZES[base]


def describe(name: str) -> Description:
    """The description: colours, a caption, and of emoji a sketch of the same picture."""
    size, base = size_of(name), name.partition("/")[0]
    if base == STILL_LIFES:
        from ddpm_jax.data import still_lifes

        kinds: tuple = (("text", Text(tuple(sorted(still_lifes.WORDS)), LENGTH)),)
    else:
        longest = max(len(one.caption.encode()) for one in emoji.entries())
        kinds = (("text", Text((), longest)), ("sketch", Picture((size, size, 1))))
    return Description(name, "1", (size, size, 3), 256, Conditions(kinds))


def splits_of(name: str, splits: Mapping[str, str] | None) -> dict[str, tuple[str, int]]:
    """The words and the number of pictures of each split: a split's name, or the first N of it, `train[:N]`."""
    found = {}
    for split, words in {"unseen": "unseen", **(splits or {split: split for split in COUNTS})}.items():
        parts = re.fullmatch(r"(\w+)(?:\[:(\d+)\])?", words)
        if not parts or parts[1] not in COUNTS or parts[2] == "0":
            said = nearest(parts[1] if parts else words, COUNTS)
            raise UserError(f"split {words!r} of {name!r}: {said}; give a split, or the first N of it as train[:N]")
        found[split] = (words, int(parts[2] or COUNTS[parts[1]]))
    return found


def read_still_lifes(description: Description, words: str, rows: np.ndarray) -> tuple[np.ndarray, Condition]:
    """Still lifes of a split, and their captions as numbers."""
    from ddpm_jax.data import still_lifes

    split = words.partition("[")[0]
    unseen = split == "unseen"
    numbers = still_lifes.numbers("test" if unseen else split, rows)
    images, scenes = still_lifes.draw(SEED, numbers, description.shape[0], unseen)
    return images, {"text": description.conditions["text"].rows([still_lifes.caption(scene) for scene in scenes])}


@dataclass(frozen=True)
class StillLifes:
    """The oracle of still lifes."""

    def agreement(self, images: UInt8[np.ndarray, "n size size 3"], captions: Sequence[str]) -> dict[str, float]:
        """See `still_lifes.agreement`, captions as `still_lifes.parse` reads them; and the mean `area` of things."""
        from ddpm_jax.data import still_lifes

        found: list[Any] = []
        for start in range(0, len(images), 1000):
            found += still_lifes.read(images[start : start + 1000])
        shares = still_lifes.agreement(found, [still_lifes.parse(caption) for caption in captions])
        return {**shares, "area": float(np.mean([reading.area for reading in found]))}


@functools.cache
def _emoji(size: int) -> dict[str, emoji.Pictures]:
    return emoji.splits(emoji.pictures(size, sketches=True))


def count_of_emoji(name: str, split: str) -> int:
    """How many emoji a split has. Raises UserError for a split that there is not, or where the extra is missing."""
    parts = _emoji(size_of(name))
    if split not in parts:
        raise UserError(f"split {split!r} of {name!r}: {nearest(split, parts)}")
    return len(parts[split])


def read_emoji(description: Description, split: str, rows: np.ndarray) -> tuple[np.ndarray, Condition]:
    """Emoji of a split, with their names and sketches."""
    found, kinds = _emoji(description.shape[0])[split].rows(rows), description.conditions
    sketches: Any = found.sketches
    return found.images, {"text": kinds["text"].rows(found.captions), "sketch": kinds["sketch"].rows(sketches)}
