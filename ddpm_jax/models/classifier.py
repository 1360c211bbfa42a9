"""A small convolutional classifier, whose last hidden layer serves as the features of sample quality.

Like every network here it is plain functions over a parameter pytree: `init(key, ...) -> params` and
`apply(params, x, ...) -> (features, logits)`.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from ddpm_jax.models.affine import Convolution, Dense


class _Classifier(nn.Module):
    classes: int
    dimension: int

    @nn.compact
    def __call__(self, x):
        space = x.ndim - 2
        width = 32
        x = nn.relu(Convolution(width, (3,) * space, name="Conv_0")(x))
        count = 1
        while min(x.shape[1:-1]) >= 8:
            x = nn.max_pool(x, (2,) * space, (2,) * space)
            width = min(2 * width, 128)
            x = nn.relu(Convolution(width, (3,) * space, name=f"Conv_{count}")(x))
            count += 1
        features = Dense(self.dimension)(x.reshape(x.shape[0], -1))
        return features, Dense(self.classes)(nn.relu(features))


def init(key: Key[Array, ""], shape: Sequence[int], classes: int, dimension: int = 64) -> PyTree:
    """Parameters for images of `shape = (*space, channels)`, every axis of `space` at least 8; any number of channels.

    3x3 convolutions and poolings by 2 follow each other until a side is below 8; what is left is flattened, so that
    the features know where things are, and mapped to `dimension` linear features. The logits of `classes` classes are
    linear in the features' positive parts.
    """
    if len(shape) < 2 or min(shape[:-1]) < 8:
        raise ValueError(f"the classifier needs images of at least 8 pixels a side, not of shape {tuple(shape)}")
    return _Classifier(classes, dimension).init(key, jnp.zeros((1, *shape)))["params"]


def apply(
    params: PyTree, x: Float[Array, "batch *space channels"], classes: int, dimension: int = 64
) -> tuple[Float[Array, "batch {dimension}"], Float[Array, "batch {classes}"]]:
    """The features (before their nonlinearity) and the logits of images `x` in [-1, 1]."""
    output: Any = _Classifier(classes, dimension).apply({"params": params}, x)
    return output
