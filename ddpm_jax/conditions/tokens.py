"""Text as a condition by a frozen encoder: what it says of each piece of a caption."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float32, Int32

from ddpm_jax.conditions.kinds import Kind
from ddpm_jax.errors import UserError


@runtime_checkable
class Reader(Protocol):
    """A frozen encoder of texts (`data/encoder.py`)."""

    def pieces(self, caption: str) -> list[int]:
        """Numbers of a caption's pieces."""
        ...

    def encode(self, numbers: Int32[np.ndarray, "n length"]) -> Float32[np.ndarray, "n length features"]:
        """What it says of each piece of n captions; `numbers` are 1 more than the pieces', and 0 after the last."""
        ...

    def words(self, pieces: Sequence[int]) -> str:
        """A caption of these pieces."""
        ...


@dataclass(frozen=True)
class Tokens(Kind):
    """A caption as a frozen encoder's outputs for its pieces, float32; no piece at all is none.

    After the features of a piece stands 1 more than its number, and 0 where there is no piece: then all are zeros. So a
    network sees where the caption ends, and a person reads it back.

    Attributes:
        length: pieces of the longest caption.
        features: of each.
        encoder: which one: a digest of its weights and of its vocabulary, wherever its folder lies.
        reader: the encoder itself; not compared, for `encoder` is.
    """

    length: int
    features: int
    encoder: str
    reader: Reader = field(compare=False, repr=False)
    kind: ClassVar[str] = "tokens"
    dtype: ClassVar[DTypeLike] = np.float32
    said: ClassVar[bool] = True

    @property
    def shape(self) -> tuple[int, ...]:
        """Pieces, and their features and numbers."""
        return (self.length, self.features + 1)

    def null(self, count: int) -> Float32[Array, "count length features"]:
        """Zeros."""
        return jnp.zeros((count, *self.shape), jnp.float32)

    def rows(self, values: Sequence[Any] | np.ndarray) -> Float32[np.ndarray, "n length features"]:
        """Captions as the encoder reads them.

        Raises:
            UserError: a caption is empty or too long.
        """
        numbers = self.numbers(list(values))
        for caption, one in zip(values, numbers, strict=True):
            if not one.any():
                raise UserError(f"the caption {str(caption)[:60]!r} is empty; leave it out to draw without one")
        return joined(half(self.reader.encode(numbers)), numbers)

    def numbers(self, captions: Sequence[Any]) -> Int32[np.ndarray, "n length"]:
        """1 more than the numbers of their pieces, then zeros. Raises UserError for a caption that is too long."""
        found = np.zeros((len(captions), self.length), np.int32)
        for row, caption in enumerate(captions):
            pieces = self.reader.pieces(str(caption))
            if len(pieces) > self.length:
                words = f"{str(caption)[:60]!r} has {len(pieces)} pieces of words"
                raise UserError(f"{words}, and the longest caption of the data {self.length}")
            found[row, : len(pieces)] = np.asarray(pieces, np.int32) + 1
        return found

    def words(self, value: np.ndarray) -> str:
        """The caption, as its pieces have it."""
        return self.reader.words([int(number) - 1 for number in value[:, -1] if number > 0])


def half(features: Float32[np.ndarray, "n length features"]) -> np.ndarray:
    """As they are kept, in float16; prompts are rounded likewise, for a network is to see what it was trained on."""
    return np.clip(features, -65504, 65504).astype(np.float16)


def joined(features: Any, numbers: Any) -> Any:
    """Features of any floating type and numbers, `[..., length]`, as values; NumPy's or JAX's, also while traced."""
    library: Any = np if isinstance(numbers, np.ndarray) else jnp
    last = numbers[..., None].astype(np.float32)
    return library.concatenate([features.astype(np.float32), last], axis=-1)
