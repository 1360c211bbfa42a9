"""A discretised mixture of logistics at each pixel, with coupled channels (Salimans et al. 2017, PixelCNN++)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ddpm_jax import keys as random
from ddpm_jax.denoisers.categorical import Categorical, by_rows
from ddpm_jax.denoisers.chained import Chained, Pixels, nearest, picked
from ddpm_jax.denoisers.posteriors import Numbers, Wanted
from ddpm_jax.processes.process import Images, Keys

LEAST_SCALE = math.exp(-7) * 255 / 2  # of a level: a log scale of -7 for 256 levels in [-1, 1], as in the paper's code
SMALL = 1e-3  # below it log(1 - exp(-d)) is log(d) - d/2 to float32


def numbers_a_pixel(channels: int, components: int) -> int:
    """How many numbers say a pixel: K (1 + 2 C + C (C - 1)/2)."""
    return components * (1 + 2 * channels + channels * (channels - 1) // 2)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LogisticMixture(Chained):
    """p(x) = sum_k pi_k prod_c P(x_c; mu_kc + sum_(i < c) a_kci x_i, s_kc) at each pixel.

    P(v; m, s) is the mass of the logistic with this mean and scale between half a level below v and half a level above;
    the bins of the first and the last level are open (Salimans et al. 2017, eq. 2 and 3). The channels of a component
    are coupled linearly through their true values (their section 2.2). All channels share the component.

    Attributes:
        logits: `[batch, *space, K]`, of the components, not normalised.
        means: `[batch, *space, C, K]`, before the coupling.
        log_scales: `[batch, *space, C, K]`.
        couplings: `[batch, *space, C (C - 1)/2, K]`, in (-1, 1): of channel c on channel i at c (c - 1)/2 + i.
        values: `[levels]`, evenly spaced, at least two.
    """

    logits: Float[Array, "batch *space K"]
    means: Float[Array, "batch *space C K"]
    log_scales: Float[Array, "batch *space C K"]
    couplings: Float[Array, "batch *space pairs K"]
    values: Float[Array, " levels"]

    @classmethod
    def of(
        cls, raw: Float[Array, "batch *space out"], channels: int, values: Float[Array, " levels"]
    ) -> "LogisticMixture":
        """The mixture that a network's `numbers_a_pixel(C, K)` numbers stand for.

        In turn, K of each: logits; a mean, then a log scale for each channel; couplings before their tanh. Scales are
        kept above about a tenth of a level, as in the paper's code.
        """
        pairs = channels * (channels - 1) // 2
        parts = raw.reshape(*raw.shape[:-1], 1 + 2 * channels + pairs, -1)
        logits, means, log_scales, couplings = jnp.split(parts, (1, 1 + channels, 1 + 2 * channels), axis=-2)
        least = jnp.log(LEAST_SCALE * (values[1] - values[0]))
        return cls(logits[..., 0, :], means, jnp.maximum(log_scales, least), jnp.tanh(couplings), values)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of x: `(batch, *space, channels)`."""
        return self.means.shape[:-1]

    def centre(self, x: Float[Array, "batch *space C"], channel: int) -> Float[Array, "batch *space K"]:
        """Each component's mean of one channel, given the channels before it in x (any numbers)."""
        first = channel * (channel - 1) // 2
        before = x[..., :channel, None] * self.couplings[..., first : first + channel, :]
        return self.means[..., channel, :] + before.sum(axis=-2)

    def _chain(self, x: Images, channels: int) -> tuple[Float[Array, "batch *space K"], list[Array]]:
        """log p(k | the first channels of x), and of each of these log p(x_c | x_0 ... x_(c-1)), `[batch, *space]`.

        The components' probabilities are normalised after each channel, so that no large numbers cancel.
        """
        weights, terms = jax.nn.log_softmax(self.logits), []
        for c in range(channels):
            mass = log_mass(x[..., c, None], self.centre(x, c), self.log_scales[..., c, :], self.values)
            terms.append(jax.nn.logsumexp(weights + mass, axis=-1))
            weights = weights + mass - terms[-1][..., None]
        return weights, terms

    def loss(self, x: Images) -> Images:
        """-log p(x_c | x_0 ... x_(c-1)) in nats for each value; the sum over a pixel is that of all its channels.

        x lies on `values`.
        """
        return -jnp.stack(self._chain(x, self.shape[-1])[1], axis=-1)

    def given(self, x: Images, channel: int) -> Categorical:
        """One channel, `[batch, *space]`, given the channels before it in x: exact."""
        weights = self._chain(x, channel)[0]
        logits = log_masses(weights, self.centre(x, channel), self.log_scales[..., channel, :], self.values)
        return Categorical(logits, self.values)

    @property
    def mean(self) -> Images:
        """The mixture's mean; a channel's coupling is taken at each component's means of the channels before.

        Exact for the first channel, and for the others but for the clipping to the range of the levels: without it the
        mean is linear in the channels before.
        """
        edges = (self.values[:-1] + self.values[1:]) / 2
        means = jnp.zeros((*self.shape, self.logits.shape[-1]), self.means.dtype)
        for c in range(self.shape[-1]):
            first = c * (c - 1) // 2
            centre = self.means[..., c, :] + (means[..., :c, :] * self.couplings[..., first : first + c, :]).sum(
                axis=-2
            )
            above = jax.nn.sigmoid((centre[..., None] - edges) * jnp.exp(-self.log_scales[..., c, :, None]))
            mean = self.values[0] + (self.values[1] - self.values[0]) * above.sum(axis=-1)
            means = means.at[..., c, :].set(mean)
        return (jax.nn.softmax(self.logits)[..., None, :] * means).sum(axis=-1)

    def sample(self, keys: Keys, numbers: Numbers | None = None, where: Wanted | None = None) -> Images:
        """A draw: a component for each pixel, then its channels in turn, each rounded to its level.

        `numbers` as for a categorical; a pixel's component goes by the number of its first value. All pixels are
        drawn, wanted or not, for no levels are laid out.
        """
        numbers = by_rows(numbers, self.shape[1:])
        keys_component, keys_value = random.split(keys)
        batch, count = self.logits.shape[0], self.logits.shape[-1]
        gumbel = random.gumbel_at(keys_component, batch, numbers[..., 0], count)
        component = jnp.argmax(self.logits + gumbel, axis=-1)[..., None]
        u = jnp.maximum(random.uniform_at(keys_value, batch, numbers), jnp.finfo(jnp.float32).tiny)
        noise = jnp.log(u) - jnp.log1p(-u)  # standard logistic
        x = jnp.zeros(self.shape, self.means.dtype)
        for c in range(self.shape[-1]):
            mean, log_scale = (
                jnp.take_along_axis(a, component, axis=-1)[..., 0]
                for a in (self.centre(x, c), self.log_scales[..., c, :])
            )
            x = x.at[..., c].set(nearest(mean + jnp.exp(log_scale) * noise[..., c], self.values))
        return x

    def rows(self, part: slice) -> "LogisticMixture":
        """Some of the batch."""
        return self._changed(lambda array: array[part])

    def at(self, pixels: Pixels) -> "LogisticMixture":
        """Some pixels of each example."""
        batch, *space, _ = self.shape
        first = (batch, math.prod(space))
        return self._changed(lambda array: picked(array.reshape(*first, *array.shape[1 + len(space) :]), pixels))

    def _changed(self, change: Callable[[Array], Array]) -> "LogisticMixture":
        arrays = (self.logits, self.means, self.log_scales, self.couplings)
        logits, means, log_scales, couplings = (change(array) for array in arrays)
        return LogisticMixture(logits, means, log_scales, couplings, self.values)


def log_mass(
    x: Float[Array, "..."], mean: Float[Array, "..."], log_scale: Float[Array, "..."], values: Float[Array, " levels"]
) -> Float[Array, "..."]:
    """log of a logistic's mass in the bin of x, of width one level; the outer two bins are open. Arguments broadcast.

    With b - a = d > 0, sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(-d)): no numbers cancel, so that
    neither far tails nor wide scales need an approximation.
    """
    spacing = values[1] - values[0]
    inverse = jnp.exp(-log_scale)
    below = jax.nn.log_sigmoid((x + spacing / 2 - mean) * inverse)
    above = jax.nn.log_sigmoid((mean - x + spacing / 2) * inverse)
    first, last = x < values[0] + spacing / 2, x > values[-1] - spacing / 2
    width = _log_width(log_scale, spacing)
    return jnp.where(last, 0, below) + jnp.where(first, 0, above) + jnp.where(first | last, 0, width)


def _log_width(log_scale: Array, spacing: Array) -> Array:
    """log(1 - exp(-d)) of a bin's width d in scales."""
    d = spacing * jnp.exp(-log_scale)
    return jnp.where(d > SMALL, jnp.log(-jnp.expm1(-jnp.maximum(d, SMALL))), jnp.log(spacing) - log_scale - d / 2)


def log_masses(
    weights: Float[Array, "*site K"],
    means: Float[Array, "*site K"],
    log_scales: Float[Array, "*site K"],
    values: Float[Array, " levels"],
) -> Float[Array, "*site levels"]:
    """log of a mixture's mass in the bin of every level: what `log_mass` says, by fewer logarithms.

    sigmoid(u) = exp(min(u, 0))/(1 + exp(-|u|)), so of a bin from a to b, in scales from the mean, a component's mass is
    exp(h)/r with r = (1 + exp(-|a|))(1 + exp(-|b|)) in [1, 4] and h = log weight + min(b, 0) + min(-a, 0) + log(1 -
    exp(-d)). The components are added in turn to exp(top) total, top the greatest h so far; one logarithm is taken.

    Args:
        weights: log weights of the components.
        means: of the components.
        log_scales: of the components.
        values: the levels.
    """
    spacing, place = values[1] - values[0], jnp.arange(len(values))
    first, last = place == 0, place == len(values) - 1

    def one(part: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        weight, mean, log_scale = part
        mean, inverse, inside = (a[..., None] for a in (mean, jnp.exp(-log_scale), _log_width(log_scale, spacing)))
        below = jnp.where(last, jnp.inf, (values + spacing / 2 - mean) * inverse)
        above = jnp.where(first, jnp.inf, (mean - values + spacing / 2) * inverse)
        h = weight[..., None] + jnp.minimum(below, 0) + jnp.minimum(above, 0) + jnp.where(first | last, 0, inside)
        return h, 1 / ((1 + jnp.exp(-jnp.abs(below))) * (1 + jnp.exp(-jnp.abs(above))))

    def add(carry: tuple[Array, Array], part: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], None]:
        (top, total), (h, share) = carry, one(part)
        less = jnp.exp(-jnp.abs(h - top))
        return (jnp.maximum(top, h), jnp.where(h > top, total * less + share, total + share * less)), None

    parts = jax.tree.map(lambda a: jnp.moveaxis(a, -1, 0), (weights, means, log_scales))
    start, rest = (jax.tree.map(lambda a, which=which: a[which], parts) for which in (0, slice(1, None)))
    (top, total), _ = jax.lax.scan(add, one(start), rest)
    return top + jnp.log(total)
