"""Convolutions that look up and to the left only, of whole images and of one part after another (a PixelCNN's layers).

Every layer of a *down* stream sees the rows up to its own, over all columns; every layer of a *right* stream sees the
rows up to its own, and of its own the columns up to its own. So an image can be computed part by part: the down stream
a row at a time, the right stream a site at a time. A part comes with its `Place` and with the layer's memory of the
last two rows of its input; without them a layer computes a whole image.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, Key

from ddpm_jax.models.affine import Convolution, Dense
from ddpm_jax.models.layers import Dropout, dense

UNIT_VARIANCE = 1.55
"""One over the mean square of `concat_elu` of standard normals: a kernel of variance 1.55 / fan in keeps the scale."""

TOLD = 0.05
"""The deviation that what a vector of unit scale tells a block starts with: as of a published label's weights."""


class Place(NamedTuple):
    """Where a part of an image is: its row, and its column, which is 0 for a whole row."""

    row: Int[Array, ""]
    column: Int[Array, ""]

    def halved(self) -> "Place":
        """The place at half the resolution."""
        return Place(self.row // 2, self.column // 2)

    def is_kept(self) -> Bool[Array, ""]:
        """Whether half the resolution has a site here: those of even rows and columns."""
        return (self.row % 2 == 0) & (self.column % 2 == 0)


def concat_elu(x: Float[Array, "*shape channels"]) -> Float[Array, "*shape twice"]:
    """elu(x) and elu(-x) side by side."""
    return nn.elu(jnp.concatenate([x, -x], axis=-1))


class ShiftedConvolution(nn.Module):
    """A convolution whose output at (i, j) sees rows i - 1 and i; columns j - 1 to j + 1 (down) or j - 1 and j (right).

    With stride 2 the output at (i, j) sees what the output of stride 1 at (2i, 2j) does. Beyond the image there are
    zeros.
    """

    features: int
    right: bool
    stride: int = 1
    dtype: DTypeLike = jnp.float32
    scale: float = 1.0

    def setup(self):
        self.convolution = Convolution(
            self.features,
            (2, 2 if self.right else 3),
            self.stride,
            padding="VALID",
            dtype=self.dtype,
            kernel_init=nn.initializers.variance_scaling(UNIT_VARIANCE * self.scale, "fan_in", "truncated_normal"),
        )

    def __call__(
        self, x: Float[Array, "batch rows columns channels"], memory: Array | None = None, place: Place | None = None
    ) -> tuple[Float[Array, "batch new_rows new_columns features"], Array | None]:
        """The output for a whole image; or, with a memory and a place, for the part there, and the new memory."""
        window, memory = self.window(x, memory, place)
        return self.output(window), memory

    def window(
        self, x: Float[Array, "batch rows columns channels"], memory: Array | None, place: Place | None
    ) -> tuple[Float[Array, "batch seen_rows seen_columns channels"], Array | None]:
        """x with what the convolution sees above it and, if right, to its left; and the new memory."""
        left = int(self.right)
        if memory is None or place is None:
            return jnp.pad(x, ((0, 0), (1, 0), (left, 0), (0, 0))), None
        # Rows take turns in the memory. Its first column is the padding, and of the columns that this row has not
        # reached, which still hold the row before the last, none is read.
        now = place.row % 2
        memory = jax.lax.dynamic_update_slice(memory, x, [jnp.int32(at) for at in (0, now, place.column + left, 0)])
        size = (x.shape[0], 2, x.shape[2] + left, x.shape[3])
        window = jax.lax.dynamic_slice(memory, (0, 0, place.column, 0), size)
        return jnp.where(now == 1, window, window[:, ::-1]), memory

    def output(
        self, window: Float[Array, "batch seen_rows seen_columns channels"]
    ) -> Float[Array, "batch rows columns features"]:
        """The output for a window."""
        sides = 0 if self.right else 1
        return self.convolution(jnp.pad(window, ((0, 0), (0, 0), (sides, sides), (0, 0))))


def empty_memory(
    right: bool, count: int, columns: int, channels: int, dtype: DTypeLike
) -> Float[Array, "batch 2 seen_columns channels"]:
    """The memory of a `ShiftedConvolution` of so many channels before the first row."""
    return jnp.zeros((count, 2, columns + right, channels), dtype)


class Doubled(nn.Module):
    """Twice the rows and columns, by the transposed convolution of stride 2.

    Sites (2i, 2j) to (2i + 1, 2j + 1) are linear in site (i, j); in a down stream those of odd columns are linear in
    (i, j) and (i, j + 1).
    """

    features: int
    right: bool
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch rows columns channels"]
    ) -> Float[Array, "batch twice_rows twice_columns features"]:
        batch, rows, columns, _ = x.shape
        near = x
        if not self.right:
            near = jnp.concatenate([x, jnp.pad(x[:, :, 1:], ((0, 0), (0, 0), (0, 1), (0, 0)))], axis=-1)
        even, odd = dense(2 * self.features, self.dtype, name="even"), dense(2 * self.features, self.dtype, name="odd")
        y = jnp.stack([h.reshape(batch, rows, columns, 2, -1) for h in (even(x), odd(near))], axis=4)
        return y.transpose(0, 1, 3, 2, 4, 5).reshape(batch, 2 * rows, 2 * columns, -1)


class GatedBlock(nn.Module):
    """x + a sigmoid(b), where concat_elu, convolution, plus a dense layer of concat_elu(other), concat_elu, dropout,
    convolution, plus a dense layer of what is told make a and b of x."""

    features: int
    right: bool
    dropout: float
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch rows columns features"],
        other: Float[Array, "batch rows columns others"] | None,
        told: Float[Array, "batch width"] | None,
        dropout_keys: Key[Array, " batch"] | None,
        memory: tuple[Array, Array] | None = None,
        place: Place | None = None,
    ) -> tuple[Float[Array, "batch rows columns features"], tuple[Array | None, Array | None]]:
        first, second = memory or (None, None)
        conv_1 = ShiftedConvolution(self.features, self.right, dtype=self.dtype, name="conv_1")
        # The branch begins at a tenth of x's scale, as published.
        conv_2 = ShiftedConvolution(2 * self.features, self.right, dtype=self.dtype, scale=0.01, name="conv_2")
        h, first = conv_1(concat_elu(x), first, place)
        if other is not None:
            h += dense(self.features, self.dtype, name="other")(concat_elu(other))
        h = Dropout(self.dropout, name="dropout")(concat_elu(h), dropout_keys)
        h, second = conv_2(h, second, place)
        if told is not None:
            near = nn.initializers.variance_scaling(TOLD**2, "fan_in", "normal")
            h += Dense(2 * self.features, dtype=self.dtype, kernel_init=near, name="told")(told)[:, None, None]
        a, b = jnp.split(h, 2, axis=-1)
        return x + a * nn.sigmoid(b), (first, second)
