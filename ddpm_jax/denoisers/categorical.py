"""A categorical posterior: a probability for each level of each value, independent given x_t."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddpm_jax import keys as random
from ddpm_jax.denoisers.posteriors import Numbers, Wanted, Weight, extrapolated
from ddpm_jax.processes.process import Images, Keys


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Categorical:
    """Levels with these logits at each site.

    Attributes:
        logits: `[batch, *site, levels]`, not normalised.
        values: `[levels]`, what each level is in x.
    """

    logits: Float[Array, "batch *site levels"]
    values: Float[Array, " levels"]
    variance = None  # a Gaussian bound's steps take it as a point: its mean

    @property
    def mean(self) -> Images:
        """E[x | x_t] at each site."""
        return jax.nn.softmax(self.logits) @ self.values

    def sample(self, keys: Keys, numbers: Numbers | None = None, where: Wanted | None = None) -> Images:
        """A draw of each value's level, by the Gumbel-max trick: also where it is not wanted, for that costs little.

        `numbers` are the numbers of the values in their image, `[*site]`, or `[batch, *site]` where those of each
        example are its own; left out, the site axes are a whole image. A value's draw depends on its example's key and
        its number alone.
        """
        batch, *site, count = self.logits.shape
        numbers = by_rows(numbers, site)
        return self.values[jnp.argmax(self.logits + random.gumbel_at(keys, batch, numbers, count), axis=-1)]

    def final(self, keys: Keys, where: Wanted | None = None) -> Images:
        """What to end a chain with: a draw, so that it ends on a level."""
        return self.sample(keys, where=where)

    def squared_error(self, x: Images, z: Images) -> Images:
        """(x - E[x | x_t])^2 at each site."""
        return jnp.square(x - self.mean)

    def loss(self, x: Images) -> Images:
        """-log p(x) in nats at each site; x lies on `values`."""
        level = jnp.argmin(jnp.abs(x[..., None] - self.values), axis=-1)
        return -jnp.take_along_axis(jax.nn.log_softmax(self.logits), level[..., None], axis=-1)[..., 0]

    def discretise(self, values: Float[Array, " levels"], variance: Array) -> "Categorical":
        """Itself: it is over the levels already."""
        return self

    def rows(self, part: slice) -> "Categorical":
        """Some of the batch."""
        return Categorical(self.logits[part], self.values)

    def guide(self, unconditional: "Categorical", weight: Weight, base: "Categorical | None" = None) -> "Categorical":
        """Proportional to base (p_c / p_u)^w at each site; without a base p_u^(1 - w) p_c^w (Ho and Salimans 2022)."""
        base = unconditional if base is None else base
        return Categorical(extrapolated(base.logits, unconditional.logits, self.logits, weight), self.values)

    def tempered(self, temperature: float = 1.0, top_k: int = 0, nucleus: float = 1.0) -> "Categorical":
        """Proportional to p^(1/temperature) at each site, then the likeliest levels only, renormalised.

        First the `top_k` likeliest (0: all), then of these the smallest set whose probability reaches `nucleus`, which
        always has one level at least (Holtzman et al. 2020, eq. 2). The others get the logit -inf. Of equally likely
        levels the lower comes first.

        Raises:
            ValueError: temperature <= 0, top_k < 0 or a nucleus outside (0, 1].
        """
        check_tempering(temperature, top_k, nucleus)
        logits = self.logits / temperature
        if top_k or nucleus < 1:
            falling = jnp.argsort(-logits, axis=-1)
            rank = jnp.argsort(falling, axis=-1)
            if top_k:
                logits = jnp.where(rank < top_k, logits, -jnp.inf)
            if nucleus < 1:
                chances = jnp.take_along_axis(jax.nn.softmax(logits), falling, axis=-1)
                before = jnp.cumsum(chances, axis=-1) - chances
                needed = (before < nucleus).sum(axis=-1, keepdims=True)
                logits = jnp.where(rank < jnp.maximum(needed, 1), logits, -jnp.inf)
        return Categorical(logits, self.values)


def by_rows(numbers: Numbers | None, site: Sequence[int]) -> Int[Array, "rows *site"]:
    """The numbers with a row an example, or one row for all; None: a whole image's, 0 ... D - 1 in row-major order."""
    numbers = jnp.arange(math.prod(site)).reshape(tuple(site)) if numbers is None else numbers
    return numbers if numbers.ndim > len(site) else numbers[None]


def check_tempering(temperature: float, top_k: int, nucleus: float) -> None:
    """Raises ValueError unless there is such a tempering."""
    if not temperature > 0:
        raise ValueError(f"the temperature must be above 0, not {temperature}; for the likeliest level take top_k = 1")
    if top_k < 0:
        raise ValueError(f"top_k must be 0 (all levels) or more, not {top_k}")
    if not 0 < nucleus <= 1:
        raise ValueError(f"the nucleus must be above 0 and at most 1, not {nucleus}")


def level_logits(
    raw: Float[Array, "batch *space out"],
    x_t: Float[Array, "batch *space channels"],
    alpha: Array,
    sigma: Array,
    values: Float[Array, " levels"],
) -> Float[Array, "batch *space channels levels"]:
    """log p(level | x_t) up to a constant: the network's logits, plus log q(x_t | level) at the site itself.

    The noise of a site is independent of the others', so Bayes' rule splits the posterior into what the site's own x_t
    says, which is known, -(x_t - alpha v)^2 / (2 sigma^2), and what the rest of the image says, which is left to the
    network. Where there is little noise the first settles the level, whatever the network says; with no network it is
    the decoder of Kingma et al. 2021 (their section 3.4).
    """
    raw = raw.reshape(*x_t.shape, values.shape[0])
    # (x_t - alpha v)^2 less x_t^2, which is the same for every level: no large numbers cancel.
    distance = jnp.square(alpha)[..., None] * jnp.square(values) - 2 * (alpha * x_t)[..., None] * values
    return raw - distance / (2 * jnp.square(sigma)[..., None])
