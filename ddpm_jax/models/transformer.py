"""Transformers over the sites of an image: one sees at each site those before it in an order, the other sees all.

The blocks are those of GPT-2 (Radford et al. 2019): layer norm first, attention, then an MLP. Both have learned
embeddings of the place along every axis, for any number of axes.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int, Key

from ddpm_jax.conditions import Condition
from ddpm_jax.models import alike, checks
from ddpm_jax.models.affine import Dense, LayerNorm
from ddpm_jax.models.blocks import Block
from ddpm_jax.models.conditioning import SEQUENCE, Conditioning, Context, CrossAttention, told
from ddpm_jax.models.layers import Dropout, dense, sinusoids
from ddpm_jax.models.network import Network
from ddpm_jax.models.remat import rematerialised
from ddpm_jax.models.sites import Sites

FREQUENCIES = 256
"""How many sines and cosines of the time the bidirectional network is given."""

Cache = dict[str, Any]
"""`blocks`: the keys and values of every block, [batch, heads, tokens, channels / heads]; `context`, and `read`: its
keys and values for every block."""


def neighbours(axes: tuple[int, ...], distance: int, group: np.ndarray | None) -> Int[np.ndarray, "sites neighbours"]:
    """The numbers of the sites up to `distance` places away along every axis; -1 where there is none.

    With the number of every site's `group`, only those of an earlier group than the site itself; directions in which
    no site has such a neighbour are left out.
    """
    count, size = math.prod(axes), np.array(axes)[:, None]
    own, columns = np.stack(np.unravel_index(np.arange(count), axes)), []
    for offset in itertools.product(range(-distance, distance + 1), repeat=len(axes)):
        other = own + np.array(offset)[:, None]
        number = np.ravel_multi_index(tuple(np.clip(other, 0, size - 1)), axes)
        there = ((other >= 0) & (other < size)).all(0)
        there &= any(offset) if group is None else group[number] < group
        if there.any():
            columns.append(np.where(there, number, -1))
    return np.stack(columns or [np.full(count, -1)], axis=-1)


class Transformer(nn.Module):
    """Both networks. See `Variant.make` for the options."""

    out_channels: int
    shape: tuple[int, ...]
    conditioning: Conditioning | None = None
    sites: Sites | None = None
    causal: bool = False
    channels: int = 256
    depth: int = 8
    heads: int = 8
    context: int = 2
    dropout: float = 0.0
    dtype: str = "float32"
    remat: bool = False
    remat_keep: str = "inputs"
    attention: str = "xla"

    @property
    def looped(self) -> tuple[str, ...]:
        """See `Network.looped`."""
        return ("block", "cross") if self.depth >= alike.LEAST else ()

    def setup(self):
        dtype, small = checks.DTYPES[self.dtype], nn.initializers.normal(0.02)
        block = rematerialised(Block, self.remat, self.remat_keep, static_argnums=(2,))
        self.blocks = [
            block(self.channels, self.heads, self.dropout, dtype, self.attention == "fused", name=f"block_{i}")
            for i in range(self.depth)
        ]
        self.first = Dense(self.channels, kernel_init=small)
        if self.context:
            self.near = Dense(self.channels, use_bias=False, kernel_init=small)
        if self.sites is not None and self.sites.levels:
            self.level = nn.Embed(self._values * self.sites.levels, self.channels, embedding_init=small)
        self.target = [self.param(f"target_{i}", small, (size, self.channels)) for i, size in enumerate(self.axes)]
        if self.causal:
            self.content = [self.param(f"content_{i}", small, (n, self.channels)) for i, n in enumerate(self.axes)]
            self.start = self.param("start", small, (self.channels,))
        else:
            self.time_1, self.time_2 = (Dense(self.channels, kernel_init=small) for _ in range(2))
            if self.sites is not None:
                self.hidden = self.param("hidden", small, (self._values, self.channels))
        if self.conditioning is not None and SEQUENCE in self.conditioning.parts:
            self.reads = [
                CrossAttention(self.channels, self.heads, dtype, name=f"cross_{i}") for i in range(self.depth)
            ]
        self.embedding_dropout = Dropout(self.dropout)
        self.last_norm = LayerNorm()
        self.last = dense(self.out_channels // self.parts, scale=0.0)

    def __call__(
        self,
        x: Float[Array, "batch *space in_channels"],
        time: Float[Array, " batch"],
        condition: Condition,
        dropout_keys: Key[Array, " batch"] | None,
    ) -> Float[Array, "batch *space out_channels"]:
        context = self._context(condition)
        if self.causal:
            chunk = self._sites.chunk
            h = self._tokens(x, np.arange(self._sites.groups * chunk), context)
        else:
            h, chunk = self._everything(x, time, context), 0
        h = self.embedding_dropout(h, dropout_keys).astype(checks.DTYPES[self.dtype])
        if self.looped and not self.is_initializing():
            fused, dtype = self.attention == "fused", checks.DTYPES[self.dtype]
            one = Block(self.channels, self.heads, self.dropout, dtype, fused, parent=None)
            kinds: dict[str, alike.Apply] = {
                "block": lambda p, h, numbers: one.apply({"params": p}, h, chunk, dropout_keys, numbers)
            }
            if context.sequence is not None:
                reads = self.reads[0].clone(parent=None, name=None)
                kinds["cross"] = lambda p, h, _: reads.apply({"params": p}, h, context.sequence, context.mask)
            keep = self.remat_keep if self.remat else None
            h = alike.looped(self.variables["params"], kinds, self.depth, ("dropout_1", "dropout_2"), h, keep)
        else:
            for i, block in enumerate(self.blocks):
                h = block(h, chunk, dropout_keys)
                if context.sequence is not None:
                    h = self.reads[i](h, context.sequence, context.mask)
        if self.causal:
            h = h[:, np.argsort(self._sites.order)]
        return self._out(h).reshape(*x.shape[:-1], self.out_channels)

    def start_cache(self, shape: tuple[int, ...], count: int, condition: Condition, groups: int | None = None) -> Cache:
        """Empty keys and values for `count` images, and what is read of their conditions. See `Network.start`."""
        tokens, context = (groups or self._sites.groups) * self._sites.chunk, self._context(condition)
        empty = jnp.zeros((count, self.heads, tokens, self.channels // self.heads), checks.DTYPES[self.dtype])
        read = () if context.sequence is None else tuple(one.remember(context.sequence) for one in self.reads)
        return {"blocks": ((empty, empty),) * self.depth, "context": context, "read": read}

    def advance(
        self,
        cache: Cache,
        x: Float[Array, "batch *space channels"],
        step: Int[Array, ""],
    ) -> tuple[Float[Array, "batch chunk out"], Cache]:
        """The output at the sites of group `step`. See `Network.advance`."""
        chunk, context = self._sites.chunk, cache["context"]
        h = self._tokens(x, step * chunk + jnp.arange(chunk), context).astype(checks.DTYPES[self.dtype])
        kept = []
        for i, (block, before) in enumerate(zip(self.blocks, cache["blocks"], strict=True)):
            h, after = block.advance(h, before, step)
            kept.append(after)
            if cache["read"]:
                h = self.reads[i].read(h, cache["read"][i], context.mask)
        return self._out(h), {**cache, "blocks": tuple(kept)}

    def _context(self, condition: Condition) -> Context:
        """What is told; pictures are resized to the image."""
        if self.conditioning is None:
            return Context()
        return self.conditioning(condition, self.channels, self.shape[:-1])

    # What follows is written for the causal network's tokens and for all sites alike.

    @property
    def _sites(self) -> Sites:
        assert self.sites is not None
        return self.sites

    @property
    def _image_channels(self) -> int:
        """The channels of the image; a bidirectional network with sites is given as many again, the visibility."""
        return self.shape[-1] if self.causal or self.sites is None else self.shape[-1] // 2

    @property
    def parts(self) -> int:
        """Sites a pixel."""
        return self._image_channels if self.sites is not None and self.sites.apart else 1

    @property
    def _values(self) -> int:
        """Values a site."""
        return self._image_channels // self.parts

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes along which sites are numbered."""
        return (*self.shape[:-1], self.parts) if self.parts > 1 else self.shape[:-1]

    def _padded_order(self) -> np.ndarray:
        """The order, its last site repeated until the last group is whole."""
        order, whole = self._sites.order, self._sites.groups * self._sites.chunk
        return np.asarray((*order, *(whole - len(order)) * order[-1:]))

    def _tokens(self, x: Array, places: Array | np.ndarray, context: Context) -> Array:
        """The embeddings of the causal network's tokens at these places of the (padded) order.

        Token k is to predict site order[k]. It holds the content of the site `chunk` places before, so that the tokens
        of its group and of those before hold all sites of the groups before, each once, and no other.
        """
        order, chunk = self._padded_order(), self._sites.chunk
        before = jnp.asarray(np.concatenate([order[:chunk], order[:-chunk]]))[places]
        values, now = x.reshape(x.shape[0], -1, self._values), jnp.asarray(order)[places]
        content = self._content(values[:, before]) + self._position(self.content, before)
        h = jnp.where((jnp.asarray(places) < chunk)[:, None], self.start, content)
        h += self._position(self.target, now)
        if self.context:
            group = np.empty(len(self._sites.order), int)
            group[list(self._sites.order)] = np.arange(len(group)) // chunk
            h += self._near(jnp.concatenate([values, jnp.ones_like(values[..., :1])], -1), now, group)
        return h if context.vector is None else h + context.vector[:, None]

    def _everything(self, x: Array, time: Array, context: Context) -> Array:
        """The embeddings of all sites."""
        numbers = np.arange(math.prod(self.axes))
        if self.sites is None:
            values = x.reshape(x.shape[0], -1, self._values)
            h, seen = self.first(values), jnp.concatenate([values, jnp.ones_like(values[..., :1])], -1)
        else:
            values, visible = jnp.split(x, 2, axis=-1)
            values, visible = (a.reshape(a.shape[0], -1, self._values) for a in (values, visible))
            h = self._content(values, visible) + (1 - visible) @ self.hidden
            seen = jnp.concatenate([values * visible, visible], -1)
        h += self._position(self.target, numbers)
        if self.context:
            h += self._near(seen, jnp.asarray(numbers))
        embedding = sinusoids(time, FREQUENCIES, FREQUENCIES // 2)
        embedding = self.time_2(nn.swish(self.time_1(embedding)))
        if context.vector is not None:
            embedding += context.vector
        return h + embedding[:, None]

    def _content(self, values: Array, visible: Array | None = None) -> Array:
        """An embedding of what sites hold, [batch, sites, values]: linear in the values, and for each its level's."""
        weight = jnp.ones_like(values) if visible is None else visible
        h = self.first(values * weight)
        count = self._sites.levels
        if count:
            level = jnp.clip(jnp.round((values + 1) / 2 * (count - 1)), 0, count - 1).astype(jnp.int32)
            embedded = self.level(level + count * np.arange(self._values))
            h += (embedded * weight[..., None]).sum(-2)
        return h

    def _near(self, content: Array, sites: Array, group: np.ndarray | None = None) -> Array:
        """Linear in the content [batch, sites, numbers] of the neighbours of these sites, [batch, *sites, channels].

        Neighbours are up to `context` places away along every axis; those outside the image hold zeros, and with
        groups so do those that are not of an earlier group.
        """
        count = content.shape[1]
        padded = jnp.pad(content, ((0, 0), (0, 1), (0, 0)))
        known = jnp.asarray(neighbours(self.axes, self.context, group))[sites]
        near = padded[:, jnp.where(known < 0, count, known)]
        return self.near(near.reshape(content.shape[0], len(sites), -1))

    def _position(self, tables: Sequence[Array], numbers: Array | np.ndarray) -> Array:
        """The sum of the tables' rows for sites of these numbers."""
        coordinates = jnp.unravel_index(jnp.asarray(numbers), self.axes)
        return sum((table[i] for table, i in zip(tables, coordinates, strict=True)), jnp.zeros(()))

    def _out(self, h: Array) -> Array:
        # The output is float32, and so is what makes it: bfloat16 would round it to three digits.
        return self.last(self.last_norm(h.astype(jnp.float32)))


@dataclass(frozen=True)
class Variant:
    """One of the two networks, as the table of networks wants it: OPTIONS, check and make."""

    title: str
    module: partial[Transformer]

    @property
    def OPTIONS(self) -> dict[str, Any]:
        """What a config may choose, with the defaults."""
        return checks.of_module(Transformer)

    @property
    def _causal(self) -> bool:
        return self.module.keywords["causal"]

    def make(
        self,
        shape: tuple[int, ...],
        out_channels: int,
        conditioning: Conditioning | None = None,
        sites: Sites | None = None,
        **options: Any,
    ) -> Network:
        """This network for inputs of shape `(*space, channels)`. Raises UserError for options that do not fit.

        - channels: of every token.
        - depth: blocks.
        - heads: of every attention; each has channels / heads of its channels.
        - context: a token is also given the values within so many places along every axis, as far as they are known;
          a layer of a few thousand parameters, with which a small network learns much faster. 0: attention alone.
        - dropout: the probability of dropping a value of the embedding, and of what attention or an MLP adds.
        - dtype: of the computation, "float32" or "bfloat16". Parameters and output are float32.
        - remat: keep the inputs of the blocks only, and compute what is within them again in the backward pass: less
          memory, about a third more computation, the same numbers.
        - remat_keep: "inputs", as above, or "products": also what products (of matrices, convolutions) put out, so
          that only what is cheap is computed again.
        - attention: "xla", or "fused": in training without all weights in memory (`efficient_attention`).

        The causal network takes images, needs `sites`, and does not read the time. Attention costs tokens squared, and
        there is a token for each site. The other network reads `sites` apart from their order and chunk: it takes the
        values and then, in as many channels, whether they are visible (1 or 0); without sites it takes any real inputs,
        a token a pixel. `conditioning`: a vector is added to every token, a sequence is read after every block. A fresh
        network answers nearly 0 everywhere.
        """
        self.check(shape, conditioning=conditioning, sites=sites, **options)
        module = self.module(out_channels, tuple(shape), conditioning, sites, **options)
        if "dropout" in options:
            module = module.clone(dropout=float(options["dropout"]))  # 0 is as good as 0.0
        if out_channels < 1 or out_channels % module.parts:
            raise ValueError(f"out_channels is {out_channels}; it must be a multiple of {module.parts}")
        return Network(module, tuple(shape), told(conditioning), self._causal)

    def check(
        self,
        shape: tuple[int, ...],
        conditioning: Conditioning | None = None,
        sites: Sites | None = None,
        **options: Any,
    ) -> None:
        """Raises UserError, naming the key of `config.model` to change, unless `make` can make this network.

        ValueError: sites that are not those of the shape, or none for the causal network; no option can mend these.
        """
        values, require = checks.chosen(self.title, self.OPTIONS, shape, options), checks.require
        for name in ("channels", "depth", "heads"):
            require(values[name] >= 1, name, f"{values[name]} is not a whole number of at least 1")
        channels, heads, context = values["channels"], values["heads"], values["context"]
        require(context >= 0, "context", f"{context} is not a whole number of at least 0")
        require(channels % heads == 0, "heads", f"{channels} channels cannot be split into {heads} heads")
        if sites is None:
            if self._causal:
                raise ValueError("a causal network needs the order of the sites")
            return
        if not self._causal and shape[-1] % 2:
            raise ValueError(f"shape is {shape}; half of its channels are values, half their visibility")
        count = math.prod(self.module(1, tuple(shape), None, sites).axes)
        if sorted(sites.order) != list(range(count)):
            raise ValueError(f"the order of the sites must have each site once, 0 to {count - 1}")
        if not 1 <= sites.chunk <= count:
            raise ValueError(f"the chunk is {sites.chunk}; it must be 1 to {count} sites")


CAUSAL = Variant("the causal transformer", partial(Transformer, causal=True))
"""The answer at a site depends on the groups of sites before its own in the order only."""

BIDIRECTIONAL = Variant("the transformer", partial(Transformer, causal=False))
"""The answer at a site depends on all sites that are visible."""
