"""Blocks that are alike as one loop: a deep transformer is traced and compiled once a block, not once for all of them.

The parameters stay as they are, those of each block under its own name, and are stacked where the network runs.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ddpm_jax.models.remat import KEEPS
from ddpm_jax.models.shares import any_share, gathered

LEAST = 8
"""Blocks that are worth a loop: fewer compile quickly, and a loop hides from XLA what it could do at once."""

Apply = Callable[[PyTree, Array, Array], Any]
"""`(parameters, h, numbers) -> h`, the numbers of its dropouts."""


def looped(
    params: Mapping[str, PyTree],
    kinds: Mapping[str, Apply],
    depth: int,
    dropouts: Sequence[str],
    h: Float[Array, "batch tokens channels"],
    keep: str | None = None,
) -> Float[Array, "batch tokens channels"]:
    """h after block 0, ..., depth - 1, of each of which the kinds act in turn.

    Args:
        params: of the whole network; `block_3` has those of the kind `block` in block 3.
        kinds: what acts, by name.
        depth: how many blocks.
        dropouts: the paths of the first kind's dropouts in a block. Each has the number of its place, as in a network
            without a loop, so that its masks are the same.
        h: that goes in.
        keep: what to keep of a block for the backward pass, of `remat.KEEPS`; None: all. Where devices hold shares of
            the parameters each block's are gathered when it runs, and again in the backward pass, as only what products
            put out is kept.
    """
    if keep is None and any_share(params):
        keep = "products"
    stacked = {kind: _stacked([params[f"{kind}_{i}"] for i in range(depth)]) for kind in kinds}
    first = next(iter(kinds))
    numbers = [[number_of((f"{first}_{i}", name)) for name in dropouts] for i in range(depth)]

    def turn(h: Array, given: tuple[dict[str, PyTree], Array]) -> tuple[Array, None]:
        its, numbers = given
        its = gathered(its)
        for kind, apply in kinds.items():
            h = apply(its[kind], h, numbers)
        return h, None

    turn = turn if keep is None else jax.checkpoint(turn, prevent_cse=False, policy=KEEPS[keep])
    return jax.lax.scan(turn, h, (stacked, jnp.asarray(numbers, jnp.uint32)))[0]


def number_of(path: Sequence[str]) -> int:
    """Of a dropout, by its path in the network."""
    return zlib.crc32("/".join(path).encode())


def _stacked(trees: Sequence[PyTree]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
