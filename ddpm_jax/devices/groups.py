"""What of a state the devices of a group divide, and what stays whole on each."""

import math

import jax
from jaxtyping import PyTree

SMALLEST_SHARDED = 2**12
"""Values of an array that is worth sharding: to gather smaller ones costs more than to keep them."""


def divided(shape: tuple[int, ...], size: int, least: int) -> int | None:
    """The axis of an array that so many devices divide, its longest that they can; None: it stays whole."""
    able = [axis for axis, length in enumerate(shape) if length % size == 0]
    if size == 1 or math.prod(shape) < least or not able:
        return None
    return max(able, key=lambda axis: shape[axis])


def best_group(state: PyTree, count: int, least: int = SMALLEST_SHARDED) -> int:
    """How many of so many devices are to share a state (or its shapes) to leave the least on each: a divisor."""
    sizes = [size for size in range(1, count + 1) if count % size == 0]
    return min(sizes, key=lambda size: bytes_on_one(state, size, least)[0])


def bytes_on_one(state: PyTree, size: int, least: int = SMALLEST_SHARDED) -> tuple[int, int]:
    """Bytes of a state (or its shapes) on one of so many devices that share it; and those of them that stay whole."""
    total = whole = 0
    for array in jax.tree.leaves(state):
        number = math.prod(array.shape) * array.dtype.itemsize
        kept = divided(array.shape, size, least) is None
        total, whole = total + (number if kept else number // size), whole + (number if kept else 0)
    return total, whole
