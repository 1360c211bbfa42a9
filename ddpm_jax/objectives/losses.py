"""The one training loss. A process removes, a denoiser predicts, an objective weighs the error.

The process owns the bound's weight (`elbo`); an objective owns every other. Imports `processes` and `denoisers`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from ddpm_jax.denoisers import PREDICTIONS, Denoiser, point
from ddpm_jax.processes import Gaussian, Process, Refusal, Traits
from ddpm_jax.processes.process import Images, Removal, sum_sites


class Objective(ABC):
    """What is minimised: the mean over times of `term`, plus `once`, which does not depend on the time.

    Attributes:
        needs_rates: whether it needs the schedule's derivatives.
        blind_at_zero_alpha: whether its weight on x is that of an error of epsilon where alpha = 0: none.
        trains_variance: whether it trains a variance: True, False, or None: with or without one.
        kinds: of the processes it is for.
        one_look: whether it is of a causal network alone, which learns all sites from one look at the whole image.
        points: whether it is for predictions that are a point; None: for any.
    """

    needs_rates: ClassVar[bool] = False
    blind_at_zero_alpha: ClassVar[bool] = False
    trains_variance: ClassVar[bool | None] = False
    kinds: ClassVar[tuple[str, ...]] = ("gaussian",)
    one_look: ClassVar[bool] = False
    points: ClassVar[bool | None] = None

    @abstractmethod
    def term(
        self, process: Process, posterior: Any, x: Images, z: Removal, t: Array, s: Array
    ) -> Float[Array, " batch"]:
        """The loss of the interval (s, t]; s = t in continuous time."""

    def once(self, process: Process, x: Images) -> Float[Array, " batch"]:
        """What is added whatever the time; it matters only where the process has parameters."""
        return jnp.zeros(x.shape[0], x.dtype)

    def refusals(self, name: str, traits: Traits, schedule: str) -> Iterator[Refusal]:
        """What of it, by the name `name`, does not go with a process, whose schedule has the name `schedule`."""
        if self.blind_at_zero_alpha and traits.zero_terminal:
            yield Refusal("name", f"{name} asks for nothing at t = 1, where {schedule} has alpha = 0; use v or x0")
        if self.needs_rates and not traits.continuous:
            yield Refusal("name", f"{name} needs the schedule's derivatives, and {schedule} is a table; use v")


def _mean(values: Images) -> Float[Array, " batch"]:
    return values.reshape(values.shape[0], -1).mean(axis=1)


class Weighted(Objective):
    """weight(t) (x - x_hat)^2, its mean over sites."""

    @abstractmethod
    def weight(self, process: Gaussian, t: Array, like: Images) -> Array:
        """Of the squared error of x at time t, broadcastable to `like`."""

    def term(
        self, process: Gaussian, posterior: Any, x: Images, z: Images, t: Array, s: Array
    ) -> Float[Array, " batch"]:
        """The weighted squared error at t."""
        return _mean(self.weight(process, t, x) * posterior.squared_error(x, z))


@dataclass(frozen=True)
class Space(Weighted):
    """The squared error of a prediction, p x + q z, whatever the network puts out: (det/sigma)^2 (x - x_hat)^2.

    det = alpha q - sigma p. For epsilon it is L_simple (Ho et al. 2020, eq. 14); for F the loss of Karras et al. 2022
    (eq. 8 with lambda = 1/c_out^2); for velocity that of Lipman et al. 2023 (eq. 9). A subclass names the prediction.

    Attributes:
        sigma_data: the deviation of a value of the data, for F.
    """

    sigma_data: float = 0.5
    prediction: ClassVar[str]

    def weight(self, process: Gaussian, t: Array, like: Images) -> Array:
        """(det/sigma)^2."""
        at = point(process, t, like, self.sigma_data)
        p, q = PREDICTIONS[self.prediction](at)
        return jnp.square(at.alpha * q / at.sigma - p)


class Simple(Space):
    """L_simple: the error of epsilon (Ho et al. 2020, eq. 14)."""

    prediction = "epsilon"
    blind_at_zero_alpha = True


class Score(Space):
    """The error of the score."""

    prediction = "score"
    blind_at_zero_alpha = True

    def refusals(self, name: str, traits: Traits, schedule: str) -> Iterator[Refusal]:
        """The score is infinite where sigma(0) = 0."""
        yield from super().refusals(name, traits, schedule)
        if traits.sigma_start == 0:
            yield Refusal("name", f"the score is infinite where {schedule} begins, sigma(0) = 0; use simple")


class X0(Space):
    """The error of x itself."""

    prediction = "x0"


class V(Space):
    """The error of v (Salimans and Ho 2022)."""

    prediction = "v"


class Velocity(Space):
    """The error of the velocity (Lipman et al. 2023, eq. 9)."""

    prediction = "velocity"
    needs_rates = True


class Edm(Space):
    """The error of EDM's F (Karras et al. 2022, eq. 8 with lambda = 1/c_out^2)."""

    prediction = "F"


@dataclass(frozen=True)
class MinSNR(Weighted):
    """min(SNR, gamma) (x - x_hat)^2 (Hang et al. 2023, eq. 9).

    Attributes:
        min_snr: gamma.
    """

    min_snr: float = 5.0
    blind_at_zero_alpha: ClassVar[bool] = True

    def weight(self, process: Gaussian, t: Array, like: Images) -> Array:
        """min(SNR, gamma)."""
        return jnp.minimum(process.snr(t, like), self.min_snr)


@dataclass(frozen=True)
class Sigmoid(Objective):
    """sigmoid(b - lambda) times the bound's density in t over sites, lambda = log SNR (Kingma and Gao 2023, eq. 15).

    Attributes:
        sigmoid_bias: b.
    """

    sigmoid_bias: float = 2.0
    needs_rates: ClassVar[bool] = True

    def term(
        self, process: Gaussian, posterior: Any, x: Images, z: Images, t: Array, s: Array
    ) -> Float[Array, " batch"]:
        """The weighted density at t."""
        weight = jax.nn.sigmoid(self.sigmoid_bias - process.log_snr(t, t))
        return weight * process.elbo(posterior, x, z, t, t) / x[0].size


def _interval(
    process: Process, posterior: Any, x: Images, z: Removal, t: Array, s: Array, steps: int, unit: float
) -> Float[Array, " batch"]:
    """The process's own term of one interval that stands for `steps`, a value of x, in `unit` nats."""
    return max(steps, 1) * process.elbo(posterior, x, z, t, s) / (x[0].size * unit)


@dataclass(frozen=True)
class Bits(Objective):
    """The variational bound in bits per dimension (Ho et al. 2020, eq. 5; Kingma et al. 2021, eq. 11 and 15).

    One interval of `steps` stands for all of them; `steps` = 0 is continuous time, where the term is a density.
    """

    steps: int = 0
    kinds: ClassVar[tuple[str, ...]] = ("gaussian", "ordered", "uniform")
    points: ClassVar[bool | None] = False
    trains_variance: ClassVar[bool | None] = None

    def term(
        self, process: Process, posterior: Any, x: Images, z: Removal, t: Array, s: Array
    ) -> Float[Array, " batch"]:
        """The interval's share of the bound."""
        return _interval(process, posterior, x, z, t, s, self.steps, math.log(2))

    def once(self, process: Process, x: Images) -> Float[Array, " batch"]:
        """The prior's term."""
        return process.prior_loss(x) / (x[0].size * math.log(2))


@dataclass(frozen=True)
class OneLook(Objective):
    """-log p(x) in bits per dimension from one look at the whole image, where t = s = 0 and x_t = x.

    The posterior of a causal network at a site is one given the sites before it, so that their sum is the exact
    likelihood (the chain rule). Of any other network, which sees the answer, it means nothing.
    """

    kinds: ClassVar[tuple[str, ...]] = ("ordered",)
    one_look: ClassVar[bool] = True
    points: ClassVar[bool | None] = False

    def term(
        self, process: Process, posterior: Any, x: Images, z: Removal, t: Array, s: Array
    ) -> Float[Array, " batch"]:
        """The mean over sites."""
        return _mean(posterior.loss(x)) / math.log(2)


@dataclass(frozen=True)
class Hidden(Objective):
    """-log p in bits, its mean over the values that are hidden, whatever their number (Chang et al. 2022, eq. 1).

    Unlike the bound it looks most at times that the schedule of keeping looks at most: with `cosine`, where little is
    shown. It bounds nothing, but where sites are taken one by one at an even pace: there it is the bound.
    """

    kinds: ClassVar[tuple[str, ...]] = ("ordered",)
    points: ClassVar[bool | None] = False

    def term(
        self, process: Process, posterior: Any, x: Images, z: Removal, t: Array, s: Array
    ) -> Float[Array, " batch"]:
        """The mean over hidden values; 0 where none is."""
        loss, hidden = posterior.loss(x), process.corrupt(x, z, t) != x
        total = sum_sites(jnp.where(hidden[..., : loss.shape[-1]], loss, 0))  # one loss a pixel, or one a value
        return total / (jnp.maximum(sum_sites(hidden.astype(x.dtype)), 1) * math.log(2))


@dataclass(frozen=True)
class Regression(Objective):
    """Half the squared error of the sites revealed, its mean over intervals and sites, for a posterior that is a point.

    One interval of `steps` stands for all of them. With one, t = 1 and s = 0, it is (x - x_hat)^2 / 2 of an image from
    nothing but its condition. Where a process adds noise the error is weighed as in its bound.
    """

    steps: int = 0
    kinds: ClassVar[tuple[str, ...]] = ("ordered",)
    points: ClassVar[bool | None] = True

    def term(
        self, process: Process, posterior: Any, x: Images, z: Removal, t: Array, s: Array
    ) -> Float[Array, " batch"]:
        """The interval's share."""
        return _interval(process, posterior, x, z, t, s, self.steps, 1.0)


@dataclass(frozen=True)
class CausalRegression(Objective):
    """Half the squared error of all sites, their mean, from one look at the whole image, for a point.

    It is to `Regression` what `OneLook` is to `Bits`: of a causal network, whose answer at a site is one given the
    sites before it.
    """

    kinds: ClassVar[tuple[str, ...]] = ("ordered",)
    one_look: ClassVar[bool] = True
    points: ClassVar[bool | None] = True

    def term(
        self, process: Process, posterior: Any, x: Images, z: Removal, t: Array, s: Array
    ) -> Float[Array, " batch"]:
        """The mean over sites."""
        return _mean(posterior.loss(x))


@dataclass(frozen=True)
class Hybrid(Objective):
    """L_simple for the mean plus `hybrid` times the bound for the variance alone (Nichol and Dhariwal 2021, eq. 16)."""

    steps: int = 1000
    hybrid: float = 0.001
    blind_at_zero_alpha: ClassVar[bool] = True
    trains_variance: ClassVar[bool | None] = True

    def term(
        self, process: Gaussian, posterior: Any, x: Images, z: Images, t: Array, s: Array
    ) -> Float[Array, " batch"]:
        """Both parts."""
        variance_only = Bits(self.steps).term(process, posterior.with_fixed_mean(), x, z, t, s)
        return Simple(1.0).term(process, posterior, x, z, t, s) + self.hybrid * variance_only


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """-log p(y | x_t) in nats of the label y that comes with an image: trains a classifier of noisy images.

    Of a posterior over labels (`denoisers.Labels`); an image whose label nobody knows counts as 0.
    """

    def term(
        self, process: Process, posterior: Any, x: Images, z: Removal, t: Array, s: Array
    ) -> Float[Array, " batch"]:
        """The label's."""
        return -posterior.log_prob


OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "simple": Simple,
    "score": Score,
    "x0": X0,
    "v": V,
    "velocity": Velocity,
    "edm": Edm,
    "min_snr": MinSNR,
    "sigmoid": Sigmoid,
    "bound": Bits,
    "hybrid": Hybrid,
    "likelihood": OneLook,
    "hidden": Hidden,
    "regression": Regression,
    "causal_regression": CausalRegression,
    "classifier": CrossEntropy,
}
"""Each objective by its name; its options are its fields."""


def loss(
    process: Process,
    denoise: Denoiser,
    objective: Objective,
    keys: Key[Array, " batch"],
    x: Images,
    condition: PyTree,
    t: Float[Array, " batch"],
    s: Float[Array, " batch"],
    weight: Float[Array, " batch"] | float = 1.0,
) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
    """The objective at x_t, a draw of q(x_t | x) for each example: weight * term + once, and the term alone; `[batch]`.

    The times of a batch come from outside because they may depend on one another (stratified times), while the noise
    of an example depends on its key alone. That is what lets devices share a batch without changing the recipe. So does
    `weight`, which makes up for times that were not drawn uniformly; how they are drawn may depend on past terms.
    """
    z = process.noise(keys, x.shape)
    posterior = denoise(process.corrupt(x, z, t), t, condition)
    term = objective.term(process, posterior, x, z, t, s)
    return weight * term + objective.once(process, x), term
