"""What becomes of the posteriors of a guided chain: plain guidance, and two ways against what it does to contrast."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from ddpm_jax.denoisers.posteriors import Normal, Weight
from ddpm_jax.processes import Refusal
from ddpm_jax.processes.process import Images, expand

Chain = tuple[Any, ...]  # of posteriors, from the weakest to the strongest


def extrapolate(chain: Chain, weights: tuple[Weight, ...]) -> Any:
    """e_0 + sum_i w_i (e_i - e_(i-1)) over a chain of posteriors, on means or logits; weights of 1 give the last."""
    weaker, stronger = chain[:-1], chain[1:]
    guided = stronger[0].guide(weaker[0], weights[0])
    for one, other, weight in zip(weaker[1:], stronger[1:], weights[1:], strict=True):
        guided = other.guide(one, weight, guided)
    return guided


@dataclass(frozen=True)
class Rule(ABC):
    """How a chain of posteriors and its weights make one.

    Attributes:
        levels: whether it is for distributions over levels too, or only for estimates of an image.
    """

    levels: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, chain: Chain, weights: tuple[Weight, ...]) -> Any:
        """The guided posterior.

        Raises:
            ValueError: posteriors over levels, and a rule that is not for them.
        """

    def refusals(self, name: str, levels: bool) -> Iterator[Refusal]:
        """What does not go with posteriors over levels, of an option of this name."""
        if levels and not self.levels:
            yield Refusal(name, f"{type(self).__name__} is for estimates of an image, not for levels; use Plain")

    def plain(self, chain: Chain, weights: tuple[Weight, ...]) -> Normal:
        """What the chain's normals come to without this rule."""
        if not all(isinstance(posterior, Normal) for posterior in chain):
            raise ValueError(next(self.refusals("rule", levels=True)).reason)
        return extrapolate(chain, weights)


@dataclass(frozen=True)
class Plain(Rule):
    """Classifier-free guidance as it is (Ho and Salimans 2022), the same in every parameterisation."""

    levels: ClassVar[bool] = True

    def __call__(self, chain: Chain, weights: tuple[Weight, ...]) -> Any:
        """See `extrapolate`."""
        return extrapolate(chain, weights)


@dataclass(frozen=True)
class Rescaled(Rule):
    """The guided output has its deviation over an image drawn back to the strong one's (Lin et al. 2024, section 3.4).

    raw = phi raw_cfg std(raw_strong)/std(raw_cfg) + (1 - phi) raw_cfg, in the space of the strong network's own output,
    as theirs is in that of v; a posterior that does not know of one has the clean image for it. It is not the same in
    every parameterisation: x_t, which is a part of v and epsilon, is scaled with it.

    Attributes:
        phi: 0 is plain guidance; they use 0.7.
    """

    phi: float

    def __call__(self, chain: Chain, weights: tuple[Weight, ...]) -> Normal:
        """The guided normal, with the strong one's variance."""
        plain, strong = self.plain(chain, weights), chain[-1]
        # x_hat moves by -scale times what raw moves by (see `Output`).
        scale = -1.0 if strong.output is None else strong.output.scale
        own = strong.mean if strong.output is None else strong.output.raw
        raw = own - (plain.mean - strong.mean) / scale
        wanted, has = _deviation(own), _deviation(raw)
        ratio = jnp.where(has > 0, wanted / jnp.where(has > 0, has, 1), 1)
        return Normal(plain.mean - self.phi * scale * (ratio - 1) * raw, plain.variance)


@dataclass(frozen=True)
class Projected(Rule):
    """Adaptive projected guidance (Sadat et al. 2024, algorithm 1), on x_hat.

    Of each difference D between neighbours in the chain, first |D| is cut to r, then the part of it that lies along
    the strong x_hat is taken eta times; x_hat = strong + sum (w - 1) D. Lengths are an image's. Their momentum, a
    running sum of D over the steps, is left out: a denoiser has no memory.

    Attributes:
        eta: 1 leaves the part along x_hat, which saturates colours; they use 0.
        limit: r, in units of x_hat's length.

    Raises:
        ValueError: a limit that is not above 0.
    """

    eta: float = 0.0
    limit: float = float("inf")

    def __post_init__(self) -> None:
        if not self.limit > 0:
            raise ValueError(f"the limit of a difference's length must be above 0, not {self.limit}")

    def __call__(self, chain: Chain, weights: tuple[Weight, ...]) -> Normal:
        """The guided normal, with the strong one's variance: the plain one and what the rule adds."""
        plain, strong = self.plain(chain, weights), chain[-1].mean
        mean, power = plain.mean, _inner(strong, strong)
        for weaker, stronger, weight in zip(chain[:-1], chain[1:], weights, strict=True):
            difference = stronger.mean - weaker.mean
            cut = jnp.minimum(1.0, self.limit / jnp.sqrt(_inner(difference, difference))) * difference
            along = jnp.where(power > 0, _inner(cut, strong) / jnp.where(power > 0, power, 1), 0) * strong
            mean = mean + (expand(weight, strong) - 1) * (cut + (self.eta - 1) * along - difference)
        return Normal(mean, plain.variance)


def _inner(a: Images, b: Images) -> Float[Array, "batch ..."]:
    return jnp.sum(a * b, axis=tuple(range(1, a.ndim)), keepdims=True)


def _deviation(values: Images) -> Float[Array, "batch ..."]:
    return jnp.std(values, axis=tuple(range(1, values.ndim)), keepdims=True)
