"""Text as a condition: captions as numbers of words, of a vocabulary, or of bytes."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Int32

from ddpm_jax.conditions.kinds import Kind
from ddpm_jax.errors import UserError, nearest

PADDING = 0
"""The number of no word, after the last one."""

FEW = 100
"""Words of a vocabulary that an error line shows whole."""

_WORD = re.compile(r"\w+(?:['-]\w+)*|[^\w\s]")


def split(caption: str) -> list[str]:
    """The words of a caption, in lower case; a mark is a word."""
    return _WORD.findall(caption.lower())


@dataclass(frozen=True)
class Text(Kind):
    """A caption as numbers of its words, 1 ... len(vocabulary), int32, then padding, which is 0; all padding is none.

    >>> text = Text.of(["a red apple", "two apples"])
    >>> text.rows(["a red apple"]).tolist()
    [[1, 4, 2]]
    >>> text.words(text.rows(["Two  apples"])[0])
    'two apples'

    Attributes:
        vocabulary: the words; none of them: a caption is its bytes in UTF-8, numbered 1 ... 256.
        length: of the longest caption, in words or bytes.
    """

    vocabulary: tuple[str, ...]
    length: int
    kind: ClassVar[str] = "text"
    dtype: ClassVar[DTypeLike] = np.int32
    said: ClassVar[bool] = True

    @classmethod
    def of(cls, captions: Iterable[str]) -> "Text":
        """With the words of these captions, those of training, and the length of the longest."""
        parts = [split(caption) for caption in captions]
        vocabulary = sorted({word for words in parts for word in words})
        if not vocabulary:
            raise UserError("there is no word in any caption")
        return cls(tuple(vocabulary), max(map(len, parts)))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.vocabulary, 1)}

    @property
    def size(self) -> int:
        """How many numbers there are, that of padding included."""
        return len(self.vocabulary) + 1 if self.vocabulary else 257

    @property
    def shape(self) -> tuple[int, ...]:
        """So many numbers."""
        return (self.length,)

    def null(self, count: int) -> Int32[Array, "count length"]:
        """All padding."""
        return jnp.full((count, self.length), PADDING, jnp.int32)

    def rows(self, values: Sequence[Any] | np.ndarray) -> Int32[np.ndarray, "n length"]:
        """Captions as numbers.

        Raises:
            UserError: a caption is empty or too long, or has a word that is not in the vocabulary.
        """
        found = np.full((len(values), self.length), PADDING, np.int32)
        for row, caption in enumerate(values):
            numbers = self._of(str(caption))
            if not numbers:
                raise UserError("the caption is empty; leave it out to draw without one")
            if len(numbers) > self.length:
                unit = "words" if self.vocabulary else "bytes"
                raise UserError(f"{str(caption)[:60]!r} has {len(numbers)} {unit}, and the longest has {self.length}")
            found[row, : len(numbers)] = numbers
        return found

    def _of(self, caption: str) -> list[int]:
        if not self.vocabulary:
            return [byte + 1 for byte in caption.encode()]
        words = split(caption)
        for word in words:
            if word not in self._numbers:
                raise UserError(f"the word {word!r} is in no caption of training{self._hint(word)}")
        return [self._numbers[word] for word in words]

    def _hint(self, word: str) -> str:
        """The word that may be meant, or all of them where they fit a line."""
        hint = nearest(word, self.vocabulary)
        fits = len(self.vocabulary) <= FEW or hint.startswith("did you mean")
        return f"; {hint}" if fits else f", whose words are {len(self.vocabulary)}"

    def words(self, value: np.ndarray) -> str:
        """The words, a space between two."""
        numbers = [int(number) for number in value if number != PADDING]
        if not self.vocabulary:
            return bytes(number - 1 for number in numbers).decode(errors="replace")
        return " ".join(self.vocabulary[number - 1] for number in numbers)
