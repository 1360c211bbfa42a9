"""The one training loss. A process removes, a denoiser predicts, an objective weighs the error.

The process owns the bound's weight (`elbo`); an objective owns every other. Imports `processes` and `denoisers`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ddpm_jax.denoisers import PREDICTIONS, Denoise, point
from ddpm_jax.processes import Gaussian, Process
from ddpm_jax.processes.process import Images

Term = Callable[[Any, Any, Images, Images, Array, Array], Float[Array, " batch"]]
"""`(process, posterior, x, z, t, s) -> [batch]`."""


@dataclass(frozen=True)
class Objective:
    """What is minimised: the mean over times of `term`, plus `once`, which does not depend on the time.

    Attributes:
        term: the loss of the interval (s, t]; s = t in continuous time.
        once: `(process, x) -> [batch]`; it matters only where the process has parameters.
        needs_rates: whether it needs the schedule's derivatives.
        blind_at_zero_alpha: whether its weight on x is that of an error of epsilon where alpha = 0: none.
    """

    term: Term
    once: Callable[[Any, Images], Float[Array, " batch"]] = lambda process, x: jnp.zeros(x.shape[0], x.dtype)
    needs_rates: bool = False
    blind_at_zero_alpha: bool = False


def _mean(values: Images) -> Float[Array, " batch"]:
    return values.reshape(values.shape[0], -1).mean(axis=1)


def weighted(weight: Callable[[Gaussian, Array, Images], Array]) -> Term:
    """weight(t) (x - x_hat)^2, its mean over sites."""

    def term(process: Gaussian, posterior: Any, x: Images, z: Images, t: Array, s: Array) -> Float[Array, " batch"]:
        return _mean(weight(process, t, x) * posterior.squared_error(x, z))

    return term


def space(prediction: str, sigma_data: float) -> Term:
    """The squared error of a prediction, p x + q z, whatever the network puts out: (det/sigma)^2 (x - x_hat)^2.

    det = alpha q - sigma p. For epsilon it is L_simple (Ho et al. 2020, eq. 14); for F the loss of Karras et al. 2022
    (eq. 8 with lambda = 1/c_out^2); for velocity that of Lipman et al. 2023 (eq. 9).
    """

    def weight(process: Gaussian, t: Array, like: Images) -> Array:
        at = point(process, t, like, sigma_data)
        p, q = PREDICTIONS[prediction](at)
        return jnp.square(at.alpha * q / at.sigma - p)

    return weighted(weight)


def min_snr(gamma: float) -> Term:
    """min(SNR, gamma) (x - x_hat)^2 (Hang et al. 2023, eq. 9)."""
    return weighted(lambda process, t, like: jnp.minimum(process.snr(t, like), gamma))


def sigmoid(bias: float) -> Term:
    """sigmoid(b - lambda) times the bound's density in t over sites, lambda = log SNR (Kingma and Gao 2023, eq. 15)."""

    def term(process: Gaussian, posterior: Any, x: Images, z: Images, t: Array, s: Array) -> Float[Array, " batch"]:
        weight = jax.nn.sigmoid(bias - process.log_snr(t, t))
        return weight * process.elbo(posterior, x, z, t, t) / x[0].size

    return term


def _interval(steps: int, unit: float) -> Term:
    """The process's own term of one interval that stands for `steps`, a value of x, in `unit` nats."""

    def term(process: Process, posterior: Any, x: Images, z: Images, t: Array, s: Array) -> Float[Array, " batch"]:
        return max(steps, 1) * process.elbo(posterior, x, z, t, s) / (x[0].size * unit)

    return term


def bits(steps: int) -> Objective:
    """The variational bound in bits per dimension (Ho et al. 2020, eq. 5; Kingma et al. 2021, eq. 11 and 15).

    One interval of `steps` stands for all of them; `steps` = 0 is continuous time, where the term is a density.
    """

    return Objective(
        _interval(steps, math.log(2)), once=lambda process, x: process.prior_loss(x) / (x[0].size * math.log(2))
    )


def likelihood() -> Objective:
    """-log p(x) in bits per dimension from one look at the whole image, where t = s = 0 and x_t = x.

    The posterior of a causal network at a site is one given the sites before it, so that their sum is the exact
    likelihood (the chain rule). Of any other network, which sees the answer, it means nothing.
    """

    def term(process: Process, posterior: Any, x: Images, z: Images, t: Array, s: Array) -> Float[Array, " batch"]:
        return _mean(posterior.loss(x)) / math.log(2)

    return Objective(term)


def regression(steps: int) -> Objective:
    """Half the squared error of the sites revealed, its mean over intervals and sites, for a posterior that is a point.

    One interval of `steps` stands for all of them. With one, t = 1 and s = 0, it is (x - x_hat)^2 / 2 of an image from
    nothing but its condition. Where a process adds noise the error is weighed as in its bound.
    """

    return Objective(_interval(steps, 1.0))


def causal_regression() -> Objective:
    """Half the squared error of all sites, their mean, from one look at the whole image, for a point.

    It is to `regression` what `likelihood` is to `bound`: of a causal network, whose answer at a site is one given the
    sites before it.
    """

    def term(process: Process, posterior: Any, x: Images, z: Images, t: Array, s: Array) -> Float[Array, " batch"]:
        return _mean(posterior.loss(x))

    return Objective(term)


def hybrid(steps: int, weight: float) -> Objective:
    """L_simple for the mean plus `weight` times the bound for the variance alone (Nichol and Dhariwal 2021, eq. 16)."""
    simple, bound = space("epsilon", 1.0), bits(steps).term

    def term(process: Gaussian, posterior: Any, x: Images, z: Images, t: Array, s: Array) -> Float[Array, " batch"]:
        variance_only = bound(process, posterior.with_fixed_mean(), x, z, t, s)
        return simple(process, posterior, x, z, t, s) + weight * variance_only

    return Objective(term, blind_at_zero_alpha=True)


@dataclass(frozen=True)
class Options:
    """What objectives may depend on. `steps` is T, 0 in continuous time."""

    steps: int = 1000
    sigma_data: float = 0.5
    min_snr: float = 5.0
    sigmoid_bias: float = 2.0
    hybrid: float = 0.001


OBJECTIVES: dict[str, Callable[[Options], Objective]] = {
    "simple": lambda o: Objective(space("epsilon", o.sigma_data), blind_at_zero_alpha=True),
    "score": lambda o: Objective(space("score", o.sigma_data), blind_at_zero_alpha=True),
    "x0": lambda o: Objective(space("x0", o.sigma_data)),
    "v": lambda o: Objective(space("v", o.sigma_data)),
    "velocity": lambda o: Objective(space("velocity", o.sigma_data), needs_rates=True),
    "edm": lambda o: Objective(space("F", o.sigma_data)),
    "min_snr": lambda o: Objective(min_snr(o.min_snr), blind_at_zero_alpha=True),
    "sigmoid": lambda o: Objective(sigmoid(o.sigmoid_bias), needs_rates=True),
    "bound": lambda o: bits(o.steps),
    "hybrid": lambda o: hybrid(o.steps, o.hybrid),
    "likelihood": lambda o: likelihood(),
    "regression": lambda o: regression(o.steps),
    "causal_regression": lambda o: causal_regression(),
}


def loss(
    process: Process,
    denoise: Denoise,
    objective: Objective,
    keys: Key[Array, " batch"],
    x: Images,
    condition: Any,
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
