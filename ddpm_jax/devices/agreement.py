"""What several processes of one run agree on: values, that all is well, that all have come; and a state's checksum."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import PyTree


def agree(value: float) -> float:
    """Process 0's value, in every process: clocks differ, and all must stop at the same step."""
    if jax.process_count() == 1:
        return value
    from jax.experimental import multihost_utils

    return float(multihost_utils.broadcast_one_to_all(np.float32(value)))


def agree_on(numbers: Sequence[int]) -> list[int]:
    """Process 0's numbers, below 2^31, in every process: file systems may tell processes different things."""
    if jax.process_count() == 1:
        return list(numbers)
    from jax.experimental import multihost_utils

    padded = np.zeros(int(agree(len(numbers))), np.int32)
    if jax.process_index() == 0:
        padded[:] = numbers
    return np.asarray(multihost_utils.broadcast_one_to_all(padded)).tolist()


def all_agree(good: bool) -> bool:
    """Whether it is so in every process."""
    if jax.process_count() == 1:
        return good
    from jax.experimental import multihost_utils

    return bool(np.all(multihost_utils.process_allgather(np.asarray(good))))


def wait_for_all(what: str) -> None:
    """Go on when every process has come here; `what` names the place."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(what)


def checksum(tree: PyTree) -> jax.Array:
    """One number, uint32, that any single change of a bit in the tree's arrays changes.

    The sum, mod 2^32, of every 32-bit word times an odd number that depends on its place. Integer sums do not depend
    on their order, so the number is the same however the arrays are sharded. Works under jit; `tree` holds no keys.
    """

    def leaf(array: Any) -> jax.Array:
        array = jnp.asarray(array)
        if array.dtype == jnp.bool_:
            array = array.astype(jnp.uint8)
        bits = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint32}[array.dtype.itemsize]
        words = lax.bitcast_convert_type(array, bits).astype(jnp.uint32).ravel()
        places = 2 * lax.iota(jnp.uint32, words.size) + 1
        return jnp.sum(words * places, dtype=jnp.uint32)

    total = jnp.zeros((), jnp.uint32)
    for number, array in enumerate(jax.tree.leaves(tree)):
        total = total + jnp.uint32(2 * number + 1) * leaf(array)
    return total
