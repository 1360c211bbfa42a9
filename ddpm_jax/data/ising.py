"""Data sets whose law is known: images are drawn without end from a table of all probabilities.

What a model gets wrong can then be told from what it never saw: the entropy is the least mean of any likelihood, the
distance between the law of samples and that of the data is a sum over the table, and nothing is overfitted where no
image is seen often.
"""

import functools
import re
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64, UInt8

from ddpm_jax.data.description import Description
from ddpm_jax.errors import UserError

SIZES = {"train": 2**20, "validation": 2**12, "test": 2**13}
COUPLING = 0.45
SEED = 2024


@functools.cache
def ising() -> Float64[np.ndarray, "*levels"]:
    """The law of `ising`: p(x) ~ exp(J sum of x_i x_j over neighbours i, j), x = -1 or 1, on 3 rows and 4 columns.

    J = 0.45, and nothing lies beyond the border. Neighbours mostly agree; given its neighbours a site is independent
    of the rest, so that half of the sites, those of one colour of a chessboard, are independent given the others.
    """
    rows, columns = 3, 4
    states = np.indices((2,) * (rows * columns)).reshape(rows * columns, -1).T.reshape(-1, rows, columns) * 2.0 - 1
    energy = (states[:, 1:] * states[:, :-1]).sum((1, 2)) + (states[:, :, 1:] * states[:, :, :-1]).sum((1, 2))
    weights = np.exp(COUPLING * energy)
    return (weights / weights.sum()).reshape((2,) * (rows * columns))


LAWS = {"ising": (ising, (3, 4, 1))}
"""Each known law: a function that makes the table, `(levels,) * D` with values in row-major order, and the shape."""


def describe(name: str) -> Description:
    """The description of a known data set."""
    table, shape = LAWS[name]
    return Description(name, "1.0.0", shape, table().shape[0], known_law=True)


def entropy(law: Float64[np.ndarray, "*levels"]) -> float:
    """E[-log p(x)] in nats."""
    return float(-np.sum(law * np.log(np.where(law > 0, law, 1))))


def draws(name: str, split: str) -> UInt8[np.ndarray, "n *site"]:
    """The images of a split, independent draws of the law: the same ones for everybody."""
    table, shape = LAWS[name]
    law = table()
    rng = np.random.default_rng([SEED, list(SIZES).index(split)])
    states = rng.choice(law.size, SIZES[split], p=law.reshape(-1))
    return np.stack(np.unravel_index(states, law.shape), axis=-1).astype(np.uint8).reshape(-1, *shape)


def split_images(name: str, splits: Mapping[str, str] | None) -> dict[str, UInt8[np.ndarray, "n *site"]]:
    """The images of each split, in TFDS's words: a split's name, or the first N of it, `train[:N]`.

    Raises:
        UserError: other words.
    """
    images = {}
    for split, words in (splits or {split: split for split in SIZES}).items():
        found = re.fullmatch(r"(\w+)(?:\[:(\d+)\])?", words)
        if not found or found[1] not in SIZES or (found[2] is not None and not 0 < int(found[2]) <= SIZES[found[1]]):
            known = ", ".join(f"{name} of {size:,}" for name, size in SIZES.items())
            raise UserError(f"split {words!r} of {name!r}: give one of {known}, or the first N of it as train[:N]")
        images[split] = draws(name, found[1])[: int(found[2]) if found[2] else None]
    return images
