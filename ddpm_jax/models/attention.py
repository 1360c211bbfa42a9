"""A transformer's block, and attention over all tokens or those of earlier groups, in forms that XLA does well."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int, Key

from ddpm_jax.models.affine import LayerNorm
from ddpm_jax.models.layers import Dropout, dense

PARTS = 8
"""Into how many parts of the queries causal attention is cut at most."""


def attend_where(
    query: Float[Array, "batch heads tokens features"],
    key: Float[Array, "batch heads others features"],
    value: Float[Array, "batch heads others features"],
    visible: Bool[Array, "*#tokens others"] | None = None,
) -> Float[Array, "batch heads tokens features"]:
    """softmax(query key^T / sqrt(features)) value, over the others that are visible; each token sees one at least.

    The logits and the softmax are float32. Plain XLA, so that it has derivatives of every order and kind. On a CPU it
    is about twice as fast as `jax.nn.dot_product_attention`: heads stand before tokens, and it divides at the end.
    """
    query = query / math.sqrt(query.shape[-1])
    logits = jnp.einsum("bhqd,bhkd->bhqk", query, key, preferred_element_type=jnp.float32)
    if visible is not None:
        logits = jnp.where(visible, logits, -1e30)
    # The largest may count as a constant, because a softmax does not change when one is added to its logits.
    weights = jnp.exp(logits - jax.lax.stop_gradient(logits.max(-1, keepdims=True)))
    total = weights.sum(-1, keepdims=True)
    h = jnp.einsum("bhqk,bhkd->bhqd", weights.astype(value.dtype), value, preferred_element_type=jnp.float32)
    return (h / total).astype(query.dtype)


def attend_before(
    query: Float[Array, "batch heads tokens features"],
    key: Float[Array, "batch heads tokens features"],
    value: Float[Array, "batch heads tokens features"],
    chunk: int,
) -> Float[Array, "batch heads tokens features"]:
    """`attend_where` the others are of the same or an earlier group of `chunk` tokens.

    In up to `PARTS` parts of the queries, each with the keys that its last one may see: nearly half the work, and less
    memory.
    """
    tokens = query.shape[2]
    count = min(PARTS, max(1, tokens // 96))
    size = -(-tokens // count // chunk) * chunk  # whole groups
    groups, parts = np.arange(tokens) // chunk, []
    for start in range(0, tokens, size):
        stop = min(start + size, tokens)
        visible = jnp.asarray(groups[start:stop, None] >= groups[:stop])
        parts.append(attend_where(query[:, :, start:stop], key[:, :, :stop], value[:, :, :stop], visible))
    return jnp.concatenate(parts, axis=2)


class Block(nn.Module):
    """h + attention(norm(h)), then h + mlp(norm(h)). The MLP is 4 times as wide, with GELU (the tanh approximation)."""

    channels: int
    heads: int
    dropout: float
    dtype: Any

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
    ) -> Float[Array, "batch tokens channels"]:
        """`chunk` as in `attend_before`; 0: every token attends to all."""
        query, key, value = self._heads(h)
        attended = attend_before(query, key, value, chunk) if chunk else attend_where(query, key, value)
        return self._rest(h, attended, dropout_keys)

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

    def _rest(self, h: Array, attended: Array, dropout_keys: Array | None) -> Array:
        attended = attended.transpose(0, 2, 1, 3).reshape(h.shape)
        h = h + self.dropout_1(self.projection(attended), dropout_keys)
        return h + self.dropout_2(self._mlp(self.norm_2(h)), dropout_keys)

    def _mlp(self, h: Array) -> Array:
        return self.mlp_2(nn.gelu(self.mlp_1(h), approximate=True))
