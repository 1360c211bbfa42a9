"""Schedules given by a formula in t, so with derivatives: diffusion SDEs, EDM, flow matching, shifted cosine.

Each is a frozen, hashable dataclass whose fields are its options. Formulas are arranged so that small sigmas and small
alphas keep their digits in float32, in value and in derivative.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from ddpm_jax.schedules.table import Pair, Time


def _check_betas(beta_min: float, beta_max: float) -> None:
    if not 0 < beta_min <= beta_max:
        raise ValueError(f"beta_min {beta_min} and beta_max {beta_max} must be above 0 and in this order")


def _check_sigmas(sigma_min: float, sigma_max: float) -> None:
    if not 0 < sigma_min < sigma_max:
        raise ValueError(f"sigma_min {sigma_min} must be above 0 and below sigma_max {sigma_max}")


def _log_alpha(t: Array, beta_min: float, beta_max: float) -> Array:
    """-1/2 the integral of beta = beta_min + t (beta_max - beta_min) from 0 to t."""
    return -t * (beta_min / 2 + t * (beta_max - beta_min) / 4)


def _one_minus_exp(x: Array) -> Array:
    """1 - e^x for x <= 0. The derivative of expm1 cancels where e^x is small, that of exp does not."""
    return jnp.where(x > -1, -jnp.expm1(x), 1 - jnp.exp(x))


@dataclass(frozen=True)
class VP:
    """The variance-preserving SDE (Song et al. 2021b, eq. 11): dx = -beta/2 x dt + sqrt(beta) dw.

    beta(t) = beta_min + t (beta_max - beta_min); alpha = exp(-1/2 int beta), sigma^2 = 1 - alpha^2.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    continuous: ClassVar[bool] = True
    t_min: ClassVar[float] = 1e-5  # of training and likelihood (Song et al. 2021b, appendix C)

    def __post_init__(self) -> None:
        _check_betas(self.beta_min, self.beta_max)

    def __call__(self, t: Time) -> Pair:
        log_alpha = _log_alpha(jnp.asarray(t), self.beta_min, self.beta_max)
        return jnp.exp(log_alpha), jnp.sqrt(_one_minus_exp(2 * log_alpha))


@dataclass(frozen=True)
class SubVP:
    """The sub-VP SDE (Song et al. 2021b, eq. 12): VP's drift and mean, with the smaller sigma = 1 - alpha^2."""

    beta_min: float = 0.1
    beta_max: float = 20.0
    continuous: ClassVar[bool] = True
    t_min: ClassVar[float] = 1e-5

    def __post_init__(self) -> None:
        _check_betas(self.beta_min, self.beta_max)

    def __call__(self, t: Time) -> Pair:
        log_alpha = _log_alpha(jnp.asarray(t), self.beta_min, self.beta_max)
        return jnp.exp(log_alpha), _one_minus_exp(2 * log_alpha)


@dataclass(frozen=True)
class VE:
    """The variance-exploding SDE (Song et al. 2021b, eq. 9): alpha = 1, sigma geometric in t.

    sigma(t) = sigma_min (sigma_max/sigma_min)^t. The defaults are twice those of the paper, whose data lie in [0, 1].
    """

    sigma_min: float = 0.02
    sigma_max: float = 100.0
    continuous: ClassVar[bool] = True
    t_min: ClassVar[float] = 1e-5

    def __post_init__(self) -> None:
        _check_sigmas(self.sigma_min, self.sigma_max)

    def __call__(self, t: Time) -> Pair:
        t = jnp.asarray(t)
        rate = math.log(self.sigma_max / self.sigma_min)
        from_below = self.sigma_min * jnp.exp(rate * t)
        from_above = self.sigma_max * jnp.exp(-rate * (1 - t))
        return jnp.ones_like(t), jnp.where(t < 0.5, from_below, from_above)  # each is exact at its end


@dataclass(frozen=True)
class EDM:
    """EDM's noise levels as a schedule (Karras et al. 2022, eq. 5): alpha = 1, sigma^(1/rho) linear in t.

    sigma(t) = (sigma_min^(1/rho) + t (sigma_max^(1/rho) - sigma_min^(1/rho)))^rho, so that even steps in t are theirs.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0
    continuous: ClassVar[bool] = True
    t_min: ClassVar[float] = 1e-5

    def __post_init__(self) -> None:
        _check_sigmas(self.sigma_min, self.sigma_max)
        if not self.rho > 0:
            raise ValueError(f"rho {self.rho} must be above 0")

    def __call__(self, t: Time) -> Pair:
        t = jnp.asarray(t)
        ratio = (self.sigma_max / self.sigma_min) ** (1 / self.rho)
        from_below = self.sigma_min * (1 + t * (ratio - 1)) ** self.rho
        from_above = self.sigma_max * (1 - (1 - t) * (1 - 1 / ratio)) ** self.rho
        return jnp.ones_like(t), jnp.where(t < 0.5, from_below, from_above)  # each is exact at its end


@dataclass(frozen=True)
class Flow:
    """Straight paths from the image to noise, (1 - t, t) (Liu et al. 2023; Lipman et al. 2023 with sigma_min = 0).

    alpha(1) = 0: the end is pure noise. Time runs the other way in both papers.

    With a `shift` other than 1 it is (1 - u, u) at u = shift t/(1 + (shift - 1) t) (Esser et al. 2024, section 5.3.2):
    a larger image needs more noise to be hidden as well. For images of n times the pixels they derive sqrt(n), which is
    `shift_of_size`.
    """

    shift: float = field(default=1.0, metadata={"later": True})
    continuous: ClassVar[bool] = True
    t_min: ClassVar[float] = 1e-3

    def __post_init__(self) -> None:
        if not self.shift > 0:
            raise ValueError(f"shift {self.shift} must be above 0")

    def __call__(self, t: Time) -> Pair:
        t = jnp.asarray(t)
        if self.shift == 1:
            return 1 - t, t
        image, noise = 1 - t, self.shift * t
        alpha, sigma = image / (image + noise), noise / (image + noise)
        mostly_image = image > noise  # the smaller of the two keeps its digits, in value and in derivative
        return jnp.where(mostly_image, 1 - sigma, alpha), jnp.where(mostly_image, sigma, 1 - alpha)


def shift_of_size(pixels: int, base: int) -> float:
    """sqrt(pixels/base), the `shift` of `Flow` for images of so many pixels where 1 is right for `base` of them.

    It keeps the uncertainty about the image at a time (Esser et al. 2024, section 5.3.2). In a config file:
    `config.process.shift = shift_of_size(64 * 64, 32 * 32)`.

    >>> shift_of_size(64 * 64, 32 * 32)
    2.0
    """
    return math.sqrt(pixels / base)


@dataclass(frozen=True)
class Cosine:
    """The cosine schedule in continuous time, shifted (Hoogeboom et al. 2023, section 3.1).

    log-SNR(t) = -2 log tan(pi t/2) + 2 log shift with alpha^2 + sigma^2 = 1: shift = 1 is (cos, sin) of pi t/2, and for
    images of d x d pixels they take shift = 64/d. alpha(1) = 0: the end is pure noise.
    """

    shift: float = 1.0
    continuous: ClassVar[bool] = True
    t_min: ClassVar[float] = 1e-3

    def __post_init__(self) -> None:
        if not self.shift > 0:
            raise ValueError(f"shift {self.shift} must be above 0")

    def __call__(self, t: Time) -> Pair:
        cosine, sine = _quarter_circle(jnp.asarray(t))
        alpha, sigma = self.shift * cosine, sine  # but for their length
        mostly_image = alpha > sigma
        ratio = jnp.where(mostly_image, sigma, alpha) / jnp.where(mostly_image, alpha, sigma)
        large = 1 / jnp.sqrt(1 + jnp.square(ratio))
        small = ratio * large
        return jnp.where(mostly_image, large, small), jnp.where(mostly_image, small, large)


def _quarter_circle(t: Array) -> tuple[Float[Array, "*time"], Float[Array, "*time"]]:
    """(cos, sin) of pi t/2, to full relative accuracy at both ends, in value and in derivative."""
    low, high = math.pi / 2 * t, math.pi / 2 * (1 - t)
    first_half = t < 0.5
    cosine = jnp.where(first_half, jnp.cos(low), jnp.sin(high))
    return cosine, jnp.where(first_half, jnp.sin(low), jnp.cos(high))
