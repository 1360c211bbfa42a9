"""Arrays of which each device of a group holds a share, and where a program puts them together.

Within a program that is mapped over devices (`jax.shard_map`) a share stands where its array would. What uses the array
gathers it first; the gradient of a share is then the devices' sum of its part, in the array's own type. A network whose
blocks are a loop gathers one block at a time, so that no device ever has all weights (FSDP, Zhao et al. 2023, section
3.2; ZeRO's third stage, Rajbhandari et al. 2020). Everyone may import this.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
from jax import lax
from jaxtyping import Array, PyTree


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Share:
    """A device's part of an array.

    Attributes:
        array: the part.
        axis: of the array, along which it is divided.
        over: the name of the devices that have the other parts, in a mapped program.
    """

    array: Any
    axis: int = field(metadata={"static": True})
    over: str = field(metadata={"static": True})

    def whole(self) -> Array:
        """The array, on every device."""
        return lax.all_gather(self.array, self.over, axis=self.axis, tiled=True)


def is_share(leaf: Any) -> bool:
    """Whether it is a share."""
    return isinstance(leaf, Share)


def any_share(tree: PyTree) -> bool:
    """Whether there is one in the tree."""
    return any(map(is_share, jax.tree.leaves(tree, is_leaf=is_share)))


def turn_of(path: Sequence[Any], looped: Sequence[str]) -> int | None:
    """Of parameters at a path (of `jax.tree_util`), the number of their block if it is in a loop; else None.

    Loops are named by the first keys of their blocks: `network/block` has those of `network/block_3/...`.
    """
    name, _, number = "/".join(str(getattr(part, "key", "")) for part in path[:2]).rpartition("_")
    return int(number) if name in looped and number.isdecimal() else None


def gathered(tree: PyTree, but: Sequence[str] = ()) -> Any:
    """The tree with whole arrays in place of shares, but for those of the loops `but` (see `turn_of`)."""

    def leaf(path: tuple[Any, ...], leaf: Any) -> Any:
        return leaf.whole() if is_share(leaf) and turn_of(path, but) is None else leaf

    return jax.tree_util.tree_map_with_path(leaf, tree, is_leaf=is_share)
