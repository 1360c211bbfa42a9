"""Schedules known at the times i/T only, and the straight lines that join their entries."""

import math
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


def with_pure_noise(table: Table) -> Table:
    """A variance-preserving table rescaled to alpha(1) = 0 (Lin et al. 2023, algorithm 1).

    With a the alpha at 1/T and b that at 1, alpha becomes (alpha - b) a/(a - b): the first stays, the last is 0.
    Raises ValueError for a table of one step, whose first entry is its last.
    """
    alphas, sigmas = table.alphas[1:], table.sigmas[1:]
    first, last = alphas[0], alphas[-1]
    if not last < first:
        raise ValueError("a table of 1 step cannot be rescaled to end in pure noise")
    scale = first / (first - last)
    scaled = np.array([1.0, first, *(scale * (alphas[1:-1] - last)), 0.0])
    # 1 - alpha, from what does not cancel near t = 0
    lost = (sigmas[0] ** 2) / (1 + first) + scale * (sigmas**2 - sigmas[0] ** 2) / (first + alphas)
    noise = np.sqrt(lost * (1 + scaled[1:]))
    return Table(scaled, np.array([0.0, sigmas[0], *noise[1:-1], 1.0]))


def from_log_snr(value: Float[Array, "*time"]) -> Pair:
    """(alpha, sigma) with alpha^2 + sigma^2 = 1 and 2 log(alpha/sigma) = `value`.

    Through softplus, because sqrt(sigmoid)'s derivative cancels where the sigmoid is near 1.
    """
    return jnp.exp(-jax.nn.softplus(-value) / 2), jnp.exp(-jax.nn.softplus(value) / 2)


@dataclass(frozen=True, eq=False)
class Interpolated:
    """A table made continuous in t: its log-SNR, and log(alpha^2 + sigma^2), run straight from entry to entry.

    At the table's times from 1/T on it has the table's values. Below 1/T, where the table's log-SNR goes to infinity,
    the first line goes on. Where the table ends in pure noise, alpha(1) = 0, it is alpha/sigma that runs straight in
    the last interval, to 0. The derivatives jump at the entries.

    Attributes:
        log_snrs: `[T]`, float64, 2 log(alpha/sigma) at 1/T ... 1; the last may be minus infinity.
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

        silent = self.log_snrs[-1] == -np.inf
        finite = np.append(self.log_snrs[:-1], self.log_snrs[-2]) if silent else self.log_snrs
        alpha, sigma = from_log_snr(line(finite))
        if silent:
            last = t * steps > steps - 1
            ratio = math.exp(self.log_snrs[-2] / 2) * steps * (1 - t)  # alpha/sigma
            length = jnp.sqrt(1 + jnp.square(ratio))
            alpha, sigma = jnp.where(last, ratio / length, alpha), jnp.where(last, 1 / length, sigma)
        scale = jnp.exp(line(self.log_powers) / 2)
        return scale * alpha, scale * sigma


def interpolated(schedule: Schedule) -> Schedule:
    """A schedule with derivatives in t: a table's entries joined by straight lines, any other schedule itself.

    Raises ValueError for a table with fewer than two entries with alpha > 0, or with alpha = 0 before its end.
    """
    if not isinstance(schedule, Table):
        return schedule
    alphas, sigmas = schedule.alphas[1:], schedule.sigmas[1:]
    if np.count_nonzero(alphas) < 2 or not np.all(alphas[:-1] > 0):
        raise ValueError("a table can be interpolated if it has 2 steps or more with alpha > 0, and 0 at the end alone")
    log_powers = np.log(alphas**2 + sigmas**2)
    log_powers[np.abs(log_powers) < 1e-12] = 0.0  # variance preserving, but for rounding
    with np.errstate(divide="ignore"):
        return Interpolated(2 * (np.log(alphas) - np.log(sigmas)), log_powers)
