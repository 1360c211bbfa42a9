"""Dense, convolutional and normalising layers, with Linen's parameters; `everywhere.py` has their sums over sites."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from ddpm_jax.models.convolution import Padding, convolve
from ddpm_jax.models.everywhere import repeat, total


def _plus(y: Float[Array, "*batch features"], bias: Float[Array, " features"]) -> Float[Array, "*batch features"]:
    rows = y.reshape(-1, y.shape[-1])
    return (rows + repeat(bias, len(rows))).reshape(y.shape)


class Dense(nn.Module):
    """x kernel + bias over the last axis. Inputs and parameters are taken in `dtype`; None: as they are."""

    features: int
    use_bias: bool = True
    dtype: DTypeLike | None = None
    kernel_init: Any = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array | np.ndarray, "*batch channels"]) -> Float[Array, "*batch features"]:
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,)) if self.use_bias else None
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        # One matrix: with more axes, a CPU is slower at the gradients.
        y = (x.reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:-1], self.features)
        return y if bias is None else _plus(y, bias)


class Convolution(nn.Module):
    """`convolve` with a kernel of size `window`, plus a bias."""

    features: int
    window: tuple[int, ...]
    stride: int = 1
    padding: Padding | str = "SAME"
    dtype: DTypeLike | None = None
    kernel_init: Any = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array | np.ndarray, "batch *space channels"]) -> Float[Array, "batch *other features"]:
        kernel = self.param("kernel", self.kernel_init, (*self.window, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        return _plus(convolve(jnp.asarray(x), kernel, self.stride, self.padding), bias)


class GroupNorm(nn.Module):
    """(x - mean)/sqrt(variance + epsilon) scale + bias, with the moments of a group of channels over all sites.

    Wu and He 2018, arXiv:1803.08494. The moments are float32, the result is of `dtype`.
    """

    groups: int
    dtype: DTypeLike | None = None
    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: Float[Array | np.ndarray, "batch *space channels"]) -> Float[Array, "batch *space channels"]:
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        h = jnp.asarray(x, jnp.float32).reshape(x.shape[0], -1, channels)
        sites, size = h.shape[1], channels // self.groups

        def mean(a: Array) -> Array:
            """Of each group, at each of its channels."""
            return jnp.repeat((total(a) / sites).reshape(-1, self.groups, size).mean(-1), size, axis=-1)

        center = mean(h)
        variance = jnp.maximum(mean(h * h) - center**2, 0)
        factor = jax.lax.rsqrt(variance + self.epsilon) * scale
        h = h * repeat(factor, sites) + repeat(bias - center * factor, sites)
        return h.reshape(x.shape).astype(self.dtype or x.dtype)


class LayerNorm(nn.Module):
    """(x - mean)/sqrt(variance + epsilon) scale + bias, with the moments over the channels of each site.

    Ba, Kiros, Hinton 2016, arXiv:1607.06450. The moments are float32, the result is of `dtype`. Without `affine` there
    is no scale and no bias.
    """

    affine: bool = True
    dtype: DTypeLike | None = None
    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: Float[Array | np.ndarray, "*batch channels"]) -> Float[Array, "*batch channels"]:
        h = jnp.asarray(x, jnp.float32).reshape(-1, x.shape[-1])
        center = h.mean(-1, keepdims=True)
        variance = jnp.maximum((h * h).mean(-1, keepdims=True) - center**2, 0)
        h = (h - center) * jax.lax.rsqrt(variance + self.epsilon)
        if self.affine:
            scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
            bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
            h = h * repeat(scale, len(h)) + repeat(bias, len(h))
        return h.reshape(x.shape).astype(self.dtype or x.dtype)
