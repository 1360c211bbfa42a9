"""The U-Net of DDPM (Ho, Jain, Abbeel 2020, arXiv:2006.11239, appendix B) over any number of spatial axes."""

import math
from dataclasses import MISSING, fields
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int, Key

from ddpm_jax.errors import UserError, nearest
from ddpm_jax.models.layers import Attention, Dropout, convolution, dense, group_norm, time_embedding, upsample
from ddpm_jax.models.network import Network

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


class ResidualBlock(nn.Module):
    """x + h, where h = norm, swish, convolution, plus the embedding, norm, swish, dropout, convolution of x."""

    features: int
    groups: int
    dropout: float
    dtype: Any

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
        shift = dense(self.features, self.dtype, name="embedding")(nn.swish(embedding))
        h = h + shift.reshape(shift.shape[0], *(1,) * axes, self.features)
        h = nn.swish(group_norm(self.groups, self.dtype, name="norm_2")(h))
        h = Dropout(self.dropout, name="dropout")(h, dropout_keys)
        h = convolution(self.features, axes, self.dtype, scale=0.0, name="conv_2")(h)
        if x.shape[-1] != self.features:
            x = dense(self.features, self.dtype, name="shortcut")(x)
        return x + h


class UNet(nn.Module):
    """DDPM's U-Net; the defaults are its CIFAR-10 network (35.7 M parameters). See `make` for the options."""

    out_channels: int
    labels: int = 0
    channels: int = 128
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    blocks: int = 2
    attention_resolutions: tuple[int, ...] = (16,)
    dropout: float = 0.1
    groups: int = 32
    dtype: str = "float32"

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch *space in_channels"],
        time: Float[Array, " batch"],
        condition: Int[Array, " batch"] | None,
        dropout_keys: Key[Array, " batch"] | None,
    ) -> Float[Array, "batch *space out_channels"]:
        axes, dtype = x.ndim - 2, DTYPES[self.dtype]

        def block(h: Array, features: int, attends: bool, name: str) -> Array:
            h = ResidualBlock(features, self.groups, self.dropout, dtype, name=name)(h, embedding, dropout_keys)
            return Attention(self.groups, dtype, name=f"{name}_attention")(h) if attends else h

        # The embedding is small and its angles are large: it stays in float32.
        embedding = dense(4 * self.channels, name="time_1")(time_embedding(time, self.channels))
        embedding = dense(4 * self.channels, name="time_2")(nn.swish(embedding))
        if self.labels:
            # Added as Dhariwal and Nichol (2021, arXiv:2105.05233) do; the last entry is the null label.
            labels = nn.Embed(
                self.labels + 1, 4 * self.channels, embedding_init=nn.initializers.normal(1), name="labels"
            )
            embedding = embedding + labels(condition)

        levels = len(self.multipliers)
        h = convolution(self.channels, axes, dtype, name="first")(x)
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


OPTIONS: dict[str, Any] = {
    field.name: field.default
    for field in fields(UNet)
    if field.default is not MISSING and field.name not in ("labels", "parent", "name")
}
"""What a config may choose, with the defaults."""


def make(shape: tuple[int, ...], out_channels: int, labels: int = 0, **options: Any) -> Network:
    """A U-Net for inputs of shape `(*space, channels)`. Raises UserError for options that do not fit.

    - channels: at full size, even; the time embedding has 4 times as many features.
    - multipliers: the channels at each resolution as multiples of that; each resolution is half the one before.
    - blocks: residual blocks at each resolution (one more on the way up).
    - attention_resolutions: sizes of the first spatial axis at which every block is followed by attention. The
      lowest resolution always has one attention, between its two middle blocks.
    - dropout: the probability of dropping a value in a residual block.
    - groups: of the group normalisation.
    - dtype: of the computation, "float32" or "bfloat16". Parameters and output are float32.

    `labels` > 0 makes it class-conditional: an embedding of labels + 1 entries, whose last is the null label.
    """
    check(shape, labels=labels, **options)
    if out_channels < 1:
        raise ValueError(f"out_channels is {out_channels}; a network has at least one")
    if "dropout" in options:
        options["dropout"] = float(options["dropout"])  # 0 is as good as 0.0
    return Network(UNet(out_channels, labels, **options), tuple(shape), labels)


def check(shape: tuple[int, ...], labels: int = 0, **options: Any) -> None:
    """Raises UserError, naming the key of `config.model` to change, unless `make` can make this network."""
    if len(shape) < 2:
        raise ValueError(f"shape is {shape}; it must be (*space, channels) with at least one spatial axis")
    if labels < 0:
        raise ValueError(f"labels is {labels}; it must be 0 or the number of classes")
    for name, value in options.items():
        if name not in OPTIONS:
            raise UserError(f"config.model.{name}: the U-Net has no such option; {nearest(name, OPTIONS)}")
        _check_type(name, value)
    chosen = {**OPTIONS, **options}

    def require(condition: bool, name: str, message: str) -> None:
        if not condition:
            raise UserError(f"config.model.{name}: {message}")

    space, channels, groups, multipliers = shape[:-1], chosen["channels"], chosen["groups"], chosen["multipliers"]
    require(channels >= 4 and channels % 2 == 0, "channels", f"{channels} is not an even number of at least 4")
    # Every channel count is a multiple of `channels`, and the first norm sees `channels` itself.
    require(groups >= 1, "groups", f"{groups} is not a whole number of at least 1")
    fits = max(d for d in range(1, groups + 1) if channels % d == 0)
    require(fits == groups, "groups", f"{channels} channels cannot be split into {groups} groups; use {fits}")
    require(chosen["blocks"] >= 1, "blocks", f"{chosen['blocks']} is not a whole number of at least 1")
    require(0 <= chosen["dropout"] < 1, "dropout", f"{chosen['dropout']} is not a probability in [0, 1)")
    require(chosen["dtype"] in DTYPES, "dtype", f"{chosen['dtype']!r} is unknown; {nearest(chosen['dtype'], DTYPES)}")

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
    for size in chosen["attention_resolutions"]:
        occurring = ", ".join(map(str, sizes))
        require(size in sizes, "attention_resolutions", f"size {size} does not occur; choose from {occurring}, or ()")


def _check_type(name: str, value: Any) -> None:
    """Raises UserError unless `value` is of the type of the option's default (a whole number may be a real)."""
    default = OPTIONS[name]

    def whole(number: Any) -> bool:
        return isinstance(number, int) and not isinstance(number, bool)

    if isinstance(default, tuple):
        good = isinstance(value, tuple) and all(map(whole, value))
        kind = "a tuple of whole numbers"
    elif isinstance(default, float):
        good, kind = whole(value) or (isinstance(value, float) and math.isfinite(value)), "a number"
    elif isinstance(default, int):
        good, kind = whole(value), "a whole number"
    else:
        good, kind = isinstance(value, str), "a string"
    if not good:
        raise UserError(f"config.model.{name}: {value!r} is not {kind}, such as {default!r}")
