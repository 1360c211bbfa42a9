"""Attention over all tokens or those of earlier groups: in forms that XLA does well, or fused by cuDNN."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

PARTS = 8
"""Into how many parts of the queries causal attention is cut at most."""


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


def attend(
    query: Float[Array, "batch heads tokens features"],
    key: Float[Array, "batch heads tokens features"],
    value: Float[Array, "batch heads tokens features"],
    chunk: int = 0,
    fused: bool = False,
) -> Float[Array, "batch heads tokens features"]:
    """`attend_before` in chunks, or with chunk 0 `attend_where` all are visible.

    `fused`: by cuDNN's kernel, which never holds the tokens x tokens weights, where it can: bfloat16, a multiple of 8
    and up to 128 features, chunk 0 or 1. It has a gradient but no forward derivative, so it serves in training only.
    """
    if fused and chunk <= 1 and query.shape[-1] <= 128 and query.shape[-1] % 8 == 0:
        last = (a.transpose(0, 2, 1, 3) for a in (query, key, value))
        h = jax.nn.dot_product_attention(*last, is_causal=bool(chunk), implementation="cudnn")
        return h.transpose(0, 2, 1, 3)
    return attend_before(query, key, value, chunk) if chunk else attend_where(query, key, value)
