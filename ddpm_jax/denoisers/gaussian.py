"""Parameterisations: what a network's raw output means, raw = p(t) x + q(t) z, and what the network is told.

With x_t = alpha x + sigma z this is a linear system of two equations in (x, z). One solve serves every prediction.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ddpm_jax.denoisers.categorical import Categorical, level_logits
from ddpm_jax.denoisers.posteriors import Normal, Output
from ddpm_jax.processes.gaussian import Gaussian
from ddpm_jax.processes.process import Images, Refusal, Times, Traits, expand


@dataclass(frozen=True)
class Point:
    """A time, as a prediction's (p, q) see it. Arrays broadcast to `[batch, *site]`.

    Attributes:
        alpha: of the process at t > 0.
        sigma: likewise.
        rates: gives (alpha', sigma'), for schedules that have derivatives.
        sigma_data: the deviation of a value of the data.
    """

    alpha: Array
    sigma: Array
    rates: Callable[[], tuple[Array, Array]]
    sigma_data: float

    @property
    def unit(self) -> Array:
        """1 / the deviation of a value of x_t: c_in of Karras et al. 2022, table 1."""
        return jax.lax.rsqrt(jnp.square(self.alpha * self.sigma_data) + jnp.square(self.sigma))


def point(process: Gaussian, t: Times, like: Images, sigma_data: float) -> Point:
    """The process at time t, broadcastable to `like`."""
    alpha, sigma = process.at(t, like)
    return Point(alpha, sigma, lambda: process.rates(t, like), sigma_data)


def _edm(at: Point) -> tuple[Array, Array]:
    """x = c_skip x_t + c_out F, with the c_skip and c_out that make F's target of unit variance and its error small.

    c_skip = alpha sd^2 / (alpha^2 sd^2 + sigma^2), c_out = sigma sd / sqrt(alpha^2 sd^2 + sigma^2); for alpha = 1 they
    are those of Karras et al. 2022, table 1. Then F = (x - c_skip x_t) / c_out = p x + q z with the below, where
    1 - c_skip alpha = sigma^2 / (alpha^2 sd^2 + sigma^2) has been put in.
    """
    return at.sigma * at.unit / at.sigma_data, -at.alpha * at.sigma_data * at.unit


PREDICTIONS: dict[str, Callable[[Point], tuple[Array, Array]]] = {
    "x0": lambda at: (jnp.ones_like(at.alpha), jnp.zeros_like(at.alpha)),
    "epsilon": lambda at: (jnp.zeros_like(at.alpha), jnp.ones_like(at.alpha)),
    "score": lambda at: (jnp.zeros_like(at.alpha), -1 / at.sigma),  # Song and Ermon 2019
    "v": lambda at: (-at.sigma, at.alpha),  # Salimans and Ho 2022
    "velocity": lambda at: at.rates(),  # Lipman et al. 2023
    "F": _edm,
}
"""Each prediction's (p, q). epsilon and score say nothing of x where alpha = 0; score is infinite where sigma = 0."""

BLIND_AT_ZERO_ALPHA = ("epsilon", "score")
"""Predictions from which x cannot be told where alpha = 0."""

LEARNED = ("learned", "learned_range")
"""Variances that the network puts out."""


def _fixed_large(process: Gaussian, t: Array, steps: int, raw: Any) -> Array:
    _, sigma = process.at(t, t)
    large = jnp.square(sigma)
    return jnp.where(t < 1.5 / steps, process.decoder_variance(t, t), large) if process.second else large


def _learned(process: Gaussian, t: Array, steps: int, raw: Any) -> Array:
    _, sigma = process.at(t, t)
    return jnp.square(sigma) * jax.nn.sigmoid(raw)


def _learned_range(process: Gaussian, t: Array, steps: int, raw: Any) -> Array:
    """With e = (SNR(s) - SNR(t)) sigma_t^2, s = t - 1/T: beta = (1 + e) beta tilde, so w = ((1 + e)^v - 1)/e."""
    _, sigma = process.at(t, t)
    share, last = (raw + 1) / 2, t < 1.5 / steps
    s = jnp.where(last, 0.5 * t, t - 1 / steps)  # where it is the last, of no use, but not the same as t
    gain = (process.snr(s, s) - process.snr(t, t)) * jnp.square(sigma)
    gain = jnp.where(last, 1.0, gain)
    between = jnp.square(sigma) * jnp.expm1(share * jnp.log1p(gain)) / gain
    least = jnp.log(process.step_variance(jnp.asarray(2 / steps, t.dtype), jnp.asarray(1 / steps, t.dtype), t))
    return jnp.where(last, jnp.exp(least + share * (2 * jnp.log(sigma) - least)), between)


VARIANCES: dict[str, Callable[[Gaussian, Array, int, Any], Array | None]] = {
    "fixed_small": lambda process, t, steps, raw: None,
    "fixed_large": _fixed_large,
    "learned": _learned,
    "learned_range": _learned_range,
}
"""The variance of x given x_t, which decides the variance of a step.

A point posterior gives q(x_s | x_t, x_hat), whose variance is DDPM's lower choice, beta tilde. A normal of variance
w sigma_t^2 adds w alpha_s^2 rho^4 sigma_t^2 to it; for w = 1 the sum is DDPM's upper choice, beta (Ho et al. 2020,
section 3.2). Both hold where alpha^2 + sigma^2 = 1 and eta = 1. A learned one lies between:

- `learned`: w = sigmoid(raw), between the variances.
- `learned_range`: the step's variance is beta^v (beta tilde)^(1 - v), v = (raw + 1)/2, between their logarithms (Nichol
  and Dhariwal 2021, eq. 15, and their code). In the last step, whose beta tilde is 0, it is that of the second step; so
  their checkpoints mean here what they mean there, in steps of 1/T. A longer step goes from the same w.
"""

C_NOISE: dict[str, Callable[[Gaussian, Float[Array, " batch"], int], Float[Array, " batch"]]] = {
    "index": lambda process, t, steps: t * steps - 1,
    "thousand": lambda process, t, steps: 999 * t,
    "log_sigma": lambda process, t, steps: -0.5 * process.log_snr(t, t) - jnp.log(2.0),
    "quarter_log_sigma": lambda process, t, steps: -0.125 * process.log_snr(t, t),
    "log_snr": lambda process, t, steps: 1000 * (13.3 - process.log_snr(t, t)) / 18.3,
}
"""What the network is told of the time (c_noise), by name.

`index` is DDPM's i - 1 = 0 ... T - 1 for t = i/T. `thousand` is 999 t (score SDE, VP). `log_sigma` is
log(sigma/alpha / 2) (score SDE, VE, for images in [-1, 1]). `quarter_log_sigma` is log(sigma/alpha) / 4 (Karras et al.
2022, table 1). `log_snr` brings VDM's range -log SNR = -13.3 ... 5 to 0 ... 1000 (Kingma et al. 2021, their code).
"""

C_IN: dict[str, Callable[[Point], Array | float]] = {"none": lambda at: 1.0, "unit": lambda at: at.unit}
"""The factor of x_t before the network sees it (c_in), by name."""

CATEGORICAL = "categorical"
"""The prediction that is no combination of x and z: a logit for each level of each value."""


def solve(
    x_t: Images, raw: Images, alpha: Array, sigma: Array, p: Array, q: Array
) -> tuple[Images, Images, Float[Array, "..."]]:
    """(x, z, scale) from x_t = alpha x + sigma z and raw = p x + q z.

    With det = alpha q - sigma p: x = (q x_t - sigma raw)/det and z = (alpha raw - p x_t)/det. An error in raw is an
    error of scale = sigma/det in the recovered x, with the opposite sign. Needs det != 0.
    """
    det = alpha * q - sigma * p
    return (q * x_t - sigma * raw) / det, (alpha * raw - p * x_t) / det, sigma / det


INFINITE_AT_ZERO_ALPHA = ("log_sigma", "quarter_log_sigma", "log_snr")
"""Ways to tell the time that are infinite where alpha = 0."""


def time_refusals(time: str, traits: Traits, schedule: str, discrete: bool) -> Iterator[Refusal]:
    """What a way to tell the time does not go with; `schedule` is a name, `discrete`: time has steps."""
    if time in INFINITE_AT_ZERO_ALPHA and traits.zero_terminal:
        yield Refusal("time", f"{time} is infinite where {schedule} ends, at alpha(1) = 0; use thousand")
    if time == "index" and not discrete:
        yield Refusal("time", "there is no index in continuous time; use thousand, log_sigma or log_snr")


@dataclass(frozen=True)
class GaussianPrediction:
    """What a network's raw output means under a Gaussian process, and what the network is told.

    >>> GaussianPrediction("epsilon", variance="learned").numbers(channels=3, levels=256)
    6

    Attributes:
        output: a name in `PREDICTIONS`, or `categorical`: then raw holds logits over the levels, and the posterior is
            their product with the likelihood q(x_t | x) of each level.
        variance: a name in `VARIANCES`.
        time: a name in `C_NOISE`.
        input: a name in `C_IN`.
        steps: T, for the time told as an index.
        sigma_data: the deviation of a value of the data.
    """

    output: str = "epsilon"
    variance: str = "fixed_small"
    time: str = "index"
    input: str = "none"
    steps: int = 1000
    sigma_data: float = 0.5

    @property
    def likely(self) -> bool:
        """Whether images are given a probability."""
        return True

    def numbers(self, channels: int, levels: int | None) -> int:
        """How many numbers the network puts out for each pixel.

        Those of one kind come together: first the prediction of every channel, then its variance.
        """
        if self.output == CATEGORICAL:
            return channels * (levels or 0)
        return channels * (2 if self.variance in LEARNED else 1)

    def network_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of what the network is given, `[*space, channels]`: x_t, scaled."""
        return shape

    def denoiser(self, network: Any, process: Gaussian) -> "GaussianDenoiser":
        """The denoiser of a network `(x_t, time, condition) -> raw`, parameters and mode already bound."""
        return GaussianDenoiser(self, network, process)

    def refusals(
        self, traits: Traits, schedule: str = "its schedule", discrete: bool = True, apart: bool = False
    ) -> Iterator[Refusal]:
        """What does not go with a process; `schedule` is its schedule's name, `discrete`: time has steps."""
        silent = traits.zero_terminal
        if self.output in BLIND_AT_ZERO_ALPHA and silent:
            others = "v, x0, F or velocity" if traits.continuous else "v, x0 or F"
            yield Refusal(
                "prediction",
                f"{schedule} ends in pure noise, alpha(1) = 0, where {self.output} says nothing of the image; "
                f"use {others}",
            )
        if self.output == "score" and traits.sigma_start == 0:
            reason = f"the score is infinite where {schedule} begins, sigma(0) = 0; use epsilon"
            yield Refusal("prediction", reason)
        if self.output == "velocity" and not traits.continuous:
            yield Refusal(
                "prediction", f"it needs the schedule's derivatives, and {schedule} is a table; use v, or vp's schedule"
            )
        if self.variance in LEARNED and not discrete:
            yield Refusal(
                "variance",
                "nothing trains a variance in continuous time; set config.process.steps or fixed_small",
            )
        if self.output == CATEGORICAL and self.variance != "fixed_small":
            yield Refusal("variance", f"a categorical prediction has no {self.variance} variance; use fixed_small")
        yield from time_refusals(self.time, traits, schedule, discrete)


@dataclass(frozen=True, eq=False)
class GaussianDenoiser:
    """`(x_t, t, condition) -> Normal` (or `Categorical`), for t > 0.

    Attributes:
        prediction: what the network's output means.
        network: `(x_t, time, condition) -> raw`.
        process: whose alpha and sigma turn raw into the mean.
    """

    prediction: GaussianPrediction
    network: Any
    process: Gaussian

    def __call__(self, x_t: Images, t: Times, condition: PyTree = None) -> Normal | Categorical:
        """The posterior at x_t.

        Raises:
            ValueError: derivatives are needed that a table lacks, or levels that the process does not know.
        """
        said, process = self.prediction, self.process
        t = jnp.broadcast_to(t, x_t.shape[:1])
        at = point(process, t, x_t, said.sigma_data)
        raw = self.network(C_IN[said.input](at) * x_t, C_NOISE[said.time](process, t, said.steps), condition)
        if said.output == CATEGORICAL:
            if process.values is None:
                raise ValueError("a categorical prediction needs a process that knows the levels' values")
            values = jnp.asarray(process.values, x_t.dtype)
            return Categorical(level_logits(raw, x_t, at.alpha, at.sigma, values), values)
        raw, spread = jnp.split(raw, 2, axis=-1) if said.variance in LEARNED else (raw, None)
        p, q = PREDICTIONS[said.output](at)
        mean, _, scale = solve(x_t, raw, at.alpha, at.sigma, p, q)
        variance = VARIANCES[said.variance](process, expand(t, x_t), said.steps, spread)
        return Normal(mean, variance, Output(raw, p, q, scale))
