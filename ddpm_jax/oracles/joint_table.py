"""A few discrete values with a table of all their joint probabilities: every conditional is a sum over the table."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from ddpm_jax.denoisers import Denoiser
from ddpm_jax.denoisers.categorical import Categorical
from ddpm_jax.processes import Order, Ordered, Uniform
from ddpm_jax.processes.orders import Permutation
from ddpm_jax.processes.process import Images, Times
from ddpm_jax.schedules.keeping import linear


@dataclass(frozen=True, eq=False)
class JointTable:
    """D values of some levels each, with these probabilities: what a network can learn of them at best.

    The process is ordered, or uniform corruption. Values are numbered in row-major order of [*space, channels]. Figures
    are computed in float64 by enumeration, so it is for tables of a few thousand entries; `sampled_law` and `bound`, of
    ordered processes, also go over all 2^L sets of sites.

    Attributes:
        probabilities: `(levels,) * D`, not negative and summing to one.
        values: `[levels]`, what each level is in x.
    """

    probabilities: np.ndarray
    values: np.ndarray

    @property
    def count(self) -> int:
        """D."""
        return self.probabilities.ndim

    def states(self, space: Sequence[int], channels: int = 1) -> Float[np.ndarray, "states *site"]:
        """All x there are, `[levels^D, *space, channels]`, in the order of `probabilities.reshape(-1)`."""
        levels = np.indices(self.probabilities.shape).reshape(self.count, -1).T
        return np.asarray(self.values, np.float32)[levels].reshape(-1, *space, channels)

    def index(self, x: Images) -> Array:
        """The number of each x in `states`, `[batch]`."""
        levels = jnp.argmin(jnp.abs(x.reshape(len(x), -1, 1) - jnp.asarray(self.values, x.dtype)), axis=-1)
        return jnp.ravel_multi_index(tuple(levels.T), self.probabilities.shape, mode="clip")

    def log_probability(self, x: Images) -> Float[Array, " batch"]:
        """log p(x) in nats."""
        return jnp.log(jnp.asarray(self.probabilities.reshape(-1), x.dtype))[self.index(x)]

    @property
    def entropy(self) -> float:
        """E[-log p(x)] in nats, the least mean of any likelihood."""
        return self.entropy_of(range(self.count))

    def marginal(self, values: Iterable[int]) -> np.ndarray:
        """The joint probabilities of some of the values; the axes of the others have length 1."""
        others = tuple(set(range(self.count)) - set(values))
        return self.probabilities.sum(axis=others, keepdims=True, dtype=np.float64)

    def conditional(self, value: int, given: Iterable[int]) -> np.ndarray:
        """p(x_value | the values given), along their axes; uniform where the condition has no probability."""
        given = set(given)
        joint, whole = self.marginal(given | {value}), self.marginal(given)
        return np.where(whole > 0, joint, 1 / len(self.values)) / np.where(whole > 0, whole, 1)

    def entropy_of(self, values: Iterable[int]) -> float:
        """H of some of the values together, in nats."""
        p = self.marginal(values)
        return float(-np.sum(p * np.log(np.where(p > 0, p, 1))))

    def denoiser(self, process: Ordered | Uniform) -> Denoiser:
        """`(x_t [batch, *space, channels], t, condition) -> Categorical`: p(x_i | x_t) at each value, exact.

        By Bayes' rule over all states, with what each value's x_t says of it (`evidence`). A visible value has its own
        level with probability one. Given x_t, values are independent in this posterior, as in any network's. For an x_t
        without probability it is uniform.
        """

        def denoise(x_t: Images, t: Times, condition: PyTree = None) -> Categorical:
            values = jnp.asarray(self.values, x_t.dtype)
            levels = np.indices(self.probabilities.shape).reshape(self.count, -1).T  # of each state
            said = process.evidence(x_t, t, values).reshape(len(x_t), self.count, -1)
            said = (said - said.max(axis=-1, keepdims=True))[:, np.arange(self.count), levels].sum(axis=-1)
            fits = jnp.exp(said) * jnp.asarray(self.probabilities.reshape(-1), x_t.dtype)
            is_level = (levels[..., None] == np.arange(len(values))).astype(x_t.dtype)
            chances = jnp.einsum("bn,ndk->bdk", fits, is_level, precision="highest")
            chances = jnp.where(fits.sum(axis=1)[:, None, None] > 0, chances, 1)
            return Categorical(jnp.log(chances).reshape(*x_t.shape, -1), values)

        return denoise

    def group_entropy(self, order: Order) -> float:
        """The sum over groups and over the values in them of H(x_i | all groups before), in nats.

        It is the loss of the best model that predicts the values of a group independently of one another. Above the
        entropy by the dependence inside groups: the mean of KL(p(group | before) || product of p(x_i | before)). The
        mean over sequences where the order is random; independent sites come one by one in a random sequence.
        """
        chunked = order if order.groups is not None else Permutation(order.space, order.channels)
        assert chunked.groups is not None
        return self.bound(Ordered(chunked, linear), np.linspace(1, 0, chunked.groups + 1))

    def bound(self, process: Ordered, grid: np.ndarray) -> float:
        """The expectation of `likelihood.bound` over x, ranks and this denoiser: its value on this grid, in nats.

        The sum over intervals of E[sum of H(x_i | visible at t) over the sites i shown in the interval].
        """
        total = 0.0
        for kept, later in _keeps(process, grid):
            at_t = reveal_law(process.order, 0.0, kept)[0]
            moves = reveal_law(process.order, kept, later)
            for before, after in np.argwhere(at_t[:, None] * moves > 0):
                given = self._values(process.order, int(before))
                gained = self._values(process.order, int(after)) - given
                whole = self.entropy_of(given)
                chance = at_t[before] * moves[before, after]
                total += chance * sum(self.entropy_of(given | {i}) - whole for i in gained)
        return total

    def sampled_law(self, process: Ordered, grid: np.ndarray, eta: float = 0.0) -> np.ndarray:
        """The law of the sampling loop with this denoiser and draws (`first_order`), shaped like `probabilities`.

        Sites shown in one step are drawn independently of one another; with one site a step it is the table itself.
        """
        law: dict[int, np.ndarray] = {0: np.ones((1,) * self.count)}  # of each visible set, over its values
        for kept, later in _keeps(process, grid):
            moves, reached = reveal_law(process.order, kept, later, eta), {}
            for before, weights in law.items():
                given = self._values(process.order, int(before))
                for after in np.flatnonzero(moves[before]):
                    now = self._values(process.order, int(after))
                    drawn = moves[before, after] * weights
                    for i in now - given:
                        drawn = drawn * self.conditional(i, given)
                    drawn = drawn.sum(axis=tuple(given - now), keepdims=True)
                    reached[after] = reached.get(after, 0) + drawn
            law = reached
        return law[2**process.order.count - 1]

    def _values(self, order: Order, number: int) -> set[int]:
        """The values of the sites in a set with this number."""
        sites = np.flatnonzero(site_sets(order.count)[number])
        width = self.count // order.count
        return {int(site) * width + k for site in sites for k in range(width)}


def site_sets(count: int) -> Bool[np.ndarray, "sets L"]:
    """Every set of sites, `[2^L, L]`: the bits of its number."""
    return (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(bool)


def reveal_law(order: Order, kept: float, later: float, eta: float = 0.0) -> Float[np.ndarray, "sets sets"]:
    """The probability of each visible set at s given each at t, where keep(t) = kept and keep(s) = later.

    What is visible stays so, but for independent sites with eta > 0, no more than the order's cap: see
    `Independent.reveal`. Derived from counts of sites, not from ranks.
    """
    sets = site_sets(order.count)
    if order.groups is None:
        sigma = min(eta * (min(1.0, (1 - later) / kept) if kept > 0 else 1.0), getattr(order, "remask_cap", 1.0))
        shown = (later - (1 - sigma) * kept) / (1 - kept) if kept < 1 else 0.0
        chance = np.where(sets[:, None], 1 - sigma, shown)
        return np.prod(np.where(sets[None], chance, 1 - chance), axis=-1)
    whole_groups = min(max(math.ceil(later * order.groups - 0.5), 0), order.groups)
    shown = min(whole_groups * order.chunk, order.count)
    if order.sequence is not None:
        reached = sets.copy()
        reached[:, order.sequence[:shown]] = True
        return np.all(reached[:, None] == sets[None], axis=-1).astype(float)
    size = np.maximum(sets.sum(axis=1), shown)
    fits = np.all(sets[None] >= sets[:, None], axis=-1) & (sets.sum(axis=1)[None] == size[:, None])
    return fits / fits.sum(axis=1, keepdims=True)


def _keeps(process: Ordered, grid: np.ndarray) -> list[tuple[float, float]]:
    """(keep(t), keep(s)) of each interval."""
    kept = [float(process.keep(jnp.float32(t))) for t in grid]
    return list(pairwise(kept))
