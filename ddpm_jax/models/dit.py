"""The diffusion transformer, DiT (Peebles and Xie 2023, arXiv:2212.09748), over any number of spatial axes."""

import math
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, UInt32

from ddpm_jax.conditions import Condition
from ddpm_jax.models import alike, checks
from ddpm_jax.models.affine import Dense, LayerNorm
from ddpm_jax.models.conditioning import Conditioning, Context, CrossAttention, told
from ddpm_jax.models.everywhere import repeat
from ddpm_jax.models.layers import Dropout, attend_in_heads, dense, sinusoids
from ddpm_jax.models.network import Network
from ddpm_jax.models.remat import rematerialised

FREQUENCIES = 256
"""How many sines and cosines of the time the network is given, as published."""


def to_patches(x: Float[Array, "batch *space channels"], patch: int) -> Float[Array, "batch patches values"]:
    """Cuts an image into patches of `patch` sites along every axis: patches and values in row-major order.

    The values of a patch are (*window, channels), flattened.
    """
    axes = x.ndim - 2
    pairs = [number for size in x.shape[1:-1] for number in (size // patch, patch)]
    x = x.reshape(x.shape[0], *pairs, x.shape[-1])
    x = x.transpose(0, *range(1, 2 * axes + 1, 2), *range(2, 2 * axes + 1, 2), 2 * axes + 1)
    return x.reshape(x.shape[0], math.prod(x.shape[1 : axes + 1]), -1)


def from_patches(
    patches: Float[Array, "batch patches values"], patch: int, space: tuple[int, ...]
) -> Float[Array, "batch *space channels"]:
    """The image of size `space` whose `to_patches` is `patches`."""
    axes = len(space)
    x = patches.reshape(patches.shape[0], *(size // patch for size in space), *(patch,) * axes, -1)
    x = x.transpose(0, *(axis + part for axis in range(1, axes + 1) for part in (0, axes)), 2 * axes + 1)
    return x.reshape(x.shape[0], *space, -1)


def position_embedding(grid: tuple[int, ...], features: int) -> Float[Array, "positions features"]:
    """A fixed embedding of the positions of a grid, in row-major order: `sinusoids` of each coordinate side by side.

    Every axis has the same number of features, 2 floor(features / 2 axes), and the last axis stands first, as
    published for two axes. Features that are left over are 0.
    """
    each = 2 * (features // (2 * len(grid)))
    coordinates = jnp.meshgrid(*(jnp.arange(size, dtype=jnp.float32) for size in grid), indexing="ij")
    parts = [sinusoids(numbers.reshape(-1), each, each // 2) for numbers in reversed(coordinates)]
    return jnp.pad(jnp.concatenate(parts, axis=-1), ((0, 0), (0, features - each * len(grid))))


def _modulation(embedding: Array, count: int, positions: int, dtype: DTypeLike) -> list[Array]:
    """`count` vectors from the embedding, for all positions; all 0 in a fresh network."""
    layer = Dense(count * embedding.shape[-1], dtype=dtype, kernel_init=nn.initializers.zeros, name="modulation")
    return [repeat(part, positions) for part in jnp.split(layer(nn.swish(embedding)), count, axis=-1)]


def _normalised(h: Array, shift: Array, scale: Array, dtype: DTypeLike) -> Array:
    """Layer normalisation (epsilon 1e-6, moments in float32), whose scale and shift come from the embedding."""
    norm = LayerNorm(affine=False, dtype=dtype)
    return norm(h) * (1 + scale) + shift


class Block(nn.Module):
    """h + gate attention(norm(h)), then h + gate mlp(norm(h)): the paper's block "adaLN-Zero".

    Both norms' scales and shifts and both gates are linear in swish(embedding). The gates start at 0, so a fresh block
    is the identity. The MLP is 4 times as wide as h, with GELU (the tanh approximation).
    """

    heads: int
    dropout: float
    dtype: DTypeLike
    fused: bool = False

    @nn.compact
    def __call__(
        self,
        h: Float[Array, "batch positions channels"],
        embedding: Float[Array, "batch channels"],
        dropout_keys: Key[Array, " batch"] | None,
        numbers: UInt32[Array, "2"] | tuple[None, None] = (None, None),
    ) -> Float[Array, "batch positions channels"]:
        """`numbers` are of its dropouts, in a loop."""
        channels, dtype = h.shape[-1], self.dtype
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = _modulation(embedding, 6, h.shape[1], dtype)

        branch = dense(3 * channels, dtype, name="query_key_value")(_normalised(h, shift_1, scale_1, dtype))
        query, key, value = jnp.split(branch, 3, axis=-1)
        fused = self.fused and dropout_keys is not None
        branch = dense(channels, dtype, name="projection")(attend_in_heads(query, key, value, self.heads, fused))
        h = h + gate_1 * Dropout(self.dropout, name="dropout_1")(branch, dropout_keys, numbers[0])

        branch = dense(4 * channels, dtype, name="mlp_1")(_normalised(h, shift_2, scale_2, dtype))
        branch = dense(channels, dtype, name="mlp_2")(nn.gelu(branch, approximate=True))
        return h + gate_2 * Dropout(self.dropout, name="dropout_2")(branch, dropout_keys, numbers[1])


class DiT(nn.Module):
    """The diffusion transformer; the defaults are its DiT-B/2. See `make` for the options."""

    out_channels: int
    conditioning: Conditioning | None = None
    patch: int = 2
    channels: int = 768
    depth: int = 12
    heads: int = 12
    dropout: float = 0.0
    dtype: str = "float32"
    remat: bool = False
    remat_keep: str = "inputs"
    attention: str = "xla"

    @property
    def looped(self) -> tuple[str, ...]:
        """See `Network.looped`."""
        return ("block", "cross") if self.depth >= alike.LEAST else ()

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch *space in_channels"],
        time: Float[Array, " batch"],
        condition: Condition,
        dropout_keys: Key[Array, " batch"] | None,
    ) -> Float[Array, "batch *space out_channels"]:
        space, dtype = x.shape[1:-1], checks.DTYPES[self.dtype]
        block = rematerialised(Block, self.remat, self.remat_keep)
        cross = rematerialised(CrossAttention, self.remat, self.remat_keep)
        small, fused = nn.initializers.normal(0.02), self.attention == "fused"

        # The embedding is small and its angles are large: it stays in float32.
        embedding = sinusoids(time, FREQUENCIES, FREQUENCIES // 2)
        embedding = nn.swish(Dense(self.channels, kernel_init=small, name="time_1")(embedding))
        embedding = Dense(self.channels, kernel_init=small, name="time_2")(embedding)
        context = Context()
        if self.conditioning is not None:
            context = self.conditioning(condition, self.channels, space)
            embedding = embedding if context.vector is None else embedding + context.vector

        h = dense(self.channels, dtype, name="first")(to_patches(context.beside(x), self.patch))
        h += position_embedding(tuple(size // self.patch for size in space), self.channels).astype(dtype)
        if self.looped and not self.is_initializing():
            one = Block(self.heads, self.dropout, dtype, fused, parent=None)
            kinds: dict[str, alike.Apply] = {
                "block": lambda p, h, numbers: one.apply({"params": p}, h, embedding, dropout_keys, numbers)
            }
            if context.sequence is not None:
                reads = CrossAttention(self.channels, self.heads, dtype, parent=None)
                kinds["cross"] = lambda p, h, _: reads.apply({"params": p}, h, context.sequence, context.mask)
            keep = self.remat_keep if self.remat else None
            h = alike.looped(self.variables["params"], kinds, self.depth, ("dropout_1", "dropout_2"), h, keep)
        else:
            for i in range(self.depth):
                h = block(self.heads, self.dropout, dtype, fused, name=f"block_{i}")(h, embedding, dropout_keys)
                if context.sequence is not None:
                    reads = cross(self.channels, self.heads, dtype, name=f"cross_{i}")
                    h = reads(h, context.sequence, context.mask)

        # The output is float32, and so is what makes it: bfloat16 would round it to three digits.
        shift, scale = _modulation(embedding, 2, h.shape[1], jnp.float32)
        h = _normalised(h.astype(jnp.float32), shift, scale, jnp.float32)
        values = self.patch ** len(space) * self.out_channels
        h = Dense(values, kernel_init=nn.initializers.zeros, name="last")(h)
        return from_patches(h, self.patch, space)


OPTIONS = checks.of_module(DiT)
"""What a config may choose, with the defaults."""


def make(
    shape: tuple[int, ...], out_channels: int, conditioning: Conditioning | None = None, **options: Any
) -> Network:
    """A diffusion transformer for inputs of shape `(*space, channels)`. Raises UserError for options that do not fit.

    - patch: the side of a patch in sites; every axis of `space` is a multiple of it.
    - channels: of every position, the paper's hidden size d; even.
    - depth: blocks, the paper's N.
    - heads: of every attention; each has channels / heads of its channels.
    - dropout: the probability of dropping a value of what attention or an MLP adds (published: 0).
    - dtype: of the computation, "float32" or "bfloat16". Parameters and output are float32.
    - remat: keep the inputs of the blocks only, and compute what is within them again in the backward pass: less
      memory, about a third more computation, the same numbers.
    - remat_keep: "inputs", as above, or "products": also what products (of matrices, convolutions) put out, so
      that only what is cheap is computed again.
    - attention: "xla", or "fused": in training without all weights in memory (`efficient_attention`).

    The paper's sizes (channels, depth, heads): S (384, 12, 6), B (768, 12, 12), L (1024, 24, 16), XL (1152, 28, 16).
    A fresh network answers 0 everywhere, as published.
    `conditioning`: a vector is added to the embedding of the time, a sequence is read after every block, channels stand
    beside the input.
    """
    check(shape, conditioning=conditioning, **options)
    if out_channels < 1:
        raise ValueError(f"out_channels is {out_channels}; a network has at least one")
    if "dropout" in options:
        options["dropout"] = float(options["dropout"])  # 0 is as good as 0.0
    return Network(DiT(out_channels, conditioning, **options), tuple(shape), told(conditioning))


def check(shape: tuple[int, ...], conditioning: Conditioning | None = None, **options: Any) -> None:
    """Raises UserError, naming the key of `config.model` to change, unless `make` can make this network."""
    values, require = checks.chosen("the transformer", OPTIONS, shape, options), checks.require
    space, channels, heads, patch = shape[:-1], values["channels"], values["heads"], values["patch"]
    for name in ("patch", "depth", "heads"):
        require(values[name] >= 1, name, f"{values[name]} is not a whole number of at least 1")
    fits = math.gcd(*space)
    image, divisors = "x".join(map(str, space)), ", ".join(str(d) for d in range(1, fits + 1) if fits % d == 0)
    require(fits % patch == 0, "patch", f"{image} is not whole patches of side {patch}; choose from {divisors}")
    # The position embedding has a sine and a cosine for every axis.
    least = 2 * len(space)
    good = channels >= least and channels % 2 == 0
    require(good, "channels", f"{channels} is not an even number of at least {least}")
    require(channels % heads == 0, "heads", f"{channels} channels cannot be split into {heads} heads")
