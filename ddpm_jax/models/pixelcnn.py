"""PixelCNN++ (Salimans et al. 2017, arXiv:1701.05517): an autoregressive convolutional network over two spatial axes.

Two streams run side by side. At site (i, j) the *down* stream knows the rows above i; the *right* stream knows these
and, in row i, the columns left of j, and at each of its blocks it is shown the down stream. Both go through the same
resolutions, each half the one before, and back, with shortcuts. Here without the published weight normalisation and
its initialisation from data: kernels start with the variance that keeps the scale through `concat_elu`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key, PyTree

from ddpm_jax.conditions import Condition
from ddpm_jax.errors import UserError
from ddpm_jax.models import checks
from ddpm_jax.models.causal_convolution import Doubled, GatedBlock, Place, ShiftedConvolution, empty_memory
from ddpm_jax.models.conditioning import Conditioning
from ddpm_jax.models.conditioning import told as what
from ddpm_jax.models.layers import dense
from ddpm_jax.models.network import Network
from ddpm_jax.models.remat import rematerialised
from ddpm_jax.models.sites import Sites

ABOVE = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2))
"""What the down stream's first layer sees, of rows i - 2 to i - 1 and columns j - 1 to j + 1: all."""

ABOVE_AND_LEFT = ((0, 0), (0, 1), (0, 2), (1, 0))
"""What the right stream's first layer sees, of rows i - 1 to i and columns j - 1 to j + 1: all before (i, j)."""


def _neighbours(x: Array, rows: Array, columns: Array, taps: tuple[tuple[int, int], ...]) -> Array:
    """For each site of a window the values at these row and column offsets, and whether each lies in the image.

    The window is x at consecutive `rows` and `columns`, which may lie beyond x: one row and two columns more than
    there are sites in the result, [batch, rows - 1, columns - 2, taps (channels + 1)].
    """
    inside = ((rows >= 0) & (rows < x.shape[1]))[:, None, None] & ((columns >= 0) & (columns < x.shape[2]))[:, None]
    values = jnp.take(jnp.take(x, rows, axis=1, mode="clip"), columns, axis=2, mode="clip")
    told = jnp.broadcast_to(inside, (*values.shape[:-1], 1))
    window = jnp.concatenate([jnp.where(inside, values, 0), told.astype(x.dtype)], axis=-1)
    height, width = window.shape[1] - 1, window.shape[2] - 2
    return jnp.concatenate([window[:, a : a + height, b : b + width] for a, b in taps], axis=-1)


class Resolution(nn.Module):
    """One stream at one resolution and, within it, at the lower ones, whose channels are the rest of `widths`.

    Blocks, a convolution of stride 2, the lower resolution, its inverse, and as many blocks again and one, each of
    which is shown what an earlier one put out, the last first. The lowest has blocks, and as many again.
    """

    right: bool
    widths: tuple[int, ...]
    blocks: int
    dropout: float
    dtype: DTypeLike
    remat: bool
    remat_keep: str

    def setup(self):
        make = rematerialised(GatedBlock, self.remat, self.remat_keep)
        width, *lower = self.widths
        first, last = (
            [make(width, self.right, self.dropout, self.dtype) for _ in range(count)]
            for count in (self.blocks, self.blocks + bool(lower))
        )
        self.before, self.after = first, last
        if lower:
            self.half = ShiftedConvolution(lower[0], self.right, 2, self.dtype)
            self.lower = self.clone(widths=tuple(lower), parent=None, name=None)
            self.twice = Doubled(width, self.right, self.dtype)

    def __call__(
        self,
        h: Float[Array, "batch rows columns channels"],
        others: Any,
        told: Float[Array, "batch width"] | None,
        dropout_keys: Key[Array, " batch"] | None,
        memory: PyTree = None,
        place: Place | None = None,
    ) -> tuple[Float[Array, "batch rows columns channels"], Any, Any]:
        """The stream's output, what it shows to the other, and its new memory, for a whole image or a part at `place`.

        What a down stream shows, and a right stream is given as `others`, is (a list with an array for each block, the
        same of the lower resolution or None). At a place these are whole rows. A right stream shows None.
        """
        shown, skips, remembered = [], [h], []
        number = len(self.before) + len(self.after)
        here, below = others or ([None] * number, None)
        if others and place is not None:
            here = [jax.lax.dynamic_slice_in_dim(row, place.column, 1, axis=2) for row in others[0]]
        given = iter(zip(here, memory["blocks"] if memory else [None] * number, strict=True))

        def through(block: Any, h: Array, *skip: Array) -> Array:
            other, before = next(given)
            seen = [*([] if other is None else [other]), *skip]
            h, after = block(h, jnp.concatenate(seen, axis=-1) if seen else None, told, dropout_keys, before, place)
            shown.append(h)
            remembered.append(after)
            return h

        for block in self.before:
            h = through(block, h)
            skips.append(h)
        lower = {"shown": None}
        new: dict[str, Any] = {"blocks": remembered}
        if len(self.widths) == 1:
            skips.pop()  # that is h
        elif memory is None or place is None:
            h, lower = self._lower(self.half.window(h, None, None)[0], below, told, dropout_keys)
        else:
            window, new["half"] = self.half.window(h, memory["half"], place)
            old = memory["lower"]

            def reached(module: "Resolution", window: Array) -> Any:
                twice, lower = module._lower(window, below, told, dropout_keys, old["memory"], place.halved())
                twice = jax.lax.dynamic_update_slice_in_dim(old["twice"], twice, place.column, 2)
                return {**lower, "twice": twice}

            new["lower"] = lower = nn.cond(place.is_kept(), reached, lambda *_: old, self, window)
            h = jax.lax.dynamic_slice(lower["twice"], (0, place.row % 2, place.column, 0), h.shape)
        for block in self.after:
            h = through(block, h, skips.pop())
        return h, None if self.right else (shown, lower["shown"]), new if memory else None

    def _lower(
        self,
        window: Array,
        others: Any,
        told: Array | None,
        dropout_keys: Array | None,
        memory: PyTree = None,
        place: Place | None = None,
    ) -> tuple[Array, dict[str, Any]]:
        """What the lower resolution adds to this one, what it shows, and its memory."""
        h, shown, memory = self.lower(self.half.output(window), others, told, dropout_keys, memory, place)
        return self.twice(h), {"shown": shown, "memory": memory}


def _empty(
    right: bool, widths: tuple[int, ...], blocks: int, count: int, columns: int, dtype: DTypeLike
) -> tuple[PyTree, PyTree]:
    """The memory of a `Resolution` before the first row, and zeros in place of what it shows of a row."""
    width, *lower = widths
    number = 2 * blocks + bool(lower)
    line = empty_memory(right, count, columns, 2 * width, dtype)
    memory: dict[str, PyTree] = {"blocks": [(line, line)] * number}
    below = None
    if lower:
        inner, below = _empty(right, tuple(lower), blocks, count, columns // 2, dtype)
        twice = jnp.zeros((count, 2, columns, width), dtype)
        memory["half"] = empty_memory(right, count, columns, width, dtype)
        memory["lower"] = {"shown": below, "memory": inner, "twice": twice}
    row = jnp.zeros((count, 1, columns, width), dtype)
    return memory, None if right else ([row] * number, below)


class PixelCNN(nn.Module):
    """PixelCNN++; the defaults are its CIFAR-10 network. See `make` for the options."""

    out_channels: int
    conditioning: Conditioning | None = None
    channels: int = 160
    blocks: int = 5
    multipliers: tuple[int, ...] = (1, 1, 1)
    dropout: float = 0.5
    dtype: str = "float32"
    remat: bool = False
    remat_keep: str = "inputs"

    def setup(self):
        widths, dtype = self._widths, checks.DTYPES[self.dtype]
        self.first_down, self.first_right = (dense(widths[0], dtype) for _ in range(2))
        self.down, self.right = (
            Resolution(right, widths, self.blocks, self.dropout, dtype, self.remat, self.remat_keep)
            for right in (False, True)
        )
        self.last = dense(self.out_channels, scale=0.0)

    @property
    def _widths(self) -> tuple[int, ...]:
        return tuple(self.channels * multiplier for multiplier in self.multipliers)

    def __call__(
        self,
        x: Float[Array, "batch rows columns in_channels"],
        time: Float[Array, " batch"],
        condition: Condition,
        dropout_keys: Key[Array, " batch"] | None,
    ) -> Float[Array, "batch rows columns out_channels"]:
        """The output at every site. `time` makes no difference: all that is known of x is what stands before a site."""
        rows, columns = jnp.arange(-2, x.shape[1]), jnp.arange(-1, x.shape[2] + 1)
        told = self._told(condition)
        h = self.first_down(_neighbours(x, rows[:-1], columns, ABOVE))
        _, shown, _ = self.down(h, None, told, dropout_keys)
        h = self.first_right(_neighbours(x, rows[1:], columns, ABOVE_AND_LEFT))
        h, _, _ = self.right(h, shown, told, dropout_keys)
        return self._raw(h)

    def start_cache(
        self, shape: tuple[int, ...], count: int, condition: Condition, groups: int | None = None
    ) -> dict[str, Any]:
        """See `Network.start`: the memories of both streams, and what the down stream shows of the present row.

        They are of a few rows, whatever the number of groups.
        """
        sizes = (self._widths, self.blocks, count, shape[1], checks.DTYPES[self.dtype])
        down, shown = _empty(False, *sizes)
        right, _ = _empty(True, *sizes)
        return {"down": down, "shown": shown, "right": right, "told": self._told(condition)}

    def _told(self, condition: Condition) -> Array | None:
        """What is told, for every block."""
        return None if self.conditioning is None else self.conditioning(condition, self.channels, scale=1.0).vector

    def advance(
        self,
        cache: dict[str, PyTree],
        x: Float[Array, "batch rows columns in_channels"],
        step: Int[Array, ""],
    ) -> tuple[Float[Array, "batch 1 out_channels"], dict[str, Any]]:
        """The output at site `step`, in row-major order. See `Network.advance`.

        Every layer is computed once at every site that it has: the down stream's row when the row begins, the right
        stream's site when it is reached, those of a lower resolution at the first of the sites they stand for.
        """
        step, told = jnp.asarray(step), cache["told"]
        row, column = step // x.shape[2], step % x.shape[2]

        def next_row(module: "PixelCNN", memory: PyTree) -> Any:
            everywhere = jnp.arange(-1, x.shape[2] + 1)
            h = module.first_down(_neighbours(x, row + jnp.arange(-2, 0), everywhere, ABOVE))
            _, shown, memory = module.down(h, None, told, None, memory, Place(row, jnp.zeros_like(row)))
            return memory, shown

        same = lambda _, memory: (memory, cache["shown"])  # noqa: E731
        down, shown = nn.cond(column == 0, next_row, same, self, cache["down"])
        here = _neighbours(x, row + jnp.arange(-1, 1), column + jnp.arange(-1, 2), ABOVE_AND_LEFT)
        h, _, right = self.right(self.first_right(here), shown, told, None, cache["right"], Place(row, column))
        return self._raw(h)[:, 0], {"down": down, "shown": shown, "right": right, "told": told}

    def _raw(self, h: Array) -> Array:
        # The output is float32, and so is what makes it: bfloat16 would round it to three digits.
        return self.last(nn.elu(h.astype(jnp.float32)))


OPTIONS = checks.of_module(PixelCNN)
"""What a config may choose, with the defaults."""


def make(
    shape: tuple[int, ...],
    out_channels: int,
    conditioning: Conditioning | None = None,
    sites: Sites | None = None,
    **options: Any,
) -> Network:
    """A PixelCNN++ for inputs of shape `(rows, columns, channels)`. Raises UserError for options that do not fit.

    - channels: at full size.
    - blocks: residual blocks of each stream at each resolution, and as many on the way back (one more at all but the
      lowest).
    - multipliers: the channels at each resolution as multiples of that; each resolution is half the one before.
    - dropout: the probability of dropping a value in a residual block.
    - dtype: of the computation, "float32" or "bfloat16". Parameters and output are float32.
    - remat: keep the inputs of residual blocks only, and compute what is within them again in the backward pass: less
      memory, about a third more computation, the same numbers.
    - remat_keep: "inputs", as above, or "products": also what products (of matrices, convolutions) put out, so
      that only what is cheap is computed again.

    `sites` are the pixels in raster order, one at a time; None means the same. Inputs are read as real numbers, however
    many levels they have. `conditioning`: a dense layer of the vector is added in every block.
    """
    check(shape, conditioning, sites, **options)
    if out_channels < 1:
        raise ValueError(f"out_channels is {out_channels}; a network has at least one")
    if "dropout" in options:
        options["dropout"] = float(options["dropout"])  # 0 is as good as 0.0
    return Network(PixelCNN(out_channels, conditioning, **options), tuple(shape), what(conditioning), causal=True)


def check(
    shape: tuple[int, ...], conditioning: Conditioning | None = None, sites: Sites | None = None, **options: Any
) -> None:
    """Raises UserError, naming the key to change, unless `make` can make this network."""
    values, require = checks.chosen("the PixelCNN", OPTIONS, shape, options), checks.require
    space, channels, blocks, multipliers = shape[:-1], values["channels"], values["blocks"], values["multipliers"]
    image = "x".join(map(str, space))
    require(len(space) == 2, "name", f"a PixelCNN reads images with two spatial axes, not {image}")
    require(channels >= 1, "channels", f"{channels} is not a whole number of at least 1")
    require(blocks >= 1, "blocks", f"{blocks} is not a whole number of at least 1")
    require(len(multipliers) >= 1, "multipliers", "there must be at least one, such as (1, 1)")
    require(min(multipliers) >= 1, "multipliers", f"{multipliers} has one below 1")
    halved, most = len(multipliers) - 1, min((size & -size).bit_length() - 1 for size in space)
    require(
        halved <= most,
        "multipliers",
        f"an image of {image} can be halved {most} times, not {halved}; use at most {most + 1} multipliers",
    )
    if sites is None:
        return
    if sites.apart:
        raise UserError("config.process.sites: a PixelCNN puts out a pixel's channels together; use pixels")
    if sites.chunk != 1:
        raise UserError(f"config.process.chunk: a PixelCNN predicts one pixel at a time, not {sites.chunk}; use 1")
    if sites.order != tuple(range(space[0] * space[1])):
        raise UserError("config.process.order: a PixelCNN reads an image row by row only; use raster")
