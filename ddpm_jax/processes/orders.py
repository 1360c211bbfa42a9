"""Orders: the sequence in which the sites of an image are revealed, one chunk after another.

A site is what is hidden or revealed as one: a pixel with all its channels or, with channels apart, a value. Sites are
numbered 0 ... L - 1 in row-major order, channels last. The order gives every site a rank in [0, 1); at time t those
with rank < keep(t) are visible. L sites in chunks of c make G = ceil(L/c) groups, and the sites of group g have the
mid-rank (g + 1/2)/G: a threshold i/G, with whatever float32 makes of it, lies half a group away from any rank.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ddpm_jax import keys as random
from ddpm_jax import plugins
from ddpm_jax.processes.process import Keys

Ranks = Float[Array, "batch L"]
Visible = Bool[Array, "batch L"]
Share = Float[Array, "..."]  # a share kept, broadcastable to [batch, L] where ranks are

BELOW_ONE = float(np.nextafter(np.float32(1), np.float32(0)))


@dataclass(frozen=True, eq=False)
class Order(ABC):
    """A law of the ranks.

    Attributes:
        space: sizes of the spatial axes.
        channels: how many sites a pixel has: 1 where its channels go together.
        chunk: c, the sites revealed at once.
    """

    space: tuple[int, ...]
    channels: int = 1
    chunk: int = 1

    @property
    def count(self) -> int:
        """L, how many sites there are."""
        return prod(self.space) * self.channels

    @property
    def groups(self) -> int | None:
        """G, how many chunks; None where sites have no common ranks."""
        return -(-self.count // self.chunk)

    @property
    def exchangeable(self) -> bool:
        """Whether the law of the ranks is the same for any renumbering of the sites."""
        return False

    @property
    def sequence(self) -> np.ndarray | None:
        """`[L]`, the site numbers in the order they are revealed; None where that is random."""
        return None

    @abstractmethod
    def ranks(self, keys: Keys, batch: int) -> Ranks:
        """A draw of every site's rank."""

    @abstractmethod
    def given(self, keys: Keys, visible: Visible, kept: Share) -> Ranks:
        """A draw of the ranks given that the sites with rank < kept are those in `visible`."""

    def share(self, kept: Share) -> Share:
        """The share of sites whose rank is below `kept`: whole groups, so not `kept` itself."""
        at_place = jnp.asarray(self._places())
        below = jnp.searchsorted(at_place, jnp.asarray(kept, at_place.dtype))
        return below.astype(at_place.dtype) / self.count

    def reveal(self, keys: Keys, visible: Visible, kept: Share, later: Share, eta: float) -> Visible:
        """The sites visible at s < t, given those at t: a draw. `kept` = keep(t), `later` = keep(s).

        What is visible stays so, also sites that the order would not have shown yet: known ones, in inpainting. `eta`
        is for independent ranks.
        """
        return visible | (self.given(keys, visible, kept) < later)

    def hide(self, keys: Keys, visible: Visible, kept: Share, later: Share) -> Visible:
        """The sites visible at t > s, given those at s: a draw. `kept` = keep(s), `later` = keep(t)."""
        return visible & (self.given(keys, visible, kept) < later)

    def _places(self) -> Float[np.ndarray, " L"]:
        """The ranks of the places 0 ... L - 1 of the sequence."""
        assert self.groups is not None
        return ((np.arange(self.count) // self.chunk + 0.5) / self.groups).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Fixed(Order):
    """One sequence for all images.

    Attributes:
        sites: `[L]`, the site numbers as they are revealed.
    """

    sites: np.ndarray = field(kw_only=True)

    @property
    def sequence(self) -> np.ndarray:
        return self.sites

    def ranks(self, keys: Keys, batch: int) -> Ranks:
        at = np.empty(self.count, np.float32)
        at[self.sites] = self._places()
        return jnp.broadcast_to(at, (batch, self.count))

    def given(self, keys: Keys, visible: Visible, kept: Share) -> Ranks:
        return self.ranks(keys, len(visible))


@dataclass(frozen=True, eq=False)
class Permutation(Order):
    """A uniformly random sequence for each image: order-agnostic autoregression (Uria et al. 2014)."""

    @property
    def exchangeable(self) -> bool:
        return True

    def ranks(self, keys: Keys, batch: int) -> Ranks:
        return self.given(keys, jnp.zeros((batch, self.count), bool), jnp.zeros(()))

    def given(self, keys: Keys, visible: Visible, kept: Share) -> Ranks:
        """The visible sites have the first ranks, the others the rest, both in a random sequence."""
        batch = len(visible)
        rows = random.per_example(keys, jnp.arange(batch)) if keys.ndim == 0 else keys
        sequence = jax.vmap(lambda key: jax.random.permutation(key, self.count))(rows)
        first = jnp.take_along_axis(visible, sequence, axis=1)
        place = jnp.where(first, jnp.cumsum(first, axis=1), first.sum(axis=1, keepdims=True) + jnp.cumsum(~first, 1))
        ranks = jnp.asarray(self._places())[place - 1]
        return jnp.zeros_like(ranks).at[jnp.arange(batch)[:, None], sequence].set(ranks, unique_indices=True)


@dataclass(frozen=True, eq=False)
class Independent(Order):
    """A uniform rank for each site, whatever the others': masked diffusion (Austin et al. 2021; Sahoo et al. 2024).

    Attributes:
        remask_cap: the greatest probability with which a step back hides a visible site again.
    """

    remask_cap: float = 1.0

    @property
    def groups(self) -> int | None:
        return None

    @property
    def exchangeable(self) -> bool:
        return True

    def ranks(self, keys: Keys, batch: int) -> Ranks:
        return random.uniform(keys, (batch, self.count))

    def given(self, keys: Keys, visible: Visible, kept: Share) -> Ranks:
        """Uniform below `kept` where visible, uniform above where not."""
        u = random.uniform(keys, visible.shape)
        return jnp.where(visible, kept * u, jnp.minimum(kept + (1 - kept) * u, BELOW_ONE))

    def share(self, kept: Share) -> Share:
        """The share in expectation: `kept`."""
        return kept

    def reveal(self, keys: Keys, visible: Visible, kept: Share, later: Share, eta: float) -> Visible:
        """A visible site is hidden again with probability sigma = min(cap, eta sigma_max).

        A hidden one is shown with probability (keep(s) - (1 - sigma) keep(t))/(1 - keep(t)). So any site is visible at
        s with probability (1 - sigma) keep(t) + keep(s) - (1 - sigma) keep(t) = keep(s), whatever sigma; the second is
        a probability where sigma <= sigma_max = min(1, (1 - keep(s))/keep(t)) (ReMDM, Wang et al. 2025). With the cap
        at 1 eta is the factor of their ReMDM-rescale; with eta = 1 the cap is that of their ReMDM-cap. eta = 0 and a
        cap of 0 hide nothing again.
        """
        most = jnp.where(1 - later <= kept, (1 - later) / jnp.where(kept > 0, kept, 1), 1)
        sigma = jnp.minimum(eta * most, self.remask_cap)
        shown = (later - (1 - sigma) * kept) / jnp.where(kept < 1, 1 - kept, 1)
        u = random.uniform(keys, visible.shape)
        return jnp.where(visible, u >= sigma, u < shown)


def raster_sequence(space: tuple[int, ...], channels: int, seed: int) -> Int[np.ndarray, " L"]:
    """0, 1, ... L - 1: row by row."""
    return np.arange(prod(space) * channels)


def fixed_sequence(space: tuple[int, ...], channels: int, seed: int) -> Int[np.ndarray, " L"]:
    """One random permutation, the same for every image, drawn by NumPy from `seed`."""
    return np.random.default_rng(seed).permutation(prod(space) * channels)


def spread_sequence(space: tuple[int, ...], channels: int, seed: int) -> Int[np.ndarray, " L"]:
    """Coarse to fine: each site far from those before it, as the thresholds of ordered dithering (Bayer 1973).

    Pixels are sorted by the bits of their coordinates, the lowest bits first: all pixels whose coordinates are
    multiples of 2^k come before the others, in the order that their image of half the size 2^k times over would have.
    Among the 2^d corners of a cell the opposite one comes second, so in two dimensions the corners go (0, 0), (1, 1),
    (0, 1), (1, 0). Channels of a pixel go one after another.
    """
    coordinates = np.indices(space).reshape(len(space), -1)
    key = np.zeros(coordinates.shape[1], np.int64)
    for level in range(max(max(space) - 1, 1).bit_length()):
        bits = (coordinates >> level) & 1
        bits[1:] ^= bits[0]  # the first axis is the lowest digit: where it is odd the others turn over
        key = (key << len(space)) | np.tensordot(1 << np.arange(len(space)), bits, 1)
    pixels = np.argsort(key, kind="stable")
    return (pixels[:, None] * channels + np.arange(channels)).reshape(-1)


Sequence = Callable[[tuple[int, ...], int, int], np.ndarray]


def _fixed(sequence: Sequence) -> Callable[..., Order]:
    def make(space: tuple[int, ...], channels: int, chunk: int, seed: int) -> Order:
        return Fixed(space, channels, chunk, sites=sequence(space, channels, seed))

    return make


def _permutation(space: tuple[int, ...], channels: int, chunk: int, seed: int) -> Order:
    order = Permutation(space, channels, chunk)
    if order.count % chunk:
        raise ValueError(f"a chunk of {chunk} does not divide the {order.count} sites, as the random order needs")
    return order


def _independent(space: tuple[int, ...], channels: int, chunk: int, seed: int) -> Order:
    if chunk != 1:
        raise ValueError(f"independent sites have no chunks: a chunk of {chunk} must be 1")
    return Independent(space, channels, chunk)


ORDERS: dict[str, Callable[..., Order]] = {
    "raster": _fixed(raster_sequence),
    "fixed": _fixed(fixed_sequence),
    "spread": _fixed(spread_sequence),
    "random": _permutation,
    "independent": _independent,
}
"""Each order by its name: `(space, channels, chunk, seed) -> Order`."""

INDEPENDENT = "independent"
RANDOM = ("random", INDEPENDENT)
"""Orders that are drawn anew for each image. All sites are alike in them (`exchangeable`)."""


def make_order(
    name: str,
    space: tuple[int, ...],
    channels: int = 1,
    apart: bool = False,
    chunk: int = 1,
    seed: int = 0,
    **options: Any,
) -> Order:
    """The order of a name over images `[*space, channels]`.

    >>> make_order("spread", (2, 2)).sequence.tolist()
    [0, 3, 1, 2]

    Args:
        name: a key of `ORDERS`, or a dotted path to a function of `space`, `channels`, `chunk`, `seed` and options.
        space: sizes of the spatial axes.
        channels: of a pixel.
        apart: whether the channels of a pixel are sites of their own.
        chunk: c, the sites revealed at once; the last chunk may be smaller, but in the random order, whose groups have
            to be alike.
        seed: of the order `fixed`.
        options: of a dotted path.

    Raises:
        ValueError: an unknown name, or a chunk that does not fit, in one line.
    """
    function = plugins.find(ORDERS, name)
    a_pixel = channels if apart else 1
    sites = prod(space) * a_pixel
    if not 1 <= chunk <= sites:
        raise ValueError(f"a chunk of {chunk} is not in 1 ... {sites}, the number of sites")
    given = plugins.given(function, space=tuple(space), channels=a_pixel, chunk=chunk, seed=seed)
    return plugins.made(name, function, {**given, **options}, Order)
