"""A categorical posterior: a probability for each level of each value, independent given x_t."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ddpm_jax import keys as random
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

    def sample(self, keys: Keys) -> Images:
        """A draw of each site's level."""
        return self.values[jnp.argmax(self.logits + random.gumbel(keys, self.logits.shape), axis=-1)]

    def final(self, keys: Keys) -> Images:
        """What to end a chain with: the mean."""
        return self.mean

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

    def guide(self, unconditional: "Categorical", weight: float) -> "Categorical":
        """Proportional to p_u^(1 - w) p_c^w at each site (Ho and Salimans 2022)."""
        return Categorical(unconditional.logits + weight * (self.logits - unconditional.logits), self.values)


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
