"""DDPM++ and NCSN++, the networks of score SDE (Song et al. 2021, arXiv:2011.13456, appendix H), over any spatial axes.

They are U-Nets of BigGAN blocks (Brock et al. 2019, arXiv:1809.11096): halving and doubling take place inside a
residual block, and every sum of two branches is divided by sqrt 2. DDPM++ has sinusoids of the time and averages pairs;
NCSN++ has random Fourier features of the time, filters with (1, 3, 3, 1), and gives every resolution the input again.
As reimplemented in https://github.com/NVlabs/edm (Karras et al. 2022, arXiv:2206.00364), without its inputs for
augmentation.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

from ddpm_jax.conditions import Condition
from ddpm_jax.models import checks, fir
from ddpm_jax.models.affine import Convolution
from ddpm_jax.models.conditioning import Conditioning, Context, told
from ddpm_jax.models.everywhere import everywhere
from ddpm_jax.models.layers import Dropout, attend_in_heads, convolution, dense, group_norm, initialiser, time_embedding
from ddpm_jax.models.network import Network
from ddpm_jax.models.remat import rematerialised

HALF = math.sqrt(0.5)  # of a sum of two branches: its variance is that of one


def groups(channels: int) -> int:
    """The groups of a norm: the largest divisor of `channels` up to the published min(32, channels / 4)."""
    return max(d for d in range(1, max(1, min(32, channels // 4)) + 1) if channels % d == 0)


def norm(x: Array, dtype: DTypeLike, name: str) -> Array:
    """Group normalisation of x within a module, with the published number of groups; epsilon is 1e-6."""
    return group_norm(groups(x.shape[-1]), dtype, name=name)(x)


class Block(nn.Module):
    """(x + h)/sqrt 2, where h = norm, swish, resampling, convolution, plus the embedding, norm, swish, dropout,
    convolution of x; if it `attends`, then (x + attention(norm(x)))/sqrt 2, one head over all sites.

    `resample` is "", "halve" or "double": with `taps`, before the first convolution and in the shortcut, which is
    linear wherever the size or the channels change.
    """

    features: int
    taps: tuple[int, ...]
    dropout: float
    dtype: DTypeLike
    attends: bool = False
    resample: str = ""
    fused: bool = False

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch *space channels"],
        embedding: Float[Array, "batch width"],
        dropout_keys: Key[Array, " batch"] | None,
    ) -> Float[Array, "batch *other features"]:
        axes, dtype = x.ndim - 2, self.dtype
        h = nn.swish(norm(x, dtype, "norm_1"))
        if self.resample:
            change = {"halve": fir.halve, "double": fir.double}[self.resample]
            h, x = change(h, self.taps), change(x, self.taps)
        h = convolution(self.features, axes, dtype, name="conv_1")(h)
        shift = dense(self.features, dtype, name="embedding")(embedding)
        h = h + everywhere(shift, h)
        h = nn.swish(norm(h, dtype, "norm_2"))
        h = Dropout(self.dropout, name="dropout")(h, dropout_keys)
        h = convolution(self.features, axes, dtype, scale=0.0, name="conv_2")(h)
        if self.resample or x.shape[-1] != self.features:
            x = dense(self.features, dtype, name="shortcut")(x)
        x = (x + h) * HALF
        if self.attends:
            h = norm(x, dtype, "attention_norm").reshape(x.shape[0], -1, self.features)
            h = dense(3 * self.features, dtype, scale=0.2, name="query_key_value")(h)
            h = attend_in_heads(*jnp.split(h, 3, axis=-1), heads=1, fused=self.fused and dropout_keys is not None)
            x = (x + dense(self.features, dtype, scale=0.0, name="projection")(h).reshape(x.shape)) * HALF
        return x


class InputAgain(nn.Module):
    """(h + filter(convolution(x)))/sqrt 2: the input x of twice the size of h, halved and added to it.

    The convolution and the filter are one operation, as published: the convolution reaches beyond the border as far as
    the filter then looks.
    """

    taps: tuple[int, ...]
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, h: Float[Array, "batch *half features"], x: Float[Array, "batch *space channels"]
    ) -> Float[Array, "batch *half features"]:
        axes = x.ndim - 2
        reach = len(self.taps) // 2  # the filter's len / 2 - 1 and the convolution's 1
        conv = Convolution(
            h.shape[-1],
            (3,) * axes,
            padding=((reach, reach),) * axes,
            dtype=self.dtype,
            kernel_init=initialiser(),
            name="conv",
        )
        return (h + fir.halve(conv(x), self.taps, pad=0)) * HALF


class Labels(nn.Module):
    """sqrt(classes) W[label] + bias; the bias alone for no label, which is `classes`. NaN for any other number."""

    classes: int
    features: int

    @nn.compact
    def __call__(self, condition: Int[Array, " batch"]) -> Float[Array, "batch features"]:
        kernel = self.param("kernel", initialiser(), (self.classes, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        rows = jnp.pad(math.sqrt(self.classes) * kernel, ((0, 1), (0, 0)))
        known = (condition >= 0) & (condition <= self.classes)
        return jnp.where(known[:, None], jnp.take(rows, condition, axis=0, mode="clip") + bias, jnp.nan)


def _labels(classes: int, features: int, name: str) -> Labels:
    return Labels(classes, features, name=name)


class SongUNet(nn.Module):
    """DDPM++ (55.7 M parameters) by its defaults, NCSN++ by the attributes of `NCSNPP`. See `Variant.make`.

    - taps: of the filter with which sizes change, see `fir`.
    - fourier: the time goes through sin and cos of 2 pi f t, 2 `channels` features, instead of `channels` sinusoids.
    - frequencies: these f, one for every two features; (): normal draws of deviation 16 from a fixed seed. They are no
      parameters, so they are neither trained nor kept with them.
    - input_again: every resolution gets the input again, halved step by step with a residual convolution each.
    """

    out_channels: int
    conditioning: Conditioning | None = None
    channels: int = 128
    multipliers: tuple[int, ...] = (2, 2, 2)
    blocks: int = 4
    attention_resolutions: tuple[int, ...] = (16,)
    dropout: float = 0.1
    dtype: str = "float32"
    remat: bool = False
    remat_keep: str = "inputs"
    attention: str = "xla"
    taps: tuple[int, ...] = (1, 1)
    fourier: bool = False
    frequencies: tuple[float, ...] = ()
    input_again: bool = False

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch *space in_channels"],
        time: Float[Array, " batch"],
        condition: Condition,
        dropout_keys: Key[Array, " batch"] | None,
    ) -> Float[Array, "batch *space out_channels"]:
        axes, dtype = x.ndim - 2, checks.DTYPES[self.dtype]
        residual = rematerialised(Block, self.remat, self.remat_keep)
        input_again = rematerialised(InputAgain, self.remat, self.remat_keep)
        embedding, context = self._embedding(time, condition, x.shape[1:-1])

        def block(h: Array, features: int, name: str, **how: Any) -> Array:
            layer = residual(
                features, self.taps, self.dropout, dtype, **how, fused=self.attention == "fused", name=name
            )
            return layer(h, embedding, dropout_keys)

        again = x.astype(dtype)
        h = convolution(self.channels, axes, dtype, name="first")(context.beside(x))
        skips = [h]
        for level, multiplier in enumerate(self.multipliers):
            if level > 0:
                h = block(h, h.shape[-1], f"down_{level}_half", resample="halve")
                if self.input_again:
                    again = h = input_again(self.taps, dtype, name=f"down_{level}_input")(h, again)
                skips.append(h)
            attends = h.shape[1] in self.attention_resolutions
            for i in range(self.blocks):
                h = block(h, self.channels * multiplier, f"down_{level}_{i}", attends=attends)
                skips.append(h)

        h = block(h, h.shape[-1], "middle_0", attends=True)
        h = block(h, h.shape[-1], "middle_1")

        for level, multiplier in reversed(list(enumerate(self.multipliers))):
            if level < len(self.multipliers) - 1:
                h = block(h, h.shape[-1], f"up_{level}_twice", resample="double")
            attends = h.shape[1] in self.attention_resolutions
            for i in range(self.blocks + 1):
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = block(h, self.channels * multiplier, f"up_{level}_{i}", attends=attends and i == self.blocks)

        # The output is float32, and so is what makes it: bfloat16 would round it to three digits.
        h = nn.swish(norm(h.astype(jnp.float32), jnp.float32, "last_norm"))
        return convolution(self.out_channels, axes, scale=0.0, name="last")(h)

    def _embedding(self, time: Array, condition: Condition, space: tuple[int, ...]) -> tuple[Array, Context]:
        """[batch, 4 channels] of time and conditions, in float32: it is small and its angles are large. The context."""
        if self.fourier:
            frequencies = self.frequencies or 16 * np.random.RandomState(0).standard_normal(self.channels)
            turns = np.asarray(2 * np.pi * np.asarray(frequencies, np.float32), np.float32)
            angles = time.astype(jnp.float32)[:, None] * turns
            features = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
        else:
            features = time_embedding(time, self.channels)
        context = Context()
        if self.conditioning is not None:
            context = self.conditioning(condition, features.shape[-1], space, label=_labels)
            features = features if context.vector is None else features + context.vector
        hidden = nn.swish(dense(4 * self.channels, name="time_1")(features))
        return nn.swish(dense(4 * self.channels, name="time_2")(hidden)), context


@dataclass(frozen=True)
class Variant:
    """A published network of this kind, as the table of networks wants it: OPTIONS, check and make."""

    title: str
    module: partial[SongUNet]

    @property
    def OPTIONS(self) -> dict[str, Any]:
        """What a config may choose, with the defaults."""
        fixed = ("taps", "fourier", "frequencies", "input_again")
        return {name: value for name, value in checks.of_module(SongUNet).items() if name not in fixed}

    def make(
        self, shape: tuple[int, ...], out_channels: int, conditioning: Conditioning | None = None, **options: Any
    ) -> Network:
        """This network for inputs of shape `(*space, channels)`. Raises UserError for options that do not fit.

        - channels: what the multipliers multiply, even; the embedding of the time has 4 times as many features.
        - multipliers: the channels at each resolution as multiples of that; each resolution is half the one before.
        - blocks: residual blocks at each resolution (one more on the way up), beside those that change the size.
        - attention_resolutions: sizes of the first spatial axis with attention: after every block on the way down,
          after the last one on the way up. The lowest resolution always has one between its two middle blocks.
        - dropout: the probability of dropping a value in a residual block.
        - dtype: of the computation, "float32" or "bfloat16". Parameters and output are float32.
        - remat: keep the inputs of blocks only, and compute what is within them again in the backward pass: less
          memory, about a third more computation, the same numbers.
        - remat_keep: "inputs", as above, or "products": also what products (of matrices, convolutions) put out, so
          that only what is cheap is computed again.
        - attention: "xla", or "fused": in training without all weights in memory (`efficient_attention`).

        The time that NCSN++ is told should be of the order of 1, such as log(sigma)/4: its frequencies are of the
        order of 16 turns for every unit. `conditioning`: a vector is added to the features of the time, channels stand
        beside the input.
        """
        self.check(shape, conditioning=conditioning, **options)
        if out_channels < 1:
            raise ValueError(f"out_channels is {out_channels}; a network has at least one")
        if "dropout" in options:
            options["dropout"] = float(options["dropout"])  # 0 is as good as 0.0
        return Network(self.module(out_channels, conditioning, **options), tuple(shape), told(conditioning))

    def check(self, shape: tuple[int, ...], conditioning: Conditioning | None = None, **options: Any) -> None:
        """Raises UserError, naming the key of `config.model` to change, unless `make` can make this network."""
        values, require = checks.chosen(self.title, self.OPTIONS, shape, options), checks.require
        space, channels, multipliers = shape[:-1], values["channels"], values["multipliers"]
        require(channels >= 4 and channels % 2 == 0, "channels", f"{channels} is not an even number of at least 4")
        require(values["blocks"] >= 1, "blocks", f"{values['blocks']} is not a whole number of at least 1")
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
            message = f"size {size} does not occur; choose from {occurring}, or ()"
            require(size in sizes, "attention_resolutions", message)


DDPMPP = Variant("DDPM++", partial(SongUNet))
NCSNPP = Variant("NCSN++", partial(SongUNet, taps=(1, 3, 3, 1), fourier=True, input_again=True))
