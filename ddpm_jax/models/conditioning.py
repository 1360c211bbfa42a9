"""From any set of conditions to the three things that a network can be given: a vector, a sequence, channels.

A new kind of condition is read here and nowhere else; a network says which parts of a context it uses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from ddpm_jax.conditions import NONE, Condition, Conditions
from ddpm_jax.conditions.text import PADDING
from ddpm_jax.models.affine import Dense, LayerNorm
from ddpm_jax.models.attention import attend_where
from ddpm_jax.models.blocks import Block
from ddpm_jax.models.checks import TEXT_HEADS
from ddpm_jax.models.layers import dense, sinusoids

VECTOR, SEQUENCE, CHANNELS = "vector", "sequence", "channels"


@partial(jax.tree_util.register_dataclass, data_fields=["vector", "sequence", "mask", "channels"], meta_fields=[])
@dataclass(frozen=True)
class Context:
    """What a network is given of an image's conditions; None where there is nothing of the sort.

    Attributes:
        vector: `[batch, width]`, to be added to the embedding of the time.
        sequence: `[batch, length, features]`, for cross-attention.
        mask: `[batch, length]`, where the sequence says something; its first place always does.
        channels: `[batch, *space, c]`, beside the input.
    """

    vector: Any = None
    sequence: Any = None
    mask: Any = None
    channels: Any = None

    def beside(self, x: Float[Array, "batch *space channels"]) -> Float[Array, "batch *space more"]:
        """The input with the channels after its own."""
        return x if self.channels is None else jnp.concatenate([x, self.channels.astype(x.dtype)], axis=-1)


Read = tuple[Float[Array, "batch tokens channels"], Bool[Array, "batch tokens"]]
"""A caption as a sequence, and which of its tokens there are: the first always is."""


class CaptionEncoder(nn.Module):
    """A small transformer over the words of a caption, trained with the network: all words see one another.

    Before the words stands a token of its own, whose output is the caption as a whole, and which is all there is of no
    caption. Padding is not seen, so it changes nothing.
    """

    channels: int
    depth: int
    heads: int

    def read(self, words: Float[Array, "batch length channels"], there: Bool[Array, "batch length"]) -> Read:
        """The caption of these words; called by what makes them."""
        small = nn.initializers.normal(0.02)
        first = jnp.broadcast_to(self.param("first", small, (self.channels,)), (len(words), 1, self.channels))
        h = jnp.concatenate([first, words], axis=1)
        mask = jnp.concatenate([jnp.ones((len(words), 1), bool), there], axis=1)
        places = jnp.arange(h.shape[1], dtype=jnp.float32)
        h += 0.3 * sinusoids(places, self.channels, self.channels // 2)
        for i in range(self.depth):
            h = Block(self.channels, self.heads, 0.0, jnp.float32, name=f"block_{i}").masked(h, mask)
        return LayerNorm(name="last_norm")(h), mask


class TextEncoder(CaptionEncoder):
    """Of words by their numbers, whose embeddings are trained."""

    size: int = 0

    @nn.compact
    def __call__(self, numbers: Int[Array, "batch length"]) -> Read:
        words = nn.Embed(self.size, self.channels, embedding_init=nn.initializers.normal(0.3), name="words")(numbers)
        return self.read(words, numbers != PADDING)


class TokensEncoder(CaptionEncoder):
    """Of what a frozen encoder says of each piece."""

    @nn.compact
    def __call__(self, values: Float[Array, "batch length features"]) -> Read:
        return self.read(dense(self.channels, name="words")(values[..., :-1]), values[..., -1] > 0)


class Conditioning(nn.Module):
    """Conditions to a context. It is a part of a network, which calls it once for all.

    Attributes:
        conditions: which, and of what kinds.
        text_channels: of the transformer that reads a text, or what a frozen encoder says of it; a multiple of
            `checks.TEXT_HEADS`.
        text_depth: its blocks.
        text_tokens: a network is given the words as a sequence, not only the caption as a whole, which cannot say what
            belongs to what.
    """

    conditions: Conditions
    text_channels: int = 64
    text_depth: int = 2
    text_tokens: bool = True

    @property
    def parts(self) -> set[str]:
        """Which parts a context has."""
        found = {part for _, kind in self.conditions.kinds for part in PARTS[kind.kind]}
        return found if self.text_tokens else found - {SEQUENCE}

    @nn.compact
    def __call__(
        self,
        condition: Condition,
        width: int,
        space: tuple[int, ...] = (),
        label: Callable[..., nn.Module] | None = None,
        scale: float = 0.02,
    ) -> Context:
        """The context.

        Args:
            condition: a value for each name.
            width: of the vector.
            space: of the input, to which pictures are resized.
            label: makes the module of a label, of `(classes, width, name)`, in place of an embedding.
            scale: the deviation of a fresh embedding.
        """
        text = self.text_channels, self.text_depth, self.text_tokens
        how = Reading(width, tuple(space), label, scale, *text, frozenset(self.conditions))
        return joined([READERS[kind.kind](name, kind, condition[name], how) for name, kind in self.conditions.kinds])


@dataclass(frozen=True)
class Reading:
    """How conditions are read: the arguments of `Conditioning.__call__`, its attributes, and the conditions' names.

    A reader is a function `(name, kind, value, how) -> Context`, called within `Conditioning`, whose parts the modules
    are that it makes; the parameters of the condition `name` have that name, and what else a reader makes one that
    `free` gives.
    """

    width: int
    space: tuple[int, ...]
    label: Callable[..., nn.Module] | None
    scale: float
    text_channels: int
    text_depth: int
    text_tokens: bool
    names: frozenset[str]

    @property
    def small(self) -> nn.initializers.Initializer:
        """Of a fresh embedding."""
        return nn.initializers.normal(self.scale)

    def free(self, name: str) -> str:
        """The name; with underscores after it where a condition has it."""
        return self.free(f"{name}_") if name in self.names else name


def read_label(name: str, kind: Any, value: Int[Array, " batch"], how: Reading) -> Context:
    """Its embedding."""
    if how.label is not None:
        return Context(vector=how.label(kind.classes, how.width, name)(value))
    return Context(vector=nn.Embed(kind.classes + 1, how.width, embedding_init=how.small, name=name)(value))


def read_vector(name: str, kind: Any, value: Float[Array, "batch size"], how: Reading) -> Context:
    """A dense layer of it."""
    return Context(vector=Dense(how.width, kernel_init=how.small, name=name)(value))


def read_text(name: str, kind: Any, value: Int[Array, "batch length"], how: Reading) -> Context:
    """Its words, and as a whole what stands before them."""
    tokens, mask = TextEncoder(how.text_channels, how.text_depth, TEXT_HEADS, kind.size, name=name)(value)
    return of_words(name, tokens[:, 0], (tokens, mask), how)


def read_tokens(name: str, kind: Any, value: Float[Array, "batch length features"], how: Reading) -> Context:
    """Its pieces, and as a whole their mean."""
    tokens, mask = TokensEncoder(how.text_channels, how.text_depth, TEXT_HEADS, name=name)(value)
    return of_words(name, mean_where(tokens, mask), (tokens, mask), how)


def of_words(name: str, whole: Float[Array, "batch channels"], read: Read, how: Reading) -> Context:
    """A vector of a caption as a whole; and the caption word by word, where that is wanted."""
    vector = dense(how.width, name=how.free(f"{name}_vector"))(whole)
    return Context(vector, *read) if how.text_tokens else Context(vector)


def read_picture(name: str, kind: Any, value: Float[Array, "batch *space channels"], how: Reading) -> Context:
    """The picture, as large as the input."""
    return Context(channels=jax.image.resize(value, (value.shape[0], *how.space, value.shape[-1]), "linear"))


READERS: dict[str, Callable[..., Context]] = {
    "label": read_label,
    "vector": read_vector,
    "text": read_text,
    "tokens": read_tokens,
    "image": read_picture,
}
"""What reads each kind of condition."""

PARTS = {
    "label": (VECTOR,),
    "vector": (VECTOR,),
    "text": (VECTOR, SEQUENCE),
    "tokens": (VECTOR, SEQUENCE),
    "image": (CHANNELS,),
}
"""What becomes of each kind of condition."""


def mean_where(
    tokens: Float[Array, "batch tokens channels"], mask: Bool[Array, "batch tokens"]
) -> Float[Array, "batch channels"]:
    """Over the tokens that there are; one at least."""
    return jnp.where(mask[..., None], tokens, 0).sum(1) / mask.sum(1, keepdims=True)


def joined(contexts: Sequence[Context]) -> Context:
    """Vectors are added, sequences and channels stand one after another."""
    vectors, sequences, masks, channels = (
        [found for one in contexts if (found := getattr(one, part)) is not None]
        for part in ("vector", "sequence", "mask", "channels")
    )
    return Context(
        sum(vectors[1:], vectors[0]) if vectors else None,
        jnp.concatenate(sequences, axis=1) if sequences else None,
        jnp.concatenate(masks, axis=1) if masks else None,
        jnp.concatenate(channels, axis=-1) if channels else None,
    )


def told(conditioning: Conditioning | None) -> Conditions:
    """What a network with this part is told."""
    return NONE if conditioning is None else conditioning.conditions


class CrossAttention(nn.Module):
    """h + projection(attention(norm(h), sequence)): every token reads a sequence as far as its mask goes."""

    channels: int
    heads: int
    dtype: DTypeLike = jnp.float32

    def setup(self):
        self.norm = LayerNorm(dtype=self.dtype)
        self.query = dense(self.channels, self.dtype)
        self.key_value = dense(2 * self.channels, self.dtype)
        self.projection = dense(self.channels, self.dtype, scale=0.0)

    def __call__(
        self,
        h: Float[Array, "batch tokens channels"],
        sequence: Float[Array, "batch length features"],
        mask: Bool[Array, "batch length"],
    ) -> Float[Array, "batch tokens channels"]:
        return self.read(h, self.remember(sequence), mask)

    def remember(self, sequence: Float[Array, "batch length features"]) -> tuple[Array, Array]:
        """Keys and values of the sequence, which do not depend on h."""
        key, value = jnp.split(self.key_value(sequence.astype(self.dtype)), 2, axis=-1)
        return self._heads(key), self._heads(value)

    def read(
        self, h: Float[Array, "batch tokens channels"], memory: tuple[Array, Array], mask: Bool[Array, "batch length"]
    ) -> Float[Array, "batch tokens channels"]:
        """The same, of what was remembered."""
        query = self._heads(self.query(self.norm(h)))
        read = attend_where(query, *memory, mask[:, None, None])
        return h + self.projection(read.transpose(0, 2, 1, 3).reshape(h.shape)).astype(h.dtype)

    def _heads(self, h: Array) -> Array:
        return h.reshape(*h.shape[:2], self.heads, -1).transpose(0, 2, 1, 3)
