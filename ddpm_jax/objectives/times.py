"""Training-time distributions: which interval (s, t] each example of a batch looks at, and with what weight.

A law is drawn for the whole batch at once, so that the times of a batch may depend on one another. With T steps an
interval is ((i - 1)/T, i/T]; in continuous time s = t, but for the share of draws that looks at the last interval
(0, t_min].
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from ddpm_jax.schedules.calculus import time_of_log_snr
from ddpm_jax.schedules.table import Schedule, Table

Batch = Float[Array, " batch"]
Draws = tuple[Batch, Batch, Batch]
Draw = Callable[[Key[Array, ""], int, Any], Draws]

BINS = 100
VISITS = 10
UNIFORM_SHARE = 1e-3
"""Of `importance`; the last two are those of Nichol and Dhariwal's code."""


@dataclass(frozen=True, eq=False)
class TimeDistribution:
    """Where in time training looks.

    Attributes:
        draw: `(key, count, history) -> (t, s, weight)`, each `[count]`. E[weight f(t)] is the mean of f over the T
            intervals; in continuous time the integral of f from t_min to 1, plus f of the interval (0, t_min] if a
            share of the draws goes there. Where the distribution is part of the objective (`log_normal`,
            `logit_normal`) the mean or integral is one under that distribution.
        start: `() -> history`, a pytree; `{}` for a law that learns nothing.
        tally: `(t, losses) -> sums`, a pytree. Those of two parts of a batch may be added or averaged.
        update: `(history, sums) -> history`; the same for any multiple of the sums.
    """

    draw: Draw
    start: Callable[[], Any] = dict
    tally: Callable[[Batch, Batch], Any] = lambda t, losses: {}
    update: Callable[[Any, Any], Any] = lambda history, sums: history


@dataclass(frozen=True, eq=False)
class Place:
    """How a number in [0, 1) becomes an interval, and what part of a batch goes to the last interval.

    Attributes:
        steps: T; 0 is continuous time.
        t_min: the least time in continuous time.
        decoder: in continuous time, the share of draws of (0, t_min].
    """

    steps: int
    t_min: float
    decoder: float

    def split(self, u: Batch) -> tuple[Bool[Array, " batch"], Batch]:
        """Whether u is a draw of the last interval, and where it is not, u stretched to [0, 1) again."""
        return u < self.decoder, jnp.maximum(u - self.decoder, 0) / (1 - self.decoder)

    def interval(self, t: Batch, weight: Batch | float, last: Bool[Array, " batch"], table: bool = False) -> Draws:
        """(t, s, weight) for any t in [0, 1]; `last` puts the last interval in its place."""
        if self.steps:
            index = jnp.round(t * self.steps) if table else jnp.ceil(t * self.steps)
            return self.of_index(jnp.clip(index, 1, self.steps), weight)
        t = jnp.where(last, self.t_min, jnp.clip(t, self.t_min, 1))
        weight = jnp.where(last, 1 / self.decoder if self.decoder else 0.0, weight / (1 - self.decoder))
        return t, jnp.where(last, 0.0, t), weight

    def of_index(self, index: Array, weight: Batch | float = 1.0) -> Draws:
        """The interval of i in 1 ... T."""
        t = index / self.steps
        return t, (index - 1) / self.steps, jnp.broadcast_to(jnp.asarray(weight, t.dtype), t.shape)

    def uniform(self, u: Batch, weight: Batch | float, last: Bool[Array, " batch"]) -> Draws:
        """The interval at the fraction u of all there are."""
        if self.steps:
            return self.of_index(jnp.clip(jnp.floor(u * self.steps) + 1, 1, self.steps), weight)
        width = 1 - self.t_min
        return self.interval(self.t_min + width * u, width * weight, last)

    def fraction(self, t: Batch) -> Batch:
        """The u of a time; the middle of its interval in discrete time."""
        return t - 0.5 / self.steps if self.steps else (t - self.t_min) / (1 - self.t_min)


def uniform(place: Place) -> TimeDistribution:
    """Each interval as often as any other (Ho et al. 2020, algorithm 1)."""

    def draw(key: Key[Array, ""], count: int, history: Any) -> Draws:
        if place.steps:
            return place.of_index(jax.random.randint(key, (count,), 1, place.steps + 1))
        last, u = place.split(jax.random.uniform(key, (count,)))
        return place.uniform(u, 1.0, last)

    return TimeDistribution(draw)


def stratified(place: Place) -> TimeDistribution:
    """Uniform times, of which each of `count` equal parts of [0, 1) has exactly one (Kingma et al. 2021, appendix I.1).

    All lie at the same place of their part, and each by itself is uniform. It takes most of the time's share of the
    loss's variance away.
    """

    def draw(key: Key[Array, ""], count: int, history: Any) -> Draws:
        key_turn, key_offset = jax.random.split(key)
        part = (jnp.arange(count) + jax.random.randint(key_turn, (), 0, count)) % count
        last, u = place.split((part + jax.random.uniform(key_offset, ())) / count)
        return place.uniform(u, 1.0, last)

    return TimeDistribution(draw)


def log_normal(place: Place, schedule: Schedule, mean: float | None, deviation: float | None) -> TimeDistribution:
    """log(sigma/alpha) is normal (Karras et al. 2022, table 1: mean -1.2, deviation 1.2), on any schedule."""
    mean, deviation = -1.2 if mean is None else mean, 1.2 if deviation is None else deviation

    def draw(key: Key[Array, ""], count: int, history: Any) -> Draws:
        last, u = place.split(jax.random.uniform(key, (count,)))
        t = time_of_log_snr(schedule, -2 * (mean + deviation * jax.scipy.special.ndtri(u)))
        return place.interval(t, 1.0, last, table=isinstance(schedule, Table))

    return TimeDistribution(draw)


def logit_normal(place: Place, mean: float | None, deviation: float | None) -> TimeDistribution:
    """log(t/(1 - t)) is normal (Esser et al. 2024, eq. 19: mean 0, deviation 1)."""
    mean, deviation = 0.0 if mean is None else mean, 1.0 if deviation is None else deviation

    def draw(key: Key[Array, ""], count: int, history: Any) -> Draws:
        last, u = place.split(jax.random.uniform(key, (count,)))
        return place.interval(jax.nn.sigmoid(mean + deviation * jax.scipy.special.ndtri(u)), 1.0, last)

    return TimeDistribution(draw)


def importance(place: Place, decay: float = 0.9) -> TimeDistribution:
    """TimeDistribution in proportion to sqrt(E[loss^2]), learned in training (Nichol and Dhariwal 2021, section 3.3).

    That makes the variance of the weighted loss least. Here [0, 1) is in min(T, 100) bins of equal width, each with a
    running mean of its squared loss where they keep the last ten losses of each step: `decay` for each batch that has
    the bin, and the plain mean of the first ten. Until every bin was in ten batches, and for a thousandth of the draws
    after that, times are uniform. The weight 1/(bins p) keeps every mean as it is.
    """
    bins = min(place.steps, BINS) or BINS

    def start() -> dict[str, Array]:
        return {"moment": jnp.zeros(bins), "visits": jnp.zeros(bins, jnp.int32)}

    def draw(key: Key[Array, ""], count: int, history: Any) -> Draws:
        p = probabilities(history)
        ends = jnp.cumsum(p)
        last, u = place.split(jax.random.uniform(key, (count,)))
        target = u * ends[-1]
        chosen = jnp.minimum(jnp.searchsorted(ends, target, side="right"), bins - 1)
        inside = jnp.clip(1 - (ends[chosen] - target) / p[chosen], 0, 1)
        position = jnp.minimum((chosen + inside) / bins, 1 - jnp.finfo(p.dtype).epsneg)
        return place.uniform(position, 1 / (bins * p[chosen]), last)

    def tally(t: Batch, losses: Batch) -> dict[str, Array]:
        where = jnp.clip(jnp.floor(place.fraction(t) * bins).astype(jnp.int32), 0, bins - 1)
        counted = jnp.where(t > place.t_min, 1.0, 0.0) if place.decoder else jnp.ones_like(t)
        return {
            "squares": jax.ops.segment_sum(counted * jnp.square(losses), where, bins),
            "count": jax.ops.segment_sum(counted, where, bins),
        }

    def update(history: Any, sums: Any) -> dict[str, Array]:
        seen = sums["count"] > 0
        mean = sums["squares"] / jnp.where(seen, sums["count"], 1)
        visits = history["visits"].astype(mean.dtype)
        kept = jnp.minimum(decay, visits / (visits + 1))
        return {
            "moment": jnp.where(seen, kept * history["moment"] + (1 - kept) * mean, history["moment"]),
            "visits": jnp.minimum(history["visits"] + seen, VISITS),
        }

    return TimeDistribution(draw, start, tally, update)


def probabilities(history: dict[str, Array]) -> Float[Array, " bins"]:
    """`[bins]`, how often `importance` draws each bin."""
    root = jnp.sqrt(history["moment"])
    bins, total = len(root), root.sum()
    warm = jnp.all(history["visits"] >= VISITS) & (total > 0)
    return jnp.where(warm, (1 - UNIFORM_SHARE) * root / jnp.where(total > 0, total, 1) + UNIFORM_SHARE / bins, 1 / bins)


def clean() -> TimeDistribution:
    """t = s = 0, the whole image: for objectives that need no removal (`losses.likelihood`)."""

    def draw(key: Key[Array, ""], count: int, history: Any) -> Draws:
        return jnp.zeros(count), jnp.zeros(count), jnp.ones(count)

    return TimeDistribution(draw)


TIMES = ("uniform", "stratified", "log_normal", "logit_normal", "importance", "clean")


def make_times(
    name: str,
    schedule: Callable[..., Any],
    steps: int,
    t_min: float,
    decoder: float = 0.0,
    mean: float | None = None,
    deviation: float | None = None,
) -> TimeDistribution:
    """The law of a name.

    Args:
        name: one of `TIMES`.
        schedule: of `log_normal`, as it is at the start of training; the others ask of it only whether it is a table.
        steps: T; 0 is continuous time.
        t_min: the least time in continuous time.
        decoder: in continuous time, the share of draws of the last interval, (0, t_min].
        mean: of log(sigma/alpha) in `log_normal`, of log(t/(1 - t)) in `logit_normal`; None for the paper's.
        deviation: likewise.

    Raises:
        ValueError: an unknown name, continuous time on a table, or a decoder share in discrete time.
    """
    if name not in TIMES:
        raise ValueError(f"unknown times {name!r}; choose from {', '.join(TIMES)}")
    if not steps and isinstance(schedule, Table):
        raise ValueError(f"a table of {schedule.steps} steps has no continuous time")
    if isinstance(schedule, Table) and steps != schedule.steps:
        raise ValueError(f"{steps} steps are not those of a table of {schedule.steps}")
    if steps and decoder:
        raise ValueError("in discrete time the last interval is one of T, and has no share of its own")
    if not 0 <= decoder < 1:
        raise ValueError(f"a decoder share of {decoder} is not in [0, 1)")
    if not steps and not 0 < t_min < 1:
        raise ValueError(f"t_min {t_min} is not in (0, 1)")
    if deviation is not None and not deviation > 0:
        raise ValueError(f"a deviation of {deviation} is not above 0")
    place = Place(steps, t_min, decoder)
    makers: dict[str, Callable[[], TimeDistribution]] = {
        "uniform": lambda: uniform(place),
        "stratified": lambda: stratified(place),
        "log_normal": lambda: log_normal(place, schedule, mean, deviation),
        "logit_normal": lambda: logit_normal(place, mean, deviation),
        "importance": lambda: importance(place),
        "clean": clean,
    }
    return makers[name]()
