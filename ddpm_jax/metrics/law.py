"""How far the law of samples is from a law that is known: sums over a table of all images there are."""

import dataclasses

import numpy as np
from jaxtyping import Float64, UInt8

from ddpm_jax.files import Record

DRAWS = 5  # sets of true draws that the reference line is a mean over


@dataclasses.dataclass(frozen=True)
class LawDistance:
    """Distances between the empirical law q of `count` samples and the law p. Plain values only, for JSON.

    Both are above zero for true draws too, by chance; the reference line says how much.
    """

    kl: float  # KL(q || p) = sum of q log(q/p), in nats
    total_variation: float  # half the sum of |q - p|
    variance: float  # of the samples at each value, over that of the law: 0 for one blurred average
    count: int
    kl_deviation: float | None = None  # standard deviation between sets of true draws, of the reference line

    def to_dict(self) -> Record:
        return dataclasses.asdict(self)


def _variance(law: Float64[np.ndarray, "*levels"]) -> float:
    """The variance of the level at each value, summed over values."""
    total, levels = 0.0, np.arange(law.shape[0])
    for axis in range(law.ndim):
        p = law.sum(axis=tuple(set(range(law.ndim)) - {axis}))
        total += float(p @ levels**2 - (p @ levels) ** 2)
    return total


def between(q: Float64[np.ndarray, "*levels"], law: Float64[np.ndarray, "*levels"], count: int) -> LawDistance:
    """The distances of one law, of `count` samples, from another.

    KL is infinite where samples fall on what the law gives no probability.
    """
    there = q > 0
    with np.errstate(divide="ignore"):
        kl = float(np.sum(q[there] * (np.log(q[there]) - np.log(law[there]))))
    return LawDistance(kl, float(np.abs(q - law).sum() / 2), _variance(q) / _variance(law), count)


def law_distance(samples: UInt8[np.ndarray, "n *site"], law: Float64[np.ndarray, "*levels"]) -> LawDistance:
    """The distances of samples, integers 0 ... levels - 1, from the law over images, `(levels,) * D`."""
    flat = samples.reshape(len(samples), -1)
    number = np.ravel_multi_index(tuple(flat.T.astype(np.int64)), law.shape)
    q = np.bincount(number, minlength=law.size).reshape(law.shape) / len(samples)
    return between(q, law, len(samples))


def law_references(law: Float64[np.ndarray, "*levels"], count: int, seed: int = 0) -> dict[str, LawDistance]:
    """What known samples score: as many true draws ("train"), and values drawn independently of one another."""
    rng = np.random.default_rng(seed)
    drawn = [
        between(rng.multinomial(count, law.reshape(-1)).reshape(law.shape) / count, law, count) for _ in range(DRAWS)
    ]
    true = dataclasses.replace(
        drawn[0],
        kl=float(np.mean([one.kl for one in drawn])),
        total_variation=float(np.mean([one.total_variation for one in drawn])),
        kl_deviation=float(np.std([one.kl for one in drawn], ddof=1)),
    )
    product = np.ones((1,) * law.ndim)
    for axis in range(law.ndim):
        product = product * law.sum(axis=tuple(set(range(law.ndim)) - {axis}), keepdims=True)
    return {"train": true, "independent_pixels": between(product, law, count)}
