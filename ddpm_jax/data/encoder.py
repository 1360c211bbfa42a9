"""A frozen encoder of captions, from a folder of published weights: a tokeniser and a BERT."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float32, Int32

from ddpm_jax.conditions import wordpiece
from ddpm_jax.conditions.wordpiece import WordPiece
from ddpm_jax.errors import UserError
from ddpm_jax.files import sha256
from ddpm_jax.progress import Bar

BATCH = 256
"""Captions that are read at once."""


@dataclass(frozen=True, eq=False)
class Encoder:
    """A `conditions.tokens.Reader`.

    >>> encoder = read("all-MiniLM-L6-v2")  # doctest: +SKIP
    >>> encoder.words(encoder.pieces("Two  watermelons!"))  # doctest: +SKIP
    'two watermelons !'

    Attributes:
        tokeniser: from captions to pieces.
        bert: from pieces to features.
    """

    tokeniser: WordPiece
    bert: Any

    @property
    def features(self) -> int:
        """Of each piece."""
        return self.bert.features

    @property
    def longest(self) -> int:
        """Pieces of the longest caption; two more stand before and after it."""
        return self.bert.longest - 2

    @cached_property
    def digest(self) -> str:
        """Of all that its outputs depend on, wherever it lies: 16 hexadecimal digits."""
        weights = self.bert.weights
        named = (part for name in sorted(weights) for part in (name, np.asarray(weights[name])))
        return sha256([repr((self.bert.heads, self.bert.epsilon)), repr(self.tokeniser), *named])[:16]

    def pieces(self, caption: str) -> list[int]:
        """Numbers of a caption's pieces."""
        return self.tokeniser.numbers(caption)

    def words(self, pieces: Sequence[int]) -> str:
        """A caption of these pieces."""
        return self.tokeniser.words(pieces)

    def encode(self, numbers: Int32[np.ndarray, "n length"], progress: str = "") -> Float32[np.ndarray, "n length f"]:
        """The last layer's outputs at the pieces; zeros where there is none.

        The encoder reads a mark before the caption and one after it; their outputs are not kept.

        Args:
            numbers: 1 more than the pieces', and 0 after the last.
            progress: the title of a bar, where it may take long.
        """
        count, length = numbers.shape
        found = np.zeros((count, length, self.features), np.float32)
        with Bar(f"{progress}: caption", count, unit="captions", off=not progress) as bar:
            for start in range(0, count, BATCH):
                part = numbers[start : start + BATCH]
                size = BATCH if count > BATCH else 1 << (count - 1).bit_length()  # few programs
                padded = np.pad(part, ((0, size - len(part)), (0, 0)))
                found[start : start + BATCH] = np.asarray(_between_marks(self.bert, self._marked(padded)))[: len(part)]
                bar.update(start + len(part))
        return np.where(numbers[..., None] > 0, found, np.float32(0))

    def _marked(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers of pieces with the marks before and after each caption; -1 after that."""
        first, last = self.tokeniser.number(wordpiece.FIRST), self.tokeniser.number(wordpiece.LAST)
        marked = np.pad(numbers - 1, ((0, 0), (1, 1)), constant_values=-1)
        marked[:, 0] = first
        marked[np.arange(len(marked)), 1 + (numbers > 0).sum(1)] = last
        return marked


@jax.jit
def _between_marks(bert: Any, marked: Any) -> Any:
    """The outputs without those of the first and the last place."""
    from ddpm_jax.models.bert import encode

    return encode(bert, marked.clip(0), marked >= 0)[:, 1:-1]


def read(folder: str | Path) -> Encoder:
    """The encoder in a folder, as model hubs keep a BERT: `config.json`, `model.safetensors`, `tokenizer.json`.

    Raises:
        UserError: it is no such folder, or one of its files does not read or fit; nothing is downloaded.
    """
    from ddpm_jax.models import bert

    place = Path(folder).expanduser()
    if not place.is_dir():
        new = "--config.model.text_encoder to train, --text_encoder to sample or evaluate, load_run(..., text_encoder=)"
        raise UserError(f"{folder}: there is no such folder; nothing is downloaded. If it has moved, say where: {new}")
    weights = bert.read(place)
    tokeniser = wordpiece.read(place)
    if len(tokeniser.vocabulary) > weights.pieces:
        words = f"{len(tokeniser.vocabulary)} pieces, and the weights are for {weights.pieces}"
        raise UserError(f"{folder}: its tokeniser has {words}")
    return Encoder(tokeniser, weights)
