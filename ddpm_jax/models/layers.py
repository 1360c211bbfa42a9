"""Layers that networks share, as DDPM has them (Ho, Jain, Abbeel 2020, arXiv:2006.11239, and its published code)."""

import math
import zlib
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Key

from ddpm_jax import keys as keys_


def initialiser(scale: float = 1.0) -> nn.initializers.Initializer:
    """Uniform with variance `scale` / mean(fan in, fan out). Scale 0 means 1e-10: nearly zero, so that a residual
    branch starts as nothing but its first layers still receive a gradient."""
    return nn.initializers.variance_scaling(scale or 1e-10, "fan_avg", "uniform")


def dense(features: int, dtype: Any = jnp.float32, scale: float = 1.0, name: str | None = None) -> nn.Dense:
    """A dense layer over the last axis with DDPM's initialiser; on images it is a 1x1 convolution."""
    return nn.Dense(features, dtype=dtype, kernel_init=initialiser(scale), name=name)


def convolution(
    features: int, axes: int, dtype: Any = jnp.float32, stride: int = 1, scale: float = 1.0, name: str | None = None
) -> nn.Conv:
    """A convolution of width 3 over `axes` spatial axes. At stride 2 an even size is padded at its end only."""
    return nn.Conv(
        features, (3,) * axes, strides=(stride,) * axes, dtype=dtype, kernel_init=initialiser(scale), name=name
    )


def group_norm(groups: int, dtype: Any = jnp.float32, name: str | None = None) -> nn.GroupNorm:
    """Group normalisation with epsilon 1e-6; its moments are float32 whatever `dtype` is."""
    return nn.GroupNorm(num_groups=groups, epsilon=1e-6, dtype=dtype, name=name)


def time_embedding(time: Float[Array, " batch"], features: int) -> Float[Array, "batch features"]:
    """sin(f_k t) for the first half of the features, then cos(f_k t), in float32.

    The frequencies f_k = 10000^(-k/(features/2 - 1)), k = 0 .. features/2 - 1, go from 1 to 1/10000 inclusive (Vaswani
    et al. 2017, arXiv:1706.03762, with DDPM's end point). `features` is even and at least 4; `time` is any real.
    """
    half = features // 2
    frequencies = jnp.exp(-math.log(10_000) / (half - 1) * jnp.arange(half, dtype=jnp.float32))
    angles = time.astype(jnp.float32)[:, None] * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


def upsample(x: Float[Array, "batch *space channels"]) -> Float[Array, "batch *twice channels"]:
    """Twice the size along every spatial axis, by repeating the nearest value."""
    for axis in range(1, x.ndim - 1):
        x = jnp.repeat(x, 2, axis=axis)
    return x


class Dropout(nn.Module):
    """Dropout with a key an example: the mask of example i depends on key i and on this module's path in the network.

    Linen's own dropout draws one mask for the whole batch from one key, so that an example's mask would depend on
    where in the batch it stands. Values are kept with probability 1 - rate and divided by it. Keys None: identity.
    """

    rate: float

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch *rest"], keys: Key[Array, " batch"] | None
    ) -> Float[Array, "batch *rest"]:
        if keys is None or self.rate == 0:
            return x
        number = zlib.crc32("/".join(self.path).encode())
        kept = keys_.bernoulli(keys_.fold_in(keys, number), 1 - self.rate, x.shape)
        return jnp.where(kept, x / (1 - self.rate), 0)


class Attention(nn.Module):
    """x + projection(attention(norm(x))): one head over all sites of an image, of the width of its channels."""

    groups: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "batch *space channels"]) -> Float[Array, "batch *space channels"]:
        channels = x.shape[-1]
        h = group_norm(self.groups, self.dtype, name="norm")(x).reshape(x.shape[0], -1, channels)
        query, key, value = (dense(channels, self.dtype, name=name)(h) for name in ("query", "key", "value"))
        logits = jnp.einsum("bqc,bkc->bqk", query * channels**-0.5, key, preferred_element_type=jnp.float32)
        weights = jax.nn.softmax(logits).astype(self.dtype)
        h = jnp.einsum("bqk,bkc->bqc", weights, value)
        return x + dense(channels, self.dtype, scale=0.0, name="projection")(h).reshape(x.shape)
