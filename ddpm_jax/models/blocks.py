"""The block of the transformers over sites."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from ddpm_jax.models.affine import LayerNorm
from ddpm_jax.models.attention import attend_where
from ddpm_jax.models.efficient_attention import attend
from ddpm_jax.models.layers import Dropout, dense


class Block(nn.Module):
    """h + attention(norm(h)), then h + mlp(norm(h)). The MLP is 4 times as wide, with GELU (the tanh approximation)."""

    channels: int
    heads: int
    dropout: float
    dtype: DTypeLike
    fused: bool = False

    def setup(self):
        self.norm_1, self.norm_2 = (LayerNorm(dtype=self.dtype) for _ in range(2))
        self.query_key_value = dense(3 * self.channels, self.dtype)
        self.projection = dense(self.channels, self.dtype, scale=0.0)
        self.mlp_1 = dense(4 * self.channels, self.dtype)
        self.mlp_2 = dense(self.channels, self.dtype, scale=0.0)
        self.dropout_1, self.dropout_2 = Dropout(self.dropout), Dropout(self.dropout)

    def __call__(
        self,
        h: Float[Array, "batch tokens channels"],
        chunk: int,
        dropout_keys: Key[Array, " batch"] | None,
        numbers: UInt32[Array, "2"] | tuple[None, None] = (None, None),
    ) -> Float[Array, "batch tokens channels"]:
        """`chunk` as in `attend`; `numbers` are of its dropouts, in a loop."""
        query, key, value = self._heads(h)
        attended = attend(query, key, value, chunk, self.fused and dropout_keys is not None)
        return self._rest(h, attended, dropout_keys, numbers)

    def masked(
        self, h: Float[Array, "batch tokens channels"], visible: Bool[Array, "batch tokens"]
    ) -> Float[Array, "batch tokens channels"]:
        """The same where all see those that are visible; without dropout."""
        query, key, value = self._heads(h)
        return self._rest(h, attend_where(query, key, value, visible[:, None, None]), None)

    def advance(
        self, h: Float[Array, "batch chunk channels"], cache: tuple[Array, Array], step: Int[Array, ""]
    ) -> tuple[Float[Array, "batch chunk channels"], tuple[Array, Array]]:
        """The same for the tokens of one group, given the keys and values of those before."""
        chunk = h.shape[1]
        query, *new = self._heads(h)
        key, value = (
            jax.lax.dynamic_update_slice_in_dim(a, b, step * chunk, 2) for a, b in zip(cache, new, strict=True)
        )
        visible = jnp.arange(key.shape[2]) < (step + 1) * chunk
        return self._rest(h, attend_where(query, key, value, visible), None), (key, value)

    def _heads(self, h: Array) -> list[Array]:
        """Queries, keys and values, [batch, heads, tokens, channels / heads] each."""
        three = self.query_key_value(self.norm_1(h)).reshape(*h.shape[:2], 3, self.heads, -1)
        return list(three.transpose(2, 0, 3, 1, 4))

    def _rest(self, h: Array, attended: Array, dropout_keys: Array | None, numbers: Any = (None, None)) -> Array:
        attended = attended.transpose(0, 2, 1, 3).reshape(h.shape)
        h = h + self.dropout_1(self.projection(attended), dropout_keys, numbers[0])
        return h + self.dropout_2(self._mlp(self.norm_2(h)), dropout_keys, numbers[1])

    def _mlp(self, h: Array) -> Array:
        return self.mlp_2(nn.gelu(self.mlp_1(h), approximate=True))
