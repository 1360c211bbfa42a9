"""Names that parameters had in earlier versions: a step saved with them is read as one of this version, never written.

The arrays are the same, at other places: in the parameters, their averages and the optimizer's moments alike.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jaxtyping import PyTree

from ddpm_jax.errors import UserError
from ddpm_jax.files import Facts, Record

RENAMED: dict[tuple[str, str], str] = {
    ("conditioning", "label"): "labels",
}
"""A part of a network's module, and the network's module that it was in earlier versions."""

REMADE: dict[str, str] = {
    "told": "an earlier version's PixelCNN had an embedding of the label in each block, and no renaming makes these "
    "parameters of it; use the version that trained it",
}
"""Modules of networks whose part that is renamed is not all that has changed, and why theirs are not read."""


def load(read: Callable[[PyTree], PyTree], tree: PyTree) -> PyTree:
    """`read(tree)` where these are the names that were saved, else `read(before(tree))`; `today` brings both home.

    Raises:
        UserError: they may be an earlier version's, but no renaming makes its networks those of today.
    """
    try:
        return read(tree)
    except ValueError as error:
        if not are_others(error) or jax.tree.structure(before(tree)) == jax.tree.structure(tree):
            raise
    places = " ".join(jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree))
    for name, reason in REMADE.items():
        if f"[{name!r}]" in places:
            raise UserError(reason)
    return read(before(tree))


def are_others(error: BaseException) -> bool:
    """Whether an error of orbax says that a tree has other names than the one that was saved."""
    return "tree structures do not match" in str(error).partition("\n")[0]


def before(tree: PyTree) -> PyTree:
    """A state, or a part of one, as earlier versions had it: the same leaves at other places, in another order."""
    return jax.tree.map(_before, tree, is_leaf=_is_renamed)


def today(loaded: PyTree, tree: PyTree) -> PyTree:
    """What was loaded as `tree` or as `before(tree)`, with the structure of `tree`."""
    structure = jax.tree.structure(tree)
    if jax.tree.structure(loaded) == structure:
        return loaded
    numbers = range(structure.num_leaves)
    order = jax.tree.leaves(before(structure.unflatten(numbers)))
    leaves = dict(zip(order, jax.tree.leaves(loaded), strict=True))
    return structure.unflatten([leaves[number] for number in numbers])


def _is_renamed(node: Any) -> bool:
    return isinstance(node, Mapping) and any(part in _parts(node, module) for module, part in RENAMED)


def _parts(node: Facts, module: str) -> Record:
    found = node.get(module)
    return dict(found) if isinstance(found, Mapping) else {}


def _before(node: Any) -> Any:
    if not _is_renamed(node):
        return node
    modules = dict(node)
    for (module, part), name in RENAMED.items():
        parts = _parts(modules, module)
        if part in parts:
            modules |= {name: parts.pop(part), module: parts}
            if not parts:
                del modules[module]
    return modules
