"""The ordered process: hide sites one after another. Autoregression and masked diffusion differ in the order."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Key, PyTree, Shaped

from ddpm_jax.processes.orders import Order
from ddpm_jax.processes.process import Images, Keys, Times, Traits, expand, sum_sites
from ddpm_jax.schedules.keeping import Keep, keep_rate

MASK = -2.0
"""The value of a hidden site in x_t, outside [-1, 1]."""

SPACINGS = {"uniform": lambda u: u, "quadratic": lambda u: u**2}
"""Time grids that need no noise level."""


@dataclass(frozen=True, eq=False)
class Ordered:
    """x_t = x where z < keep(t), MASK elsewhere; z is each site's rank in the order, in [0, 1).

    >>> from ddpm_jax.processes import make_order
    >>> from ddpm_jax.schedules.keeping import linear
    >>> process = Ordered(make_order("raster", (4,)), linear)
    >>> z = process.noise(jax.random.key(0), (1, 4, 1))
    >>> process.corrupt(jnp.ones((1, 4, 1)), z, 0.5).ravel().tolist()  # MASK is -2
    [1.0, 1.0, -2.0, -2.0]

    In the random order all times of an image must be one; in the others they may differ from site to site.

    Attributes:
        order: the law of the ranks; it knows the image's space.
        keep: `t -> share kept`, 1 at t = 0 and 0 at t = 1.
        apart: whether a site is one value; else it is a pixel with its channels.
    """

    order: Order
    keep: Keep
    apart: bool = False
    kind: ClassVar[str] = "ordered"

    def traits(self) -> Traits:
        """Of the order."""
        independent = self.order.groups is None
        return Traits(self.kind, self.continuous, exchangeable=self.order.exchangeable, independent=independent)

    def grid(
        self, steps: int, spacing: str = "", t_min: float | None = None, discrete: int = 0, rho: float = 7.0
    ) -> np.ndarray:
        """Even in time by default. An order of G groups is walked at multiples of 1/G; 0 steps are one a group."""
        groups = self.order.groups
        count = steps or groups or self.order.count
        grid = SPACINGS[spacing or "uniform"](np.arange(count, -1, -1) / count)
        return np.round(grid * groups) / groups if groups else grid

    def init(self, key: Key[Array, ""]) -> PyTree:
        """No parameters."""
        return {}

    def bind(self, params: PyTree) -> "Ordered":
        """Itself."""
        return self

    @property
    def continuous(self) -> bool:
        """Whether the bound has a density in t: where sites have ranks of their own."""
        return self.order.groups is None

    def kept(self, t: Times, like: Images) -> Array:
        """keep(t), broadcastable to `like`."""
        return self.keep(expand(t, like))

    def visible(self, x_t: Images) -> Bool[Array, "batch *site"]:
        """Where x_t is not MASK."""
        return x_t > (MASK - 1) / 2

    def evidence(self, x_t: Images, t: Times, values: Float[Array, " levels"]) -> Float[Array, "batch *site levels"]:
        """log q(x_t | x) for each level that a value of x may have, up to a constant: 0 where it fits, else -inf."""
        near = jnp.abs(x_t[..., None] - values) < (values[1] - values[0]) / 2
        return jnp.where(~self.visible(x_t)[..., None] | near, 0.0, -jnp.inf)

    def hidden_share(self, x_t: Images) -> Float[Array, " batch"]:
        """The share of sites that are hidden."""
        return 1 - self.sites_of(self.visible(x_t)).mean(axis=1, dtype=x_t.dtype)

    def sites_of(self, images: Shaped[Array, "batch *site"]) -> Shaped[Array, "batch L"]:
        """`[batch, *space, channels] -> [batch, L]` of what is the same for all values of a site; `spread` undone."""
        return (images if self.apart else images[..., :1]).reshape(len(images), -1)

    def spread(self, sites: Shaped[Array, "batch L"], channels: int) -> Shaped[Array, "batch *site"]:
        """`[batch, L] -> [batch, *space, channels]`: what belongs to a site, at each of its values."""
        pixels = sites.reshape(len(sites), *self.order.space, self.order.channels)
        return jnp.broadcast_to(pixels, (*pixels.shape[:-1], channels))

    def noise(self, keys: Keys, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Images:
        """z: a draw of the ranks. Raises ValueError if the order is not one of images of this shape."""
        pixel = (shape[-1],) if self.apart else (1,)
        if (*shape[1:-1], *pixel) != (*self.order.space, self.order.channels):
            raise ValueError(
                f"images of shape {tuple(shape[1:])} do not fit an order over {self.order.space} with "
                f"{self.order.channels} sites a pixel"
            )
        return self.spread(self.order.ranks(keys, shape[0]), shape[-1]).astype(dtype)

    def corrupt(self, x: Images, z: Images, t: Times) -> Images:
        """x where z < keep(t), else MASK."""
        return jnp.where(z < self.kept(t, x), x, MASK)

    def prior(self, keys: Keys, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Images:
        """Everything hidden."""
        return jnp.full(shape, MASK, dtype)

    def reverse(self, keys: Keys, x_t: Images, x: Images, t: Times, s: Times, eta: float) -> Images:
        """Show the sites that are visible at s, given those at t: new ones from x, old ones as they are in x_t.

        Ranks are drawn given what is visible: see `Order.given`. With independent sites `eta` in [0, 1] hides some
        again, no more than the order's cap (`Independent.reveal`); elsewhere it is ignored.
        """
        before, now = self.visible(x_t), self._revealed(keys, x_t, t, s, eta)
        return jnp.where(now, jnp.where(before, x_t, x), MASK)

    def uses(self, keys: Keys, x_t: Images, t: Times, s: Times, eta: float) -> Bool[Array, "batch *site"]:
        """Those of the sites that are visible at s and not at t."""
        return self._revealed(keys, x_t, t, s, eta) & ~self.visible(x_t)

    def _revealed(self, keys: Keys, x_t: Images, t: Times, s: Times, eta: float) -> Bool[Array, "batch *site"]:
        """The sites that are visible at s."""
        kept, later = self._at_sites(t, x_t), self._at_sites(s, x_t)
        now = self.order.reveal(keys, self.sites_of(self.visible(x_t)), kept, later, eta)
        return self.spread(now, x_t.shape[-1])

    def forward(self, keys: Keys, x_s: Images, s: Times, t: Times) -> Images:
        """Hide those of the sites visible at s that are hidden at t, a draw given what is visible."""
        kept, later = self._at_sites(s, x_s), self._at_sites(t, x_s)
        still = self.order.hide(keys, self.sites_of(self.visible(x_s)), kept, later)
        return jnp.where(self.spread(still, x_s.shape[-1]), x_s, MASK)

    def elbo(self, posterior: Any, x: Images, z: Images, t: Times, s: Times) -> Float[Array, " batch"]:
        """The interval's term of the variational bound, in nats: -log p of the sites revealed in it, from x_t.

        These have keep(t) <= z < keep(s). Where the order is exchangeable any of the n_t hidden sites is as likely as
        any other to be among the n_t - n_s revealed, so the expectation over which is taken in closed form,
        (n_t - n_s)/n_t times the sum over all hidden sites (Hoogeboom et al. 2022). With independent sites n are
        expectations, and s = t gives the density in t, -keep'(t)/(1 - keep(t)) times that sum (Sahoo et al. 2024).
        Other orders have no density: NaN.
        """
        t, s = expand(t, x), expand(s, x)
        loss, kept, later = posterior.loss(x), self.keep(t), self.keep(s)
        hidden = z >= kept
        if not self.order.exchangeable:
            term = jnp.where(hidden & (z < later), loss, 0)
            return sum_sites(jnp.where(s < t, term, jnp.nan))
        # Shares of whole groups: keep itself would count the part of a group that the threshold lies in.
        now, then = self.order.share(kept), self.order.share(later)
        weight = jnp.where(now < 1, (then - now) / jnp.where(now < 1, 1 - now, 1), 0)
        density = -keep_rate(self.keep, t) / (1 - kept) if self.continuous else jnp.nan
        return sum_sites(jnp.where(s < t, weight, density) * jnp.where(hidden, loss, 0))

    def prior_loss(self, x: Images) -> Float[Array, " batch"]:
        """0: at t = 1 nothing is left."""
        return jnp.zeros(x.shape[0], x.dtype)

    def film(self, denoise: Any, film: PyTree, t: Times, s: Times, condition: PyTree) -> PyTree:
        """Hidden sites are grey; below them is the mean of what the network expects there, before any draw.

        In a fixed order only the next sites are learned, so the others stay grey. Without guidance and temperature.
        """

        def frame(inputs: tuple) -> tuple[Array, Array]:
            x_t, t, s = inputs
            visible, mean = self.visible(x_t), denoise(x_t, t, condition).mean
            if self.order.sequence is not None:
                ranks = self.noise(jax.random.key(0), x_t.shape)  # its order is not random
                mean = jnp.where(self.visible(self.corrupt(mean, ranks, s)), mean, 0)
            return jnp.where(visible, x_t, 0), jnp.where(visible, x_t, mean)

        return jax.lax.map(frame, (film[0], t, s))

    def _at_sites(self, t: Times, like: Images) -> Float[Array, "batch L"]:
        return self.sites_of(jnp.broadcast_to(self.kept(t, like), like.shape))
