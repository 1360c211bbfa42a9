"""Posteriors whose channels depend on one another: one channel after another, by the chain rule.

Given the channels before it, a channel is categorical. What is done to a categorical (temperature, guidance) is done to
each of these conditionals in turn, so it needs no closed form for all channels together. But it needs the probability
of every level, which takes far longer and more memory than the parameters that it comes from: so levels are laid out
for a few pixels at a time, and in a draw only for those that are wanted.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from ddpm_jax.denoisers.categorical import Categorical, by_rows, check_tempering
from ddpm_jax.denoisers.posteriors import Numbers, Wanted, Weight
from ddpm_jax.processes.process import Images, Keys

Pixels = Int[Array, "batch n"]  # their numbers in the image, row-major

AT_ONCE = 8
"""The pixels of an example whose levels are laid out at once."""


class Chained:
    """p(x) = product over the channels c of p(x_c | x_0 ... x_(c-1)) at each pixel; pixels are independent given x_t.

    A subclass supplies `shape`, `given`, `rows` and `at`. All else follows from `given`.
    """

    variance = None  # a Gaussian bound's steps take it as a point: its mean

    @property
    def shape(self) -> tuple[int, ...]:
        """Of x: `(batch, *space, channels)`."""
        raise NotImplementedError

    def given(self, x: Images, channel: int) -> Categorical:
        """One channel at each pixel, `[batch, *space]`, given the channels before it in x, which lie on levels."""
        raise NotImplementedError

    @property
    def mean(self) -> Images:
        """The mean of each channel, where those before it are at the levels nearest to their means.

        Exact for the first channel; for the others the mean over the channels before would take levels^c terms.
        """
        x, means = jnp.zeros(self.shape, jnp.float32), []
        for channel in range(self.shape[-1]):
            posterior = self.given(x, channel)
            means.append(posterior.mean)
            x = x.at[..., channel].set(nearest(posterior.mean, posterior.values))
        return jnp.stack(means, axis=-1)

    def sample(self, keys: Keys, numbers: Numbers | None = None, where: Wanted | None = None) -> Images:
        """A draw: each channel given those drawn before it. `numbers` as for a categorical.

        `AT_ONCE` pixels of each example are drawn at a time, until all are that are wanted, a pixel with its channels.
        Of the others some are drawn too, and the rest are 0.
        """
        batch, *space, channels = self.shape
        numbers, count = by_rows(numbers, self.shape[1:]), math.prod(space)
        if count <= AT_ONCE:
            return self._drawn(keys, numbers)
        numbers = jnp.broadcast_to(numbers, self.shape).reshape(batch, count, channels)
        wanted = jnp.ones((batch, count), bool) if where is None else where.reshape(batch, count, -1).any(axis=-1)
        most = count if where is None else wanted.sum(axis=1).max()
        sequence = jnp.argsort(~wanted, axis=1, stable=True)  # the wanted first

        def draw(i: Int[Array, ""], x: Array) -> Array:
            # The last ones' start is moved back to where as many are left: drawn again, they come out as before.
            pixels = jax.lax.dynamic_slice_in_dim(sequence, i * AT_ONCE, AT_ONCE, axis=1)
            drawn = self.at(pixels)._drawn(keys, picked(numbers, pixels))
            return jax.vmap(lambda row, places, values: row.at[places].set(values))(x, pixels, drawn)

        x = jax.lax.fori_loop(0, -(-most // AT_ONCE), draw, jnp.zeros((batch, count, channels), jnp.float32))
        return x.reshape(self.shape)

    def _drawn(self, keys: Keys, numbers: Int[Array, "rows *site"]) -> Images:
        x = jnp.zeros(self.shape, jnp.float32)
        for channel in range(self.shape[-1]):
            x = x.at[..., channel].set(self.given(x, channel).sample(keys, numbers[..., channel]))
        return x

    def final(self, keys: Keys, where: Wanted | None = None) -> Images:
        """What to end a chain with: a draw, so that it ends on a level."""
        return self.sample(keys, where=where)

    def squared_error(self, x: Images, z: Images) -> Images:
        """(x - mean)^2 at each site."""
        return jnp.square(x - self.mean)

    def loss(self, x: Images) -> Images:
        """-log p(x_c | x_0 ... x_(c-1)) in nats for each value; the sum over a pixel is that of all its channels."""
        terms = [self.given(x, channel).loss(x[..., channel]) for channel in range(self.shape[-1])]
        return jnp.stack(terms, axis=-1)

    def discretise(self, values: Float[Array, " levels"], variance: Array) -> "Chained":
        """Itself: it is over the levels already."""
        return self

    def rows(self, part: slice) -> Any:
        """Some of the batch."""
        raise NotImplementedError

    def at(self, pixels: Pixels) -> Any:
        """Some pixels of each example, over `[batch, n, channels]`."""
        raise NotImplementedError

    def guide(self, unconditional: "Chained", weight: Weight, base: "Chained | None" = None) -> "Each":
        """Each channel's conditional proportional to p_u^(1 - w) p_c^w, given the channels before it.

        With a base to base (p_c / p_u)^w.
        """
        posteriors = (self, unconditional) if base is None else (self, unconditional, base)
        return Each(posteriors, Guidance(weight))

    def tempered(self, temperature: float = 1.0, top_k: int = 0, nucleus: float = 1.0) -> "Each":
        """Each channel's conditional tempered as a categorical is, given the channels before it.

        Temperature is not that of all channels together: p^(1/T) of a product is not the product of normalised ones.

        Raises:
            ValueError: temperature <= 0, top_k < 0 or a nucleus outside (0, 1].
        """
        check_tempering(temperature, top_k, nucleus)
        return Each((self,), Tempering(temperature, top_k, nucleus))


def picked(array: Shaped[Array, "batch count ..."], pixels: Pixels) -> Shaped[Array, "batch n ..."]:
    """Of each example the entries at its own pixels."""
    return jax.vmap(lambda row, places: row[places])(array, pixels)


def nearest(x: Array, values: Float[Array, " levels"]) -> Array:
    """The nearest of evenly spaced values, of two as near the even one's."""
    spacing = values[1] - values[0]
    return values[jnp.clip(jnp.round((x - values[0]) / spacing), 0, len(values) - 1).astype(jnp.int32)]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Guidance:
    """Of a conditional and an unconditional distribution over levels: see `Categorical.guide`."""

    weight: Weight

    def __call__(
        self, conditional: Categorical, unconditional: Categorical, base: Categorical | None = None
    ) -> Categorical:
        """Proportional to p_u^(1 - w) p_c^w, or with a base to base (p_c / p_u)^w."""
        return conditional.guide(unconditional, self.weight, base)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Tempering:
    """See `Categorical.tempered`."""

    temperature: float = field(metadata={"static": True})
    top_k: int = field(metadata={"static": True})
    nucleus: float = field(metadata={"static": True})

    def __call__(self, posterior: Categorical) -> Categorical:
        """The tempered distribution."""
        return posterior.tempered(self.temperature, self.top_k, self.nucleus)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Each(Chained):
    """What a rule makes of the conditionals of one posterior, or of several, at each channel in turn."""

    posteriors: tuple[Chained, ...]
    rule: Guidance | Tempering

    @property
    def shape(self) -> tuple[int, ...]:
        """Of x."""
        return self.posteriors[0].shape

    def given(self, x: Images, channel: int) -> Categorical:
        """One channel given the channels before it in x."""
        return self.rule(*(posterior.given(x, channel) for posterior in self.posteriors))

    def rows(self, part: slice) -> "Each":
        """Some of the batch."""
        rule = jax.tree.map(lambda leaf: leaf[part] if jnp.ndim(leaf) else leaf, self.rule)  # a weight an example
        return Each(tuple(posterior.rows(part) for posterior in self.posteriors), rule)

    def at(self, pixels: Pixels) -> "Each":
        """Some pixels of each example."""
        return Each(tuple(posterior.at(pixels) for posterior in self.posteriors), self.rule)
