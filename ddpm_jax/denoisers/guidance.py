"""Guidance: beyond a stronger denoiser, away from a weaker one. It knows nothing of texts and labels.

x_hat = weak + w (strong - weak), on the means of normals and on the logits of levels. Everywhere w = 1 is the strong
(conditional) denoiser and w = 0 the weak (unconditional) one; papers that write 1 + w for this w start at 0.

What is sampled so is not p_weak^(1 - w) p_strong^w, even if both denoisers are exact. With alpha = 1, p_strong =
N(m, a), p_weak = N(0, b) the probability flow ends with the variance a^w b^(1 - w), the reverse equation with noise
with the integral over v from 0 of (a/(a + v))^(2w) (b/(b + v))^(2 - 2w), and only Langevin moves come to
1/(w/a + (1 - w)/b). Sites that are drawn one after another have the product of their renormalised conditionals.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from ddpm_jax.denoisers.guidance_rules import Plain, Rule, extrapolate
from ddpm_jax.denoisers.posteriors import Denoiser, Normal, Weight, Wrapper, cost
from ddpm_jax.processes import Gaussian, Refusal, Traits
from ddpm_jax.processes.process import Images, Times


@dataclass(frozen=True, eq=False)
class Told(Wrapper):
    """A denoiser that is told something else than the sampler says: nothing, a negative prompt, a part.

    >>> null = Told(lambda x_t, t, condition: Normal(condition["label"] * x_t), {"label": jnp.zeros((1, 1))})
    >>> null(jnp.ones((2, 1)), 0.5, {"label": jnp.ones((2, 1))}).mean.tolist()
    [[0.0], [0.0]]

    Attributes:
        denoise: of a conditional network.
        condition: in place of the sampler's; of dicts in place of the entries of these names. Arrays have a row an
            example, or one for all.
    """

    denoise: Any
    condition: PyTree

    def told(self, condition: PyTree, count: int) -> PyTree:
        """What the denoiser is told of `count` images in place of `condition`."""
        own = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape[1:])), self.condition)
        return {**condition, **own} if isinstance(condition, dict) and isinstance(own, dict) else own

    def __call__(self, x_t: Images, t: Times, condition: PyTree = None) -> Any:
        """The posterior under its own condition."""
        return self.denoise(x_t, t, self.told(condition, x_t.shape[0]))

    @property
    def causal(self) -> bool:
        """Whether the denoiser can go on group by group."""
        return getattr(self.denoise, "causal", False)

    def start(self, count: int, condition: PyTree = None, groups: int | None = None) -> Any:
        """Of a causal network: what it remembers before the first group, under its own condition."""
        return self.denoise.start(count, self.told(condition, count), groups)

    def advance(self, cache: PyTree, x: Images, step: int | Int[Array, ""]) -> tuple[Any, Any, Any]:
        """Of a causal network: the posterior of the sites of one group."""
        return self.denoise.advance(cache, x, step)


@dataclass(frozen=True, eq=False)
class Guided:
    """A chain of denoisers from the weakest to the strongest, and how far to go along each of its steps.

    >>> denoise = lambda x_t, t, condition: Normal(condition * x_t)
    >>> guided = Guided((Told(denoise, jnp.zeros((1, 1))), denoise), (3.0,))
    >>> guided(jnp.ones((2, 1)), 0.5, jnp.ones((2, 1))).mean.tolist(), guided.cost(0.5)
    ([[3.0], [3.0]], 2)

    - Classifier-free guidance (Ho and Salimans 2022): one denoiser, told null first. A negative prompt likewise.
    - Autoguidance (Karras et al. 2024): a smaller or less trained one, then the best; both are told the condition.
    - Two conditions, with weights of their own (Brooks et al. 2023, eq. 3): one denoiser told neither, then one of
      them, then both; x = e(0, 0) + w_1 (e(c_1, 0) - e(0, 0)) + w_2 (e(c_1, c_2) - e(c_1, 0)).

    Those of the chain that are one denoiser told different things are one call on a batch so many times as large.
    Outside an interval of times the weights are 1, so that the strongest is asked alone (Kynkaanniemi et al. 2024, in
    whose noise levels the interval is (low, high] too); but where each image has its own time, all are asked.

    Attributes:
        chain: two denoisers or more; the strongest is what is guided.
        weights: of each step along the chain.
        rule: what becomes of the chain's posteriors.
        interval: low < t <= high.

    Raises:
        ValueError: a chain of one, or another number of weights than steps.
    """

    chain: tuple[Any, ...]
    weights: tuple[float, ...]
    rule: Rule = field(default_factory=Plain)
    interval: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if len(self.chain) < 2 or len(self.weights) != len(self.chain) - 1:
            told = f"{len(self.chain)} denoisers and {len(self.weights)} weights"
            raise ValueError(f"guidance takes two denoisers or more and a weight for each step between, not {told}")

    def __call__(self, x_t: Images, t: Times, condition: PyTree = None) -> Any:
        """The guided posterior."""
        if self._never:
            return self._alone(x_t, t, condition)
        if self._always:
            return self._together(x_t, t, condition, self.weights)
        t = jnp.asarray(t)
        inside = self._inside(t)
        if t.ndim == 0:
            return jax.lax.cond(inside, self._inward, self._alone, x_t, t, condition)
        return self._together(x_t, t, condition, tuple(jnp.where(inside, weight, 1.0) for weight in self.weights))

    def cost(self, t: Times | None = None) -> Any:
        """The network evaluations of a call: see the function `cost`."""
        alone, together = cost(self.chain[-1], t), sum(cost(one, t) for one in self.chain)
        if self._never or self._always or t is None:
            return alone if self._never else together
        return jnp.where(self._inside(jnp.asarray(t)), together, alone)

    @property
    def causal(self) -> bool:
        """Whether the denoisers can go on group by group."""
        return all(getattr(one, "causal", False) for one in self.chain)

    def start(self, count: int, condition: PyTree = None, groups: int | None = None) -> tuple[Any, ...]:
        """Of causal networks: what each remembers of its images before the first group.

        Raises:
            ValueError: there is an interval: a memory cannot leave out groups.
        """
        if not self._always:
            raise ValueError("guidance in an interval of times needs a sampler without a cache; use first_order")
        return tuple(
            network.start(len(places) * count, self._conditions(places, condition, count), groups)
            for network, places in self._networks()
        )

    def advance(self, cache: PyTree, x: Images, step: int | Int[Array, ""]) -> tuple[Any, Any, tuple[Any, ...]]:
        """Of causal networks: the guided posterior of the sites of one group, their numbers, what each remembers."""
        posteriors, kept, numbers = [None] * len(self.chain), [], None
        for (network, places), before in zip(self._networks(), cache, strict=True):
            posterior, numbers, after = network.advance(before, _times(len(places), x), step)
            kept.append(after)
            _put(posteriors, posterior, places, x.shape[0])
        return self.rule(tuple(posteriors), self.weights), numbers, tuple(kept)

    @property
    def _always(self) -> bool:
        return self.interval[0] <= 0 and self.interval[1] >= 1

    @property
    def _never(self) -> bool:
        return not self.interval[0] < self.interval[1]

    def _inside(self, t: Array) -> Bool[Array, "..."]:
        return (t > self.interval[0]) & (t <= self.interval[1])

    def _alone(self, x_t: Images, t: Times, condition: PyTree) -> Any:
        """The strongest, in the form of what a rule returns."""
        strong = self.chain[-1](x_t, t, condition)
        return extrapolate((strong,) * len(self.chain), (1.0,) * len(self.weights))

    def _inward(self, x_t: Images, t: Times, condition: PyTree) -> Any:
        return self._together(x_t, t, condition, self.weights)

    def _together(self, x_t: Images, t: Times, condition: PyTree, weights: tuple[Weight, ...]) -> Any:
        posteriors, count = [None] * len(self.chain), x_t.shape[0]
        for network, places in self._networks():
            each = t if len(places) == 1 else _times(len(places), jnp.broadcast_to(t, count))
            stacked = self._conditions(places, condition, count)
            _put(posteriors, network(_times(len(places), x_t), each, stacked), places, count)
        return self.rule(tuple(posteriors), weights)

    def _networks(self) -> list[tuple[Any, list[int]]]:
        """The denoisers that differ, and the places in the chain of each."""
        found: list[tuple[Any, list[int]]] = []
        for place, one in enumerate(self.chain):
            network = one.denoise if isinstance(one, Told) else one
            places = next((places for known, places in found if known is network), None)
            if places is None:
                found.append((network, [place]))
            else:
                places.append(place)
        return found

    def _conditions(self, places: list[int], condition: PyTree, count: int) -> PyTree:
        """What those at some places are told, one after the other."""
        members = [self.chain[place] for place in places]
        told = [one.told(condition, count) if isinstance(one, Told) else condition for one in members]
        if len({jax.tree.structure(one) for one in told}) > 1:
            raise ValueError("one denoiser is told a condition and none, or of other names: give both of one kind")
        return told[0] if len(told) == 1 else jax.tree.map(lambda *rows: jnp.concatenate(rows), *told)


def _times(number: int, rows: Array) -> Array:
    """The rows so many times over."""
    return rows if number == 1 else jnp.concatenate([rows] * number)


def _put(posteriors: list[Any], stacked: Any, places: list[int], count: int) -> None:
    """Each part of a stacked posterior at its place."""
    for i, place in enumerate(places):
        posteriors[place] = stacked if len(places) == 1 else stacked.rows(slice(i * count, (i + 1) * count))


@dataclass(frozen=True, eq=False)
class ClassifierGuided(Wrapper):
    """Classifier guidance (Dhariwal and Nichol 2021, algorithm 2): up the gradient of log p(y | x_t).

    By Bayes' rule the score given y is the score plus that gradient, and x_hat = (x_t + sigma^2 score)/alpha, so

        x_hat + scale sigma^2/alpha d/dx_t log p(y | x_t).

    Scale 1 with an exact classifier makes an unconditional denoiser the conditional one: its mean. Other scales are
    subject to what is said of guidance above. The classifier's passes are no evaluations of the network.

    Attributes:
        denoise: whose posterior has a mean; told the condition too (`Told(denoise, None)` is told nothing).
        log_prob: `(x_t, t, condition) -> [batch]`, log p(y | x_t) of the y that each image's condition says.
        scale: 0 leaves the mean as it is.
        process: with alpha > 0 at every t.
    """

    denoise: Denoiser
    log_prob: Callable[[Images, Times, PyTree], Float[Array, " batch"]]
    scale: float
    process: Gaussian

    def __call__(self, x_t: Images, t: Times, condition: PyTree = None) -> Normal:
        """A normal of the same variance about the moved mean."""
        posterior = self.denoise(x_t, t, condition)
        slope = jax.grad(self._total)(x_t, t, condition)
        alpha, sigma = self.process.at(t, x_t)
        return Normal(posterior.mean + self.scale * jnp.square(sigma) / alpha * slope, posterior.variance)

    def _total(self, x_t: Images, t: Times, condition: PyTree) -> Float[Array, ""]:
        return self.log_prob(x_t, t, condition).sum()

    @staticmethod
    def refusals(name: str, traits: Traits) -> Iterator[Refusal]:
        """What of it does not go with a process, of an option of this name."""
        if traits.kind != "gaussian":
            yield Refusal(name, "a classifier's gradient is for Gaussian processes; use classifier-free guidance")
        elif traits.zero_terminal:
            yield Refusal(name, "a classifier says nothing of the image where alpha(1) = 0; use another schedule")
