"""Random numbers that belong to an example, not to a batch.

Draws are float32 unless another type is asked for, whatever JAX_ENABLE_X64 says. Every function takes either one key,
or `keys` of shape `[batch]`, one for each example. With these, row i of the result depends on key i alone. So an
example's noise, dropout and sampling path are the same whatever the batch size, the padding, or the number of devices
that share the batch. Any folder may import this one.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, Integer, Key

PARAMETERS, TRAINING, SAMPLES, VALIDATION, LIKELIHOOD = range(5)
"""What randomness is for."""


def purpose_key(seed: int, purpose: int) -> Key[Array, ""]:
    """The root key of one purpose: no two purposes share randomness, whatever their seeds."""
    return jax.random.fold_in(jax.random.key(seed), purpose)


def per_example(key: Key[Array, ""], rows: Int[Array, " batch"]) -> Key[Array, " batch"]:
    """One key for each row number: `fold_in(key, row)`. Rows count across the whole batch, not a device's part."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, rows)


def split(keys: Key[Array, "*batch"], count: int = 2) -> Key[Array, "count *batch"]:
    """`count` independent keys for each key; iterate over the first axis to unpack them."""
    if keys.ndim == 0:
        return jax.random.split(keys, count)
    return jnp.moveaxis(jax.vmap(lambda key: jax.random.split(key, count))(keys), 1, 0)


def fold_in(keys: Key[Array, "*batch"], number: int | Integer[Array, ""]) -> Key[Array, "*batch"]:
    """`jax.random.fold_in` of the same number into every key.

    Split a key or fold numbers into it, never both: with JAX's default generator `split(key)[i]` is `fold_in(key, i)`.
    """
    if keys.ndim == 0:
        return jax.random.fold_in(keys, number)
    return jax.vmap(jax.random.fold_in, (0, None))(keys, number)


def _draw(function: Callable, keys: Key[Array, "*batch"], shape: Sequence[int]) -> Array:
    if keys.ndim == 0:
        return function(keys, shape=tuple(shape))
    if tuple(shape[: keys.ndim]) != keys.shape:
        raise ValueError(f"keys of shape {keys.shape} do not fit a draw of shape {tuple(shape)}")
    return jax.vmap(lambda key: function(key, shape=tuple(shape[1:])))(keys)


def normal(keys: Key[Array, "*batch"], shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> Float[Array, "..."]:
    """Standard normal draws of `shape`, whose first axis is the keys' batch axis if there is a key for each example."""
    return _draw(partial(jax.random.normal, dtype=dtype), keys, shape)


def uniform(keys: Key[Array, "*batch"], shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> Float[Array, "..."]:
    """Uniform draws in [0, 1) of `shape`."""
    return _draw(partial(jax.random.uniform, dtype=dtype), keys, shape)


def bernoulli(keys: Key[Array, "*batch"], probability: float, shape: Sequence[int]) -> Bool[Array, "..."]:
    """Draws of `shape` that are true with `probability`."""
    return _draw(partial(jax.random.bernoulli, p=jnp.float32(probability)), keys, shape)


def gumbel(keys: Key[Array, "*batch"], shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> Float[Array, "..."]:
    """Standard Gumbel draws of `shape`; the argmax of logits plus these is a draw of the categorical."""
    return _draw(partial(jax.random.gumbel, dtype=dtype), keys, shape)


def per_site(keys: Key[Array, "*batch"], batch: int, numbers: Int[Array, "#rows *sites"]) -> Key[Array, "rows *sites"]:
    """A key for each site of each example, `fold_in(key, number)`: `[batch, *sites]`.

    `numbers` has a row an example, or one for all. What is drawn with such a key depends on the example and the site's
    number alone, not on which other sites are drawn.
    """
    numbers = jnp.broadcast_to(numbers, (batch, *numbers.shape[1:]))
    rows = per_example(keys, jnp.arange(batch)) if keys.ndim == 0 else keys
    flat = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)))(rows, numbers.reshape(batch, -1))
    return flat.reshape(numbers.shape)


def uniform_at(
    keys: Key[Array, "*batch"], batch: int, numbers: Int[Array, "#rows *sites"]
) -> Float[Array, "rows *sites"]:
    """A uniform draw in [0, 1) at each site of each example, by the sites' numbers."""
    at = per_site(keys, batch, numbers)
    return jax.vmap(partial(jax.random.uniform, dtype=jnp.float32))(at.reshape(-1)).reshape(at.shape)


def gumbel_at(
    keys: Key[Array, "*batch"], batch: int, numbers: Int[Array, "#rows *sites"], count: int
) -> Float[Array, "rows *sites count"]:
    """`count` standard Gumbel draws at each site of each example, by the sites' numbers."""
    at = per_site(keys, batch, numbers)
    draw = partial(jax.random.gumbel, shape=(count,), dtype=jnp.float32)
    return jax.vmap(draw)(at.reshape(-1)).reshape(*at.shape, count)
