"""The way down of DDPM's U-Net, and an answer for the whole image: for classifiers of noisy images.

As in Dhariwal and Nichol (2021, arXiv:2105.05233, section 4), but for the mean over places where they have attention.
"""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Key

from ddpm_jax.conditions import Condition
from ddpm_jax.models import checks, unet
from ddpm_jax.models.conditioning import Conditioning, told
from ddpm_jax.models.layers import Attention, convolution, dense, group_norm, time_embedding
from ddpm_jax.models.network import Network


class HalfUNet(nn.Module):
    """Residual blocks at each resolution, attention at some, the mean over places. See `unet.make` for the options."""

    out_channels: int
    channels: int = 128
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    blocks: int = 2
    attention_resolutions: tuple[int, ...] = (16,)
    dropout: float = 0.1
    heads: int = 1
    groups: int = 32
    scale_shift: bool = False
    dtype: str = "float32"

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch *space in_channels"],
        time: Float[Array, " batch"],
        condition: Condition,
        dropout_keys: Key[Array, " batch"] | None,
    ) -> Float[Array, "batch out_channels"]:
        axes, dtype = x.ndim - 2, checks.DTYPES[self.dtype]
        embedding = dense(4 * self.channels, name="time_1")(time_embedding(time, self.channels))
        embedding = dense(4 * self.channels, name="time_2")(nn.swish(embedding))

        def block(h: Array, features: int, attends: bool, name: str) -> Array:
            make = unet.ResidualBlock(features, self.groups, self.dropout, dtype, self.scale_shift, name=name)
            h = make(h, embedding, dropout_keys)
            return Attention(self.groups, dtype, self.heads, name=f"{name}_attention")(h) if attends else h

        h = convolution(self.channels, axes, dtype, name="first")(x)
        for level, multiplier in enumerate(self.multipliers):
            attends = h.shape[1] in self.attention_resolutions
            for i in range(self.blocks):
                h = block(h, self.channels * multiplier, attends, f"down_{level}_{i}")
            if level < len(self.multipliers) - 1:
                h = convolution(h.shape[-1], axes, dtype, stride=2, name=f"down_{level}_half")(h)
        h = block(h, h.shape[-1], True, "middle_0")
        h = block(h, h.shape[-1], False, "middle_1")
        h = nn.swish(group_norm(self.groups, name="last_norm")(h.astype(jnp.float32)))
        return dense(self.out_channels, scale=0.0, name="last")(h.mean(axis=tuple(range(1, 1 + axes))))


OPTIONS = checks.of_module(HalfUNet)
"""What a config may choose, with the defaults."""


def make(
    shape: tuple[int, ...], out_channels: int, conditioning: Conditioning | None = None, **options: Any
) -> Network:
    """Half a U-Net, which puts out `[batch, out_channels]`. Raises UserError for options that do not fit.

    `conditioning`: only the names of its conditions count. They are what a caller has at hand of an image, such as the
    label to tell; the network does not see them.
    """
    check(shape, conditioning=conditioning, **options)
    if out_channels < 1:
        raise ValueError(f"out_channels is {out_channels}; a network has at least one")
    if "dropout" in options:
        options["dropout"] = float(options["dropout"])
    return Network(HalfUNet(out_channels, **options), tuple(shape), told(conditioning))


def check(shape: tuple[int, ...], conditioning: Conditioning | None = None, **options: Any) -> None:
    """Raises UserError, naming the key of `config.model` to change, unless `make` can make this network."""
    checks.chosen("half a U-Net", OPTIONS, shape, options)
    unet.check(shape, **options)
