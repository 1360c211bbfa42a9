"""Training-time distributions: which interval (s, t] each example of a batch looks at, and with what weight.

A law is drawn for the whole batch at once, so that the times of a batch may depend on one another. With T steps an
interval is ((i - 1)/T, i/T]; in continuous time s = t, but for the share of draws that looks at the last interval
(0, t_min].
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, PyTree

from ddpm_jax import plugins
from ddpm_jax.schedules.calculus import time_of_log_snr
from ddpm_jax.schedules.table import Schedule, Table

Batch = Float[Array, " batch"]
Draws = tuple[Batch, Batch, Batch]

BINS = 100
VISITS = 10
UNIFORM_SHARE = 1e-3
"""Of `Importance`; the last two are those of Nichol and Dhariwal's code."""


@dataclass(frozen=True, eq=False)
class TimeDistribution(ABC):
    """Where in time training looks. A subclass says how its times are drawn, and its further fields are its options.

    Attributes:
        steps: T; 0 is continuous time.
        t_min: the least time in continuous time.
        decoder: in continuous time, the share of draws of the last interval, (0, t_min].
        clean: whether it looks at whole images alone.
        part_of_objective: whether the distribution itself is part of what is minimised.

    Raises:
        ValueError: a decoder share in discrete time or outside [0, 1), or a t_min outside (0, 1).
    """

    steps: int = 0
    t_min: float = 1e-3
    decoder: float = 0.0
    clean: ClassVar[bool] = False
    part_of_objective: ClassVar[bool] = False
    kinds: ClassVar[tuple[str, ...]] = ("gaussian", "ordered", "uniform")

    def __post_init__(self) -> None:
        if self.steps and self.decoder:
            raise ValueError("in discrete time the last interval is one of T, and has no share of its own")
        if not 0 <= self.decoder < 1:
            raise ValueError(f"a decoder share of {self.decoder} is not in [0, 1)")
        if not self.steps and not 0 < self.t_min < 1:
            raise ValueError(f"t_min {self.t_min} is not in (0, 1)")

    @abstractmethod
    def draw(self, key: Key[Array, ""], count: int, history: PyTree) -> Draws:
        """(t, s, weight), each `[count]`.

        E[weight f(t)] is the mean of f over the T intervals; in continuous time the integral of f from t_min to 1, plus
        f of the interval (0, t_min] if a share of the draws goes there. Where the distribution is part of the objective
        the mean or integral is one under that distribution.
        """

    def start(self) -> PyTree:
        """The history before the first draw, a pytree; `{}` for a law that learns nothing."""
        return {}

    def tally(self, t: Batch, losses: Batch) -> PyTree:
        """What the history is to know of a part of a batch, a pytree. Those of two parts may be added or averaged."""
        return {}

    def update(self, history: PyTree, sums: PyTree) -> PyTree:
        """The history with what `tally` says; the same for any multiple of the sums."""
        return history

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
        index = jnp.asarray(index, jnp.float32)
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


@dataclass(frozen=True, eq=False)
class Uniform(TimeDistribution):
    """Each interval as often as any other (Ho et al. 2020, algorithm 1)."""

    def draw(self, key: Key[Array, ""], count: int, history: PyTree) -> Draws:
        """Independent times."""
        if self.steps:
            return self.of_index(jax.random.randint(key, (count,), 1, self.steps + 1, jnp.int32))
        last, u = self.split(jax.random.uniform(key, (count,), jnp.float32))
        return self.uniform(u, 1.0, last)


@dataclass(frozen=True, eq=False)
class Stratified(TimeDistribution):
    """Uniform times, of which each of `count` equal parts of [0, 1) has exactly one (Kingma et al. 2021, appendix I.1).

    All lie at the same place of their part, and each by itself is uniform. It takes most of the time's share of the
    loss's variance away.
    """

    def draw(self, key: Key[Array, ""], count: int, history: PyTree) -> Draws:
        """One time in each part."""
        key_turn, key_offset = jax.random.split(key)
        part = (jnp.arange(count) + jax.random.randint(key_turn, (), 0, count, jnp.int32)) % count
        last, u = self.split((part + jax.random.uniform(key_offset, (), jnp.float32)) / count)
        return self.uniform(u, 1.0, last)


@dataclass(frozen=True, eq=False)
class LogNormal(TimeDistribution):
    """log(sigma/alpha) is normal (Karras et al. 2022, table 1), on any schedule.

    Attributes:
        schedule: as it is at the start of training.
        log_mean: of log(sigma/alpha).
        log_deviation: likewise.
    """

    schedule: Schedule | None = None
    log_mean: float = -1.2
    log_deviation: float = 1.2
    part_of_objective: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = ("gaussian",)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_deviation(self.log_deviation)
        if self.schedule is None:
            raise ValueError("log-normal times need the schedule, through whose inverse they go")

    def draw(self, key: Key[Array, ""], count: int, history: PyTree) -> Draws:
        """Times of normal logarithms."""
        assert self.schedule is not None
        last, u = self.split(jax.random.uniform(key, (count,), jnp.float32))
        value = -2 * (self.log_mean + self.log_deviation * jax.scipy.special.ndtri(u))
        t = time_of_log_snr(self.schedule, value)
        return self.interval(t, 1.0, last, table=isinstance(self.schedule, Table))


@dataclass(frozen=True, eq=False)
class LogitNormal(TimeDistribution):
    """log(t/(1 - t)) is normal (Esser et al. 2024, eq. 19: mean 0, deviation 1).

    Attributes:
        logit_mean: of log(t/(1 - t)).
        logit_deviation: likewise.
    """

    logit_mean: float = 0.0
    logit_deviation: float = 1.0
    part_of_objective: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = ("gaussian",)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_deviation(self.logit_deviation)

    def draw(self, key: Key[Array, ""], count: int, history: PyTree) -> Draws:
        """Times of normal logits."""
        last, u = self.split(jax.random.uniform(key, (count,), jnp.float32))
        t = jax.nn.sigmoid(self.logit_mean + self.logit_deviation * jax.scipy.special.ndtri(u))
        return self.interval(t, 1.0, last)


def _check_deviation(deviation: float) -> None:
    if not deviation > 0:
        raise ValueError(f"a deviation of {deviation} is not above 0")


@dataclass(frozen=True, eq=False)
class Importance(TimeDistribution):
    """Times in proportion to sqrt(E[loss^2]), learned in training (Nichol and Dhariwal 2021, section 3.3).

    That makes the variance of the weighted loss least. Here [0, 1) is in min(T, 100) bins of equal width, each with a
    running mean of its squared loss where they keep the last ten losses of each step: `decay` for each batch that has
    the bin, and the plain mean of the first ten. Until every bin was in ten batches, and for a thousandth of the draws
    after that, times are uniform. The weight 1/(bins p) keeps every mean as it is.
    """

    decay: float = 0.9

    @property
    def bins(self) -> int:
        """How many there are."""
        return min(self.steps, BINS) or BINS

    def start(self) -> dict[str, Array]:
        """Nothing is known of any bin."""
        return {"moment": jnp.zeros(self.bins, jnp.float32), "visits": jnp.zeros(self.bins, jnp.int32)}

    def draw(self, key: Key[Array, ""], count: int, history: PyTree) -> Draws:
        """Times by the history."""
        p = probabilities(history)
        ends = jnp.cumsum(p)
        last, u = self.split(jax.random.uniform(key, (count,), jnp.float32))
        target = u * ends[-1]
        chosen = jnp.minimum(jnp.searchsorted(ends, target, side="right"), self.bins - 1)
        inside = jnp.clip(1 - (ends[chosen] - target) / p[chosen], 0, 1)
        position = jnp.minimum((chosen + inside) / self.bins, 1 - jnp.finfo(p.dtype).epsneg)
        return self.uniform(position, 1 / (self.bins * p[chosen]), last)

    def tally(self, t: Batch, losses: Batch) -> dict[str, Array]:
        """The squares of each bin's losses, and how many there are."""
        where = jnp.clip(jnp.floor(self.fraction(t) * self.bins).astype(jnp.int32), 0, self.bins - 1)
        counted = jnp.where(t > self.t_min, 1.0, 0.0) if self.decoder else jnp.ones_like(t)
        return {
            "squares": jax.ops.segment_sum(counted * jnp.square(losses), where, self.bins),
            "count": jax.ops.segment_sum(counted, where, self.bins),
        }

    def update(self, history: PyTree, sums: PyTree) -> dict[str, Array]:
        """A moving average for each bin that was visited."""
        seen = sums["count"] > 0
        mean = sums["squares"] / jnp.where(seen, sums["count"], 1)
        visits = history["visits"].astype(mean.dtype)
        kept = jnp.minimum(self.decay, visits / (visits + 1))
        return {
            "moment": jnp.where(seen, kept * history["moment"] + (1 - kept) * mean, history["moment"]),
            "visits": jnp.minimum(history["visits"] + seen, VISITS),
        }


def probabilities(history: dict[str, Array]) -> Float[Array, " bins"]:
    """`[bins]`, how often `importance` draws each bin."""
    root = jnp.sqrt(history["moment"])
    bins, total = len(root), root.sum()
    warm = jnp.all(history["visits"] >= VISITS) & (total > 0)
    return jnp.where(warm, (1 - UNIFORM_SHARE) * root / jnp.where(total > 0, total, 1) + UNIFORM_SHARE / bins, 1 / bins)


@dataclass(frozen=True, eq=False)
class Clean(TimeDistribution):
    """t = s = 0, the whole image: for objectives that need no removal (`losses.OneLook`)."""

    clean: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = ("ordered",)

    def draw(self, key: Key[Array, ""], count: int, history: PyTree) -> Draws:
        """Zeros."""
        zero = jnp.zeros(count, jnp.float32)
        return zero, zero, zero + 1


TIMES: dict[str, Callable[..., TimeDistribution]] = {
    "uniform": Uniform,
    "stratified": Stratified,
    "log_normal": LogNormal,
    "logit_normal": LogitNormal,
    "importance": Importance,
    "clean": Clean,
}
"""Each law by its name; its options are its further fields."""


def make_times(
    name: str, schedule: Any, steps: int, t_min: float, decoder: float = 0.0, **chosen: Any
) -> TimeDistribution:
    """The law of a name, or of a dotted path.

    Args:
        name: a key of `TIMES`, or `package.module:function`.
        schedule: as it is at the start of training.
        steps: T; 0 is continuous time.
        t_min: the least time in continuous time.
        decoder: in continuous time, the share of draws of the last interval, (0, t_min].
        chosen: further options, of which a law takes its own.

    Raises:
        ValueError: an unknown name, continuous time on a table, or options that the law refuses.
    """
    function = plugins.find(TIMES, name)
    if not steps and isinstance(schedule, Table):
        raise ValueError(f"a table of {schedule.steps} steps has no continuous time")
    if isinstance(schedule, Table) and steps != schedule.steps:
        raise ValueError(f"{steps} steps are not those of a table of {schedule.steps}")
    place = {"steps": steps, "t_min": t_min, "decoder": decoder, "schedule": schedule}
    return plugins.made(name, function, plugins.given(function, **place, **chosen), TimeDistribution)
