"""Posteriors: what a denoiser says about the clean image. What all of them answer, and the normal ones."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, Bool, Float, Int, PyTree

from ddpm_jax import keys as random
from ddpm_jax.processes.process import Images, Keys, Times, expand

Weight = Float[Array, "*batch"] | float  # one for all, or one an example
Numbers = Int[Array, "..."]  # of values in their image: `[*site]` for all examples alike, or `[batch, *site]`
Wanted = Bool[Array, "batch *site"]  # the values of a draw that are looked at


@runtime_checkable
class Posterior(Protocol):
    """A distribution over x given x_t. Those of networks are independent from pixel to pixel given x_t.

    Those known in closed form (`oracles`) answer what samplers ask, and not `rows`, `guide` and `tempered`.
    """

    @property
    def mean(self) -> Images:
        """E[x | x_t] at each site."""
        ...

    @property
    def variance(self) -> Array | None:
        """At each site; None: a Gaussian process takes the mean as a point."""
        ...

    def sample(self, keys: Keys, numbers: Numbers | None = None, where: Wanted | None = None) -> Images:
        """A draw; `numbers` are those of the values in their image, where these are a part of one.

        Where it is not wanted the draw may be any number, so that one that takes long need not be made.
        """
        ...

    def final(self, keys: Keys, where: Wanted | None = None) -> Images:
        """What to end a chain with; `where` as for a draw."""
        ...

    def squared_error(self, x: Images, z: Images) -> Images:
        """(x - mean)^2 at each site, given the z that removed the information."""
        ...

    def loss(self, x: Images) -> Images:
        """-log p(x) in nats at each site; of a point half the squared error."""
        ...

    def discretise(self, values: Float[Array, " levels"], variance: Array) -> Any:
        """Over the levels, with a `loss`; a point takes `variance`."""
        ...

    def rows(self, part: slice) -> "Posterior":
        """Some of the batch."""
        ...

    def guide(self, unconditional: Any, weight: Weight, base: Any = None) -> "Posterior":
        """Proportional to base (p_c / p_u)^w at each site; without a base p_u^(1 - w) p_c^w (Ho and Salimans 2022)."""
        ...

    def tempered(self, temperature: float = 1.0, top_k: int = 0, nucleus: float = 1.0) -> "Posterior":
        """Proportional to p^(1/temperature) at each site, cut to the likeliest levels."""
        ...


@runtime_checkable
class Denoiser(Protocol):
    """`(x_t, t, condition) -> Posterior`, for t > 0: all that losses, samplers and likelihoods ask of a network.

    One whose call is not one pass of a network has a `cost(t)` too: see the function `cost`.
    """

    def __call__(self, x_t: Images, t: Times, condition: PyTree = None) -> Any:
        """The posterior at x_t; `t` broadcasts to `[batch]`."""
        ...


def cost(denoise: Denoiser, t: Times | None = None) -> Any:
    """The network evaluations that a call takes for each image: one, unless the denoiser says otherwise.

    >>> cost(lambda x_t, t, condition=None: Normal(x_t), 0.5)
    1

    Args:
        denoise: of any kind.
        t: one time for all images, or an array of such times, for as many numbers; None: a time an image.
    """
    own = getattr(denoise, "cost", None)
    return 1 if own is None else own(t)


class Wrapper:
    """A denoiser made of another, `denoise`, which it calls once."""

    denoise: Denoiser

    def cost(self, t: Times | None = None) -> Any:
        """That of the denoiser inside."""
        return cost(self.denoise, t)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Output:
    """A network's raw output and what it stands for: it predicts p x + q z, and x - mean = scale (raw - p x - q z)."""

    raw: Images
    p: Array
    q: Array
    scale: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Normal:
    """A normal with this mean and variance at each site; without a variance, a point.

    Attributes:
        mean: `[batch, *site]`, in x's space.
        variance: broadcasts to `mean`, or None.
        output: where the mean came from, so that errors can be taken in the network's own space.
    """

    mean: Images
    variance: Array | None = None
    output: Output | None = None

    def sample(self, keys: Keys, numbers: Numbers | None = None, where: Wanted | None = None) -> Images:
        """A draw; the mean where there is no variance.

        Raises:
            ValueError: a variance and `numbers`: the noise is drawn for whole images only.
        """
        if self.variance is None:
            return self.mean
        if numbers is not None:
            raise ValueError("a normal with a variance is drawn for whole images, not for numbered values")
        return self.mean + jnp.sqrt(self.variance) * random.normal(keys, self.mean.shape, self.mean.dtype)

    def final(self, keys: Keys, where: Wanted | None = None) -> Images:
        """What to end a chain with: the mean, without the noise of a draw (Ho et al. 2020, section 3.3)."""
        return self.mean

    def squared_error(self, x: Images, z: Images) -> Images:
        """(x - mean)^2 at each site, given the z that removed the information.

        Near sigma = 0 the mean of an epsilon network is x_t minus very little, and x - mean cancels in float32. The
        same number from the network's own error, scale (raw - p x - q z), does not.
        """
        if self.output is None:
            return jnp.square(x - self.mean)
        target = self.output.p * x + self.output.q * z
        return jnp.square(self.output.scale * (self.output.raw - target))

    def with_fixed_mean(self) -> "Normal":
        """The same, with no gradient through the mean: for a loss that trains the variance only."""
        return Normal(jax.lax.stop_gradient(self.mean), self.variance, jax.lax.stop_gradient(self.output))

    def loss(self, x: Images) -> Images:
        """-log p(x) in nats at each site; for a point (x - mean)^2 / 2."""
        if self.variance is None:
            return jnp.square(x - self.mean) / 2
        return 0.5 * (jnp.square(x - self.mean) / self.variance + jnp.log(2 * jnp.pi * self.variance))

    def discretise(self, values: Float[Array, " levels"], variance: Array) -> "BinnedNormal":
        """The mass in the bin of each of `values`; a point takes `variance`."""
        return BinnedNormal(self.mean, variance if self.variance is None else self.variance, values)

    def rows(self, part: slice) -> "Normal":
        """Some of the batch."""
        return jax.tree.map(lambda leaf: leaf[part], self)

    def guide(self, unconditional: "Normal", weight: Weight, base: "Normal | None" = None) -> "Normal":
        """The normal proportional to base (p_c / p_u)^w where all have one variance: means are extrapolated.

        The base is p_u unless given. w = 1 is then the conditional model (Ho and Salimans 2022, eq. 6, with w = 1 +
        their w).
        """
        base = unconditional if base is None else base
        return Normal(extrapolated(base.mean, unconditional.mean, self.mean, weight), self.variance)

    def tempered(self, temperature: float = 1.0, top_k: int = 0, nucleus: float = 1.0) -> "Normal":
        """Proportional to p^(1/temperature): the variance is multiplied, and a point stays as it is.

        Raises:
            ValueError: temperature <= 0, or `top_k` or `nucleus` is set: a normal has no levels to choose from.
        """
        if not temperature > 0:
            raise ValueError(f"the temperature must be above 0, not {temperature}")
        if top_k or nucleus != 1:
            raise ValueError("top_k and nucleus need a posterior over levels, not a normal")
        variance = None if self.variance is None else temperature * self.variance
        return Normal(self.mean, variance, self.output)


def extrapolated(base: Array, weak: Array, strong: Array, weight: Weight) -> Array:
    """base + w (strong - weak), to the bit the base at w = 0 and where the two are equal.

    To the bit `strong` at w = 1 where the base is `weak`. What is -inf in `weak` is to be so in the others too.
    """
    weight = expand(weight, strong)
    moved = base + weight * (strong - weak)
    moved = jnp.where((weight == 0) | (strong == weak), base, moved)
    return jnp.where((weight == 1) & (base == weak), strong, moved)


@dataclass(frozen=True)
class BinnedNormal:
    """A normal's mass in bins around evenly spaced values; the outer two are open (Ho et al. 2020, eq. 13)."""

    mean: Images
    variance: Array
    values: Float[Array, " levels"]

    def loss(self, x: Images) -> Images:
        """-log of the mass in the bin of x, in nats at each site. x lies on `values`."""
        half = (self.values[1] - self.values[0]) / 2
        deviation = jnp.sqrt(self.variance)
        upper = jnp.where(x > self.values[-1] - half, jnp.inf, (x + half - self.mean) / deviation)
        lower = jnp.where(x < self.values[0] + half, -jnp.inf, (x - half - self.mean) / deviation)
        return -log_interval(lower, upper)


def log_interval(lower: Array, upper: Array) -> Array:
    """log(Phi(upper) - Phi(lower)) for lower < upper, right in both tails and with finite gradients.

    The interval is reflected into the left half line, where neither log cdf is rounded to zero. Gradients point the
    right way however far the tail, but in float32 they lose accuracy beyond some thousand deviations.
    """
    flip = lower > 0
    lower, upper = jnp.where(flip, -upper, lower), jnp.where(flip, -lower, upper)
    infinite = jnp.isneginf(lower)
    log_lower = norm.logcdf(jnp.where(infinite, upper - 1, lower))
    # log_cdf is -inf beyond some 1e19 deviations; the difference is then meaningless, and so is the model.
    difference = jnp.where(infinite, -jnp.inf, log_lower - norm.logcdf(upper))
    return norm.logcdf(upper) + jnp.log1p(-jnp.exp(jnp.minimum(difference, -1e-7)))
