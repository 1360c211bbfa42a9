"""Schedules known at the times i/T only: DDPM's tables, and the straight lines that join their entries."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Time = Float[Array | np.ndarray, "*time"] | float
Pair = tuple[Float[Array, "*time"], Float[Array, "*time"]]
Schedule = Callable[[Time], Pair]
"""t in [0, 1] -> (alpha, sigma): how much of the image is left, and how much noise there is."""


@dataclass(frozen=True, eq=False)
class Table:
    """A schedule known at the times i/T only, i = 0 ... T, where index 0 is the clean image.

    Attributes:
        alphas: `[T + 1]`, float64, `alphas[0] = 1`.
        sigmas: `[T + 1]`, float64, `sigmas[0] = 0`.

    A time between two entries means the nearest one, so there is no derivative in t: a table serves intervals, not
    continuous-time losses. Its values are computed in float64, for 1 - alpha^2 cancels near t = 0.
    """

    alphas: np.ndarray
    sigmas: np.ndarray
    continuous: ClassVar[bool] = False

    @classmethod
    def from_betas(cls, betas: np.ndarray) -> "Table":
        """The table of DDPM's forward process, alpha_i^2 = prod_{j <= i} (1 - beta_j) (Ho et al. 2020, eq. 4).

        `betas` is `[T]`, each in (0, 1).
        """
        if not np.all((betas > 0) & (betas < 1)):
            raise ValueError("each beta must lie in (0, 1)")
        log_squared = np.concatenate([[0.0], np.cumsum(np.log1p(-betas.astype(np.float64)))])
        return cls(alphas=np.exp(log_squared / 2), sigmas=np.sqrt(-np.expm1(log_squared) + 0.0))  # not -0

    @property
    def steps(self) -> int:
        """T, the number of steps."""
        return len(self.alphas) - 1

    @property
    def t_min(self) -> float:
        """1/T, the least time above 0."""
        return 1 / self.steps

    def __call__(self, t: Time) -> Pair:
        """(alpha, sigma) at the table's entry nearest to `t`."""
        if isinstance(t, np.ndarray) and t.dtype == np.float32:  # the same, without a program for each operation
            at = np.clip(np.round(t * np.float32(self.steps)).astype(np.int32), 0, self.steps)
            return jnp.asarray(self.alphas.astype(t.dtype)[at]), jnp.asarray(self.sigmas.astype(t.dtype)[at])
        t = jnp.asarray(t)
        index = jnp.clip(jnp.round(t * self.steps).astype(jnp.int32), 0, self.steps)
        return jnp.asarray(self.alphas, t.dtype)[index], jnp.asarray(self.sigmas, t.dtype)[index]


def ddpm_linear(steps: int = 1000, beta_min: float = 0.1, beta_max: float = 20.0) -> Table:
    """DDPM's schedule: betas on a straight line from `beta_min`/T to `beta_max`/T (Ho et al. 2020, section 4).

    For T = 1000 they are theirs, 1e-4 to 0.02. Dividing by T leaves the noise at the end about the same for any T
    (Nichol and Dhariwal 2021, their code); as T grows the table tends to the schedule `VP` with the same two ends.
    Raises ValueError where a beta is not in (0, 1).
    """
    _check_steps(steps)
    return Table.from_betas(np.linspace(beta_min, beta_max, steps) / steps)


def ddpm_cosine(steps: int = 1000, offset: float = 0.008, cap: float = 0.999) -> Table:
    """The cosine schedule (Nichol and Dhariwal 2021, eq. 17).

    alpha(t)^2 = f(t)/f(0) with f(t) = cos^2((t + offset)/(1 + offset) pi/2), and no beta above `cap`.
    """
    _check_steps(steps)
    f = np.cos((np.arange(steps + 1) / steps + offset) / (1 + offset) * np.pi / 2) ** 2
    return Table.from_betas(np.minimum(1 - f[1:] / f[:-1], cap))


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"a table needs at least 1 step, not {steps}")


def from_log_snr(value: Float[Array, "*time"]) -> Pair:
    """(alpha, sigma) with alpha^2 + sigma^2 = 1 and 2 log(alpha/sigma) = `value`.

    Through softplus, because sqrt(sigmoid)'s derivative cancels where the sigmoid is near 1.
    """
    return jnp.exp(-jax.nn.softplus(-value) / 2), jnp.exp(-jax.nn.softplus(value) / 2)


@dataclass(frozen=True, eq=False)
class Interpolated:
    """A table made continuous in t: its log-SNR, and log(alpha^2 + sigma^2), run straight from entry to entry.

    At the table's times from 1/T on it has the table's values. Below 1/T, where the table's log-SNR goes to infinity,
    the first line goes on. The derivatives jump at the entries.

    Attributes:
        log_snrs: `[T]`, float64, 2 log(alpha/sigma) at 1/T ... 1.
        log_powers: `[T]`, float64, log(alpha^2 + sigma^2) there.
    """

    log_snrs: np.ndarray
    log_powers: np.ndarray
    continuous: ClassVar[bool] = True

    @property
    def t_min(self) -> float:
        """1/T of the table."""
        return 1 / len(self.log_snrs)

    def __call__(self, t: Time) -> Pair:
        """(alpha, sigma) on the line through the two entries around `t`."""
        t = jnp.asarray(t)
        steps = len(self.log_snrs)
        index = jnp.clip(jnp.floor(t * steps).astype(jnp.int32) - 1, 0, steps - 2)
        beyond = t * steps - (index + 1)

        def line(values: np.ndarray) -> Array:
            slopes = jnp.asarray(np.diff(values), t.dtype)  # in float64, for entries differ little
            return jnp.asarray(values, t.dtype)[index] + slopes[index] * beyond

        alpha, sigma = from_log_snr(line(self.log_snrs))
        scale = jnp.exp(line(self.log_powers) / 2)
        return scale * alpha, scale * sigma


def interpolated(schedule: Schedule) -> Schedule:
    """A schedule with derivatives in t: a table's entries joined by straight lines, any other schedule itself.

    Raises ValueError for a table of one step or with alpha(1) = 0, whose log-SNR no line can reach.
    """
    if not isinstance(schedule, Table):
        return schedule
    alphas, sigmas = schedule.alphas[1:], schedule.sigmas[1:]
    if len(alphas) < 2 or not np.all(alphas > 0):
        raise ValueError("a table can be interpolated if it has 2 steps or more and alpha(1) > 0")
    log_powers = np.log(alphas**2 + sigmas**2)
    log_powers[np.abs(log_powers) < 1e-12] = 0.0  # variance preserving, but for rounding
    return Interpolated(2 * (np.log(alphas) - np.log(sigmas)), log_powers)
