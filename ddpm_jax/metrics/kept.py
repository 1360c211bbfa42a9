"""Features that come with the package, so that distances of two people compare: their weights are files, with a hash.

Each is the last hidden layer of a small classifier (models/classifier.py), trained once by
`experiments/features/train.py`: `digits` and `mnist` on the training images of these, `colour` on CIFAR-10's 50,000.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
from jaxtyping import Array, Float

from ddpm_jax.errors import UserError
from ddpm_jax.metrics.features import Features, from_weights

FOLDER = Path(__file__).parent / "weights"


@dataclasses.dataclass(frozen=True)
class Kept:
    """What is known of a file of weights before it is read.

    Attributes:
        hash: of the weights, as `Features` has it.
        shape: of the images it was trained on; others are resized, and grey ones repeated where it has colours.
        data: the names of the data sets whose classes it tells.
    """

    hash: str
    shape: tuple[int, int, int]
    data: tuple[str, ...]


KEPT = {
    "digits": Kept("6da313b3b3dcd1eb", (8, 8, 1), ("digits",)),
    "mnist": Kept("274fe1b2b37784ba", (28, 28, 1), ("mnist", "binarised_mnist")),
    "colour": Kept("1186ec393c89fa05", (32, 32, 3), ("cifar10",)),
}

FEATURES = ("classifier", *KEPT, "trained")
"""The names that a config may choose: those suited to the data, some of these, or trained on the data's own labels."""


def suited(name: str, shape: Sequence[int]) -> str | None:
    """The kept features for a data set of this name and shape: its own, or `colour` for any pictures; None: neither.

    >>> suited("digits", (8, 8, 1)), suited("my pictures", (64, 64, 3)), suited("volumes", (16, 16, 16, 1))
    ('digits', 'colour', None)
    """
    for kept, facts in KEPT.items():
        if tells_classes(kept, name) and tuple(shape) == facts.shape:
            return kept
    return "colour" if len(shape) == 3 and shape[-1] in (1, 3) and min(shape[:-1]) >= 8 else None


def tells_classes(kept: str, name: str) -> bool:
    """Whether the classes of kept features are those of a data set."""
    return name in KEPT[kept].data


def load_kept(name: str, levels: int) -> Features:
    """Kept features for images of integers 0 ... levels - 1, `[n, height, width, channels]`.

    Images are scaled to [-1, 1] and resized to the network's size with antialiasing, distorted if they are not square.
    Their accuracy is that on the test split of the data that they were trained on.

    Raises:
        UserError: the file is not the one that belongs here.
    """
    facts, weights, about = KEPT[name], *_read(name)
    fit = functools.partial(fitted, shape=facts.shape)
    found = from_weights(name, weights, levels, int(about["classes"]), int(about["dimension"]), fit)
    if found.hash != facts.hash:
        raise UserError(
            f"{FOLDER / name}.safetensors has the hash {found.hash}, not {facts.hash}: install ddpm_jax again"
        )
    return dataclasses.replace(found, accuracy=float(about["accuracy"]))


def fitted(x: Float[Array, "n height width channels"], shape: Sequence[int]) -> Float[Array, "n *shape"]:
    """Images of a shape: resized bilinearly with antialiasing, and grey ones repeated for each colour."""
    if x.shape[1:3] != tuple(shape[:2]):
        x = jax.image.resize(x, (x.shape[0], *shape[:2], x.shape[-1]), "linear")
    return jnp.broadcast_to(x, (*x.shape[:-1], shape[-1]))


@functools.cache
def _read(name: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    path = FOLDER / f"{name}.safetensors"
    try:
        with safetensors.safe_open(path, "numpy") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{path} cannot be read ({error}): install ddpm_jax again") from error
