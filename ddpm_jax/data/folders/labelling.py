"""Labels and captions as people write them, as conditions: which classes there are, and which words."""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int32

from ddpm_jax.conditions import Label, Text
from ddpm_jax.errors import UserError, fail


def classes_of(labels: Sequence[str | int], names: Sequence[str] = ()) -> tuple[Label, Int32[np.ndarray, " n"]]:
    """The classes, and the number of each example's.

    Labels 0 ... K - 1 are the numbers. Others are names, which are numbered as they are sorted: by size where all are
    numbers, else by letters; or as they stand in `names`.
    """
    written = list(names) or sorted({str(label) for label in labels})
    if not names and all(is_number(label) for label in written):
        written.sort(key=int)
    numbered = written == [str(number) for number in range(len(written))]
    number = {name: place for place, name in enumerate(written)}
    found = np.asarray([number[str(label)] for label in labels], np.int32)
    return Label(len(written), () if numbered else tuple(written)), found


def is_number(label: str | int) -> bool:
    """Whether a label is a whole number, as such or written as one."""
    return re.fullmatch(r"-?\d+", str(label)) is not None


def captions_of(texts: Sequence[str]) -> tuple[Text, Int32[np.ndarray, "n length"]]:
    """The words of all captions, and each example's caption in their numbers.

    Raises:
        UserError: a caption has no word.
    """
    try:
        kind = Text.of(texts)
        return kind, kind.rows(texts)
    except UserError as error:
        fail("data.dir", f"text: {error}")
