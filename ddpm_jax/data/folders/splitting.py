"""Which split a picture is in: by its content where its place says none, and by the words of a config."""

import hashlib
import re
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Integer

from ddpm_jax.errors import fail, nearest

TRAIN, VALIDATION, TEST = "train", "validation", "test"

Rows = Integer[np.ndarray, "_"]
"""Numbers of examples."""


def by_content(digests: Sequence[str], share: float, seed: int) -> list[str]:
    """A split for each content: test for a share of all, validation for as much, else train.

    A uniform number u in [0, 1) is drawn for each content from the hash of the seed and it alone: test is u < share,
    validation share <= u < 2 share. So no picture's split depends on its name, or on which others there are.
    """
    found = []
    for digest in digests:
        drawn = hashlib.sha256(f"ddpm_jax split {seed}:{digest}".encode()).digest()
        u = int.from_bytes(drawn[:7], "big") / 2**56
        found.append(TEST if u < share else VALIDATION if u < 2 * share else TRAIN)
    return found


def assign(places: Sequence[str], digests: Sequence[str], share: float, seed: int) -> dict[str, Rows]:
    """The numbers of the examples of each split, each in the order of their hashes.

    Args:
        places: the split that each example is given; empty where none is.
        digests: hashes of contents.
        share: of what is given no split, or is in train, for a split that is missing.
        seed: of that.
    """
    given = set(places) - {""}
    drawn = by_content(digests, share, seed)
    chosen = [
        drew if place in ("", TRAIN) and drew not in given else place or TRAIN
        for place, drew in zip(places, drawn, strict=True)
    ]
    order = sorted(range(len(digests)), key=lambda row: digests[row])
    rows = {split: [row for row in order if chosen[row] == split] for split in (TRAIN, VALIDATION, TEST)}
    return {split: np.asarray(found, np.int64) for split, found in rows.items()}


def chosen(splits: Mapping[str, Rows], words: Mapping[str, str]) -> dict[str, Rows]:
    """Splits by the words of a config, as TFDS has them: `train`, or a part of it, `train[:900]`, `train[90%:]`.

    Raises:
        UserError: there is no such split, or nothing in that part of it.
    """
    found = {}
    for split, said in words.items():
        parts = re.fullmatch(r"(\w+)(?:\[(-?\d+%?)?:(-?\d+%?)?\])?", said.strip())
        if not parts or parts[1] not in splits:
            hint = nearest(parts[1] if parts else said, splits)
            fail(f"data.splits.{split}", f"{said!r} is no split of these pictures, nor a part of one; {hint}")
        rows = splits[parts[1]]
        start, stop = (_place(word, len(rows)) for word in parts.groups()[1:])
        found[split] = rows[start:stop]
        if not len(found[split]):
            fail(f"data.splits.{split}", f"{said!r} holds no picture: {parts[1]} has {len(rows)}")
    return found


def _place(word: str | None, count: int) -> int | None:
    """A row, or a share of all rows, rounded down."""
    if word is None:
        return None
    return int(word[:-1]) * count // 100 if word.endswith("%") else int(word)
