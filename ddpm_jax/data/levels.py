"""A data set in fewer levels: pictures without the finest shades, whose bits are then those of what they show."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8

from ddpm_jax.data.sources import Dataset, Examples, Oracle
from ddpm_jax.errors import UserError


def coarser(dataset: Dataset, levels: int) -> Dataset:
    """The data set in so many levels: u of L becomes round(u (levels - 1)/(L - 1)), so that both ends stay.

    >>> import ddpm_jax as dj
    >>> data = dj.data.coarser(dj.data.load("still_lifes"), 16)
    >>> data.description.levels, int(data.split("test").rows([0])["image"].max()) < 16
    (16, True)

    Likelihoods are then those of the coarser pictures, which no figure on the whole ones compares with. An oracle reads
    them at the brightness that they stand for.

    Raises:
        UserError: the data have not more levels than that, or are real-valued; or there are fewer than two.
    """
    description = dataset.description
    if description.levels is None or not 2 <= levels < description.levels:
        has = "real values" if description.levels is None else f"{description.levels} levels"
        raise UserError(f"{levels} levels: {description.name!r} has {has}; give 2 or more, and fewer than it has")
    fewer = table(description.levels, levels)
    coarse = replace(description, levels=levels)
    sources = {
        name: replace(
            source,
            description=coarse,
            read=functools.partial(_read, source.read, fewer),
            made_from=source.made_from and [*source.made_from, f"in {levels} levels"],
        )
        for name, source in dataset.sources.items()
    }
    oracle = dataset.oracle and Spread(dataset.oracle, table(levels, description.levels))
    return replace(dataset, description=coarse, sources=sources, law=None, oracle=oracle)


@dataclass(frozen=True)
class Spread:
    """An oracle of pictures in few levels, by one that reads all of them."""

    oracle: Oracle
    table: UInt8[np.ndarray, " levels"]

    def agreement(self, images: UInt8[np.ndarray, "n *site"], captions: Sequence[str]) -> dict[str, float]:
        """See `Oracle`."""
        return self.oracle.agreement(self.table[images], captions)


def table(before: int, after: int) -> UInt8[np.ndarray, " before"]:
    """What each level becomes, so that both ends stay. No two halves meet: integers are rounded up at one."""
    return ((np.arange(before) * 2 * (after - 1) + before - 1) // (2 * (before - 1))).astype(np.uint8)


def _read(read: Callable[[np.ndarray], Examples], table: np.ndarray, indices: np.ndarray) -> Examples:
    images, conditions = read(indices)
    return table[images], conditions
