"""The U-Net of DDPM (Ho, Jain, Abbeel 2020, arXiv:2006.11239, appendix B) over any number of spatial axes."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from ddpm_jax.conditions import Condition
from ddpm_jax.models import checks
from ddpm_jax.models.conditioning import Conditioning, Context, CrossAttention, told
from ddpm_jax.models.everywhere import everywhere
from ddpm_jax.models.layers import (
    Attention,
    Dropout,
    convolution,
    dense,
    fourier_features,
    group_norm,
    time_embedding,
    upsample,
)
from ddpm_jax.models.network import Network
from ddpm_jax.models.remat import rematerialised


class ResidualBlock(nn.Module):
    """x + h, where h = norm, swish, convolution, plus the embedding, norm, swish, dropout, convolution of x.

    With `scale_shift` the embedding gives a scale and a shift, and "plus the embedding, norm" becomes
    norm(h) (1 + scale) + shift (Nichol and Dhariwal 2021, arXiv:2102.09672, appendix A).
    """

    features: int
    groups: int
    dropout: float
    dtype: DTypeLike
    scale_shift: bool = False

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch *space channels"],
        embedding: Float[Array, "batch width"],
        dropout_keys: Key[Array, " batch"] | None,
    ) -> Float[Array, "batch *space features"]:
        axes = x.ndim - 2
        h = nn.swish(group_norm(self.groups, self.dtype, name="norm_1")(x))
        h = convolution(self.features, axes, self.dtype, name="conv_1")(h)
        from_embedding = dense((1 + self.scale_shift) * self.features, self.dtype, name="embedding")
        shift = everywhere(from_embedding(nn.swish(embedding)), h)
        norm = group_norm(self.groups, self.dtype, name="norm_2")
        if self.scale_shift:
            scale, shift = jnp.split(shift, 2, axis=-1)
            h = norm(h) * (1 + scale) + shift
        else:
            h = norm(h + shift)
        h = nn.swish(h)
        h = Dropout(self.dropout, name="dropout")(h, dropout_keys)
        h = convolution(self.features, axes, self.dtype, scale=0.0, name="conv_2")(h)
        if x.shape[-1] != self.features:
            x = dense(self.features, self.dtype, name="shortcut")(x)
        return x + h


class UNet(nn.Module):
    """DDPM's U-Net; the defaults are its CIFAR-10 network (35.7 M parameters). See `make` for the options."""

    out_channels: int
    conditioning: Conditioning | None = None
    channels: int = 128
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    blocks: int = 2
    attention_resolutions: tuple[int, ...] = (16,)
    dropout: float = 0.1
    heads: int = 1
    groups: int = 32
    scale_shift: bool = False
    fourier_features: tuple[int, ...] = ()
    dtype: str = "float32"
    remat: bool = False
    remat_keep: str = "inputs"
    attention: str = "xla"

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch *space in_channels"],
        time: Float[Array, " batch"],
        condition: Condition,
        dropout_keys: Key[Array, " batch"] | None,
    ) -> Float[Array, "batch *space out_channels"]:
        axes, dtype = x.ndim - 2, checks.DTYPES[self.dtype]
        residual = rematerialised(ResidualBlock, self.remat, self.remat_keep)
        attention = rematerialised(Attention, self.remat, self.remat_keep, static_argnums=(2,))
        cross = rematerialised(CrossAttention, self.remat, self.remat_keep)
        fused, trains = self.attention == "fused", dropout_keys is not None

        def block(h: Array, features: int, attends: bool, name: str) -> Array:
            make = residual(features, self.groups, self.dropout, dtype, self.scale_shift, name=name)
            h = make(h, embedding, dropout_keys)
            if not attends:
                return h
            h = attention(self.groups, dtype, self.heads, fused, name=f"{name}_attention")(h, trains)
            if context.sequence is None:
                return h
            tokens = cross(features, self.heads, dtype, name=f"{name}_cross")(
                h.reshape(h.shape[0], -1, features), context.sequence, context.mask
            )
            return tokens.reshape(h.shape)

        # The embedding is small and its angles are large: it stays in float32.
        embedding = dense(4 * self.channels, name="time_1")(time_embedding(time, self.channels))
        embedding = dense(4 * self.channels, name="time_2")(nn.swish(embedding))
        context = Context()
        if self.conditioning is not None:
            # A label is added as Dhariwal and Nichol (2021, arXiv:2105.05233) do.
            context = self.conditioning(condition, 4 * self.channels, x.shape[1:-1], scale=1.0)
            embedding = embedding if context.vector is None else embedding + context.vector

        levels = len(self.multipliers)
        h = convolution(self.channels, axes, dtype, name="first")(
            context.beside(fourier_features(x, self.fourier_features))
        )
        skips = [h]
        for level, multiplier in enumerate(self.multipliers):
            attends = h.shape[1] in self.attention_resolutions
            for i in range(self.blocks):
                h = block(h, self.channels * multiplier, attends, f"down_{level}_{i}")
                skips.append(h)
            if level < levels - 1:
                h = convolution(h.shape[-1], axes, dtype, stride=2, name=f"down_{level}_half")(h)
                skips.append(h)

        h = block(h, h.shape[-1], True, "middle_0")
        h = block(h, h.shape[-1], False, "middle_1")

        for level, multiplier in reversed(list(enumerate(self.multipliers))):
            attends = h.shape[1] in self.attention_resolutions
            for i in range(self.blocks + 1):
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = block(h, self.channels * multiplier, attends, f"up_{level}_{i}")
            if level > 0:
                h = convolution(h.shape[-1], axes, dtype, name=f"up_{level}_twice")(upsample(h))

        # The output is float32, and so is what makes it: bfloat16 would round it to three digits.
        h = nn.swish(group_norm(self.groups, name="last_norm")(h.astype(jnp.float32)))
        return convolution(self.out_channels, axes, scale=0.0, name="last")(h)


OPTIONS = checks.of_module(UNet)
"""What a config may choose, with the defaults."""


def make(
    shape: tuple[int, ...], out_channels: int, conditioning: Conditioning | None = None, **options: Any
) -> Network:
    """A U-Net for inputs of shape `(*space, channels)`. Raises UserError for options that do not fit.

    - channels: at full size, even; the time embedding has 4 times as many features.
    - multipliers: the channels at each resolution as multiples of that; each resolution is half the one before.
    - blocks: residual blocks at each resolution (one more on the way up).
    - attention_resolutions: sizes of the first spatial axis at which every block is followed by attention. The
      lowest resolution always has one attention, between its two middle blocks.
    - dropout: the probability of dropping a value in a residual block.
    - heads: of every attention; each has channels / heads of its channels.
    - groups: of the group normalisation.
    - scale_shift: the embedding scales and shifts what the second norm of a residual block makes; else it is added
      before that norm.
    - fourier_features: powers n; the network also sees sin(2^n pi x) and cos(2^n pi x) of its input (see `layers`).
    - dtype: of the computation, "float32" or "bfloat16". Parameters and output are float32.
    - remat: keep the inputs of residual blocks and attentions only, and compute what is within them again in the
      backward pass: less memory, about a third more computation, the same numbers.
    - remat_keep: "inputs", as above, or "products": also what products (of matrices, convolutions) put out, so
      that only what is cheap is computed again.
    - attention: "xla", or "fused": in training without all weights in memory (`efficient_attention`).

    `conditioning`: a vector is added to the embedding of the time, a sequence is read after every attention, channels
    stand beside the input.
    """
    check(shape, conditioning=conditioning, **options)
    if out_channels < 1:
        raise ValueError(f"out_channels is {out_channels}; a network has at least one")
    if "dropout" in options:
        options["dropout"] = float(options["dropout"])  # 0 is as good as 0.0
    return Network(UNet(out_channels, conditioning, **options), tuple(shape), told(conditioning))


def check(shape: tuple[int, ...], conditioning: Conditioning | None = None, **options: Any) -> None:
    """Raises UserError, naming the key of `config.model` to change, unless `make` can make this network."""
    values, require = checks.chosen("the U-Net", OPTIONS, shape, options), checks.require
    space, channels, groups, multipliers = shape[:-1], values["channels"], values["groups"], values["multipliers"]
    require(channels >= 4 and channels % 2 == 0, "channels", f"{channels} is not an even number of at least 4")
    # Every channel count is a multiple of `channels`, and the first norm sees `channels` itself.
    require(groups >= 1, "groups", f"{groups} is not a whole number of at least 1")
    fits = max(d for d in range(1, groups + 1) if channels % d == 0)
    require(fits == groups, "groups", f"{channels} channels cannot be split into {groups} groups; use {fits}")
    require(values["blocks"] >= 1, "blocks", f"{values['blocks']} is not a whole number of at least 1")
    heads, powers = values["heads"], values["fourier_features"]
    require(heads >= 1, "heads", f"{heads} is not a whole number of at least 1")
    require(channels % heads == 0, "heads", f"{channels} channels cannot be split into {heads} heads")
    # Beyond 16 the angles are so large that float32 holds their value modulo 2 pi to fewer than two digits.
    require(all(0 <= n <= 16 for n in powers), "fourier_features", f"{powers} has a power outside 0..16")

    require(len(multipliers) >= 1, "multipliers", "there must be at least one, such as (1, 2)")
    require(min(multipliers) >= 1, "multipliers", f"{multipliers} has one below 1")
    halved, most = len(multipliers) - 1, min((size & -size).bit_length() - 1 for size in space)
    image = "x".join(map(str, space))
    require(
        halved <= most,
        "multipliers",
        f"an image of {image} can be halved {most} times, not {halved}; use at most {most + 1} multipliers",
    )
    sizes = [space[0] >> level for level in range(len(multipliers))]
    for size in values["attention_resolutions"]:
        occurring = ", ".join(map(str, sizes))
        require(size in sizes, "attention_resolutions", f"size {size} does not occur; choose from {occurring}, or ()")
