"""Attention over all tokens or those of earlier groups, in forms that XLA does well."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

PARTS = 8
"""Into how many parts of the queries causal attention is cut at most."""

BLOCK = 512
"""Queries at once, where not all weights are to be in memory."""


def attend_where(
    query: Float[Array, "batch heads tokens features"],
    key: Float[Array, "batch heads others features"],
    value: Float[Array, "batch heads others features"],
    visible: Bool[Array, "*#seen others"] | None = None,
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


def attend_in_blocks(
    query: Float[Array, "batch heads tokens features"],
    key: Float[Array, "batch heads tokens features"],
    value: Float[Array, "batch heads tokens features"],
    chunk: int = 0,
    block: int = BLOCK,
) -> Float[Array, "batch heads tokens features"]:
    """`attend_before` in chunks, or with chunk 0 `attend_where` all are visible, a block of queries after another.

    Each block has its whole softmax, which the backward pass computes again, so that memory grows with the tokens and
    not with their square (Rabe and Staats 2021). It has derivatives of every order and kind too.
    """
    tokens = query.shape[2]
    count = -(-tokens // block)
    block = -(-tokens // count)  # as even as can be, and no longer than all
    padded = jnp.pad(query, ((0, 0), (0, 0), (0, count * block - tokens), (0, 0)))
    parts = jnp.moveaxis(padded.reshape(*query.shape[:2], count, block, query.shape[-1]), 2, 0)

    @jax.checkpoint
    def attend(part: Array, first: Array) -> Array:
        groups = jnp.minimum(first + jnp.arange(block), tokens - 1) // max(chunk, 1)
        visible = groups[:, None] >= jnp.arange(tokens) // chunk if chunk else None
        return attend_where(part, key, value, visible)

    done = jax.lax.map(lambda given: attend(*given), (parts, block * jnp.arange(count)))
    return jnp.moveaxis(done, 0, 2).reshape(padded.shape)[:, :, :tokens]
