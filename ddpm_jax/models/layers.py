"""Layers that networks share, as DDPM has them (Ho, Jain, Abbeel 2020, arXiv:2006.11239, and its published code)."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from ddpm_jax import keys as keys_
from ddpm_jax.models.affine import Convolution, Dense, GroupNorm
from ddpm_jax.models.alike import number_of
from ddpm_jax.models.efficient_attention import attend


def initialiser(scale: float = 1.0) -> nn.initializers.Initializer:
    """Uniform with variance `scale` / mean(fan in, fan out). Scale 0 means 1e-10: nearly zero, so that a residual
    branch starts as nothing but its first layers still receive a gradient."""
    return nn.initializers.variance_scaling(scale or 1e-10, "fan_avg", "uniform")


def dense(features: int, dtype: DTypeLike = jnp.float32, scale: float = 1.0, name: str | None = None) -> Dense:
    """A dense layer over the last axis with DDPM's initialiser; on images it is a 1x1 convolution."""
    return Dense(features, dtype=dtype, kernel_init=initialiser(scale), name=name)


def convolution(
    features: int,
    axes: int,
    dtype: DTypeLike = jnp.float32,
    stride: int = 1,
    scale: float = 1.0,
    name: str | None = None,
) -> Convolution:
    """A convolution of width 3 over `axes` spatial axes. At stride 2 an even size is padded at its end only."""
    return Convolution(features, (3,) * axes, stride, dtype=dtype, kernel_init=initialiser(scale), name=name)


def group_norm(groups: int, dtype: DTypeLike = jnp.float32, name: str | None = None) -> GroupNorm:
    """Group normalisation with epsilon 1e-6; its moments are float32 whatever `dtype` is."""
    return GroupNorm(groups, dtype, name=name)


def sinusoids(numbers: Float[Array, "*shape"], features: int, steps: int) -> Float[Array, "*shape features"]:
    """sin(f_k a) of every number a for the first half of the features, then cos(f_k a), in float32.

    The frequencies f_k = 10000^(-k/steps), k = 0 .. features/2 - 1, fall from 1 (Vaswani et al. 2017,
    arXiv:1706.03762, where steps is features/2: the last one is just above 1/10000). `features` is even.
    """
    frequencies = jnp.exp(-math.log(10_000) / steps * jnp.arange(features // 2, dtype=jnp.float32))
    angles = numbers.astype(jnp.float32)[..., None] * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


def time_embedding(time: Float[Array, " batch"], features: int) -> Float[Array, "batch features"]:
    """DDPM's `sinusoids` of the time: frequencies from 1 to 1/10000 inclusive. `features` is at least 4."""
    return sinusoids(time, features, features // 2 - 1)


def fourier_features(
    x: Float[Array, "batch *space channels"], powers: Sequence[int]
) -> Float[Array, "batch *space features"]:
    """x, then sin(2^n pi x) for each power n, then cos(2^n pi x) for each: (1 + 2 len(powers)) times the channels.

    They show a network the last bits of x (Kingma et al. 2021, arXiv:2107.00630, appendix C). Neighbours of 256 levels
    in [-1, 1] are 2/255 apart: at n = 7 that is half a period, at n = 6 a quarter.
    """
    # float32 whatever the activations are: the angles are large.
    angles = [2.0**n * math.pi * x.astype(jnp.float32) for n in powers]
    return jnp.concatenate([x, *map(jnp.sin, angles), *map(jnp.cos, angles)], axis=-1)


def attend_in_heads(
    query: Float[Array, "batch sites channels"],
    key: Float[Array, "batch sites channels"],
    value: Float[Array, "batch sites channels"],
    heads: int,
    fused: bool = False,
) -> Float[Array, "batch sites channels"]:
    """`attend` in each head, whose channels stand together."""
    shape = query.shape
    query, key, value = (a.reshape(*a.shape[:-1], heads, -1).transpose(0, 2, 1, 3) for a in (query, key, value))
    return attend(query, key, value, fused=fused).transpose(0, 2, 1, 3).reshape(shape)


def upsample(x: Float[Array, "batch *space channels"]) -> Float[Array, "batch *twice channels"]:
    """Twice the size along every spatial axis, by repeating the nearest value."""
    for axis in range(1, x.ndim - 1):
        x = jnp.repeat(x, 2, axis=axis)
    return x


class Dropout(nn.Module):
    """Dropout with a key for each example: the mask of example i depends on key i and on this module's path.

    Linen's own dropout draws one mask for the whole batch from one key, so that an example's mask would depend on
    where in the batch it stands. Values are kept with probability 1 - rate and divided by it. Keys None: identity.
    """

    rate: float

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch *rest"], keys: Key[Array, " batch"] | None, number: Any = None
    ) -> Float[Array, "batch *rest"]:
        """`number` is of its place, where its path does not say which of several it is."""
        if keys is None or self.rate == 0:
            return x
        number = number_of(self.path) if number is None else number
        kept = keys_.bernoulli(keys_.fold_in(keys, number), 1 - self.rate, x.shape)
        return jnp.where(kept, x / (1 - self.rate), 0)


class Attention(nn.Module):
    """x + projection(attention(norm(x))): every site of an image attends to all, in heads of channels / heads."""

    groups: int
    dtype: DTypeLike = jnp.float32
    heads: int = 1
    fused: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch *space channels"], trains: bool = False
    ) -> Float[Array, "batch *space channels"]:
        channels = x.shape[-1]
        h = group_norm(self.groups, self.dtype, name="norm")(x).reshape(x.shape[0], -1, channels)
        query, key, value = (dense(channels, self.dtype, name=name)(h) for name in ("query", "key", "value"))
        h = attend_in_heads(query, key, value, self.heads, self.fused and trains)
        return x + dense(channels, self.dtype, scale=0.0, name="projection")(h).reshape(x.shape)
