"""Gaussian schedules: how much of the image is left (alpha) and how much noise there is (sigma) at time t."""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Schedule = Callable[[Float[Array, "*time"]], tuple[Float[Array, "*time"], Float[Array, "*time"]]]


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

    @classmethod
    def from_betas(cls, betas: np.ndarray) -> "Table":
        """The table of DDPM's forward process, alpha_i^2 = prod_{j <= i} (1 - beta_j) (Ho et al. 2020, eq. 4).

        `betas` is `[T]`, each in (0, 1).
        """
        if not np.all((betas > 0) & (betas < 1)):
            raise ValueError("each beta must lie in (0, 1)")
        log_squared = np.concatenate([[0.0], np.cumsum(np.log1p(-betas.astype(np.float64)))])
        return cls(alphas=np.exp(log_squared / 2), sigmas=np.sqrt(-np.expm1(log_squared)))

    @property
    def steps(self) -> int:
        """T, the number of steps."""
        return len(self.alphas) - 1

    def __call__(self, t: Float[Array, "*time"]) -> tuple[Float[Array, "*time"], Float[Array, "*time"]]:
        """(alpha, sigma) at the table's entry nearest to `t`."""
        t = jnp.asarray(t)
        index = jnp.clip(jnp.round(t * self.steps).astype(jnp.int32), 0, self.steps)
        return jnp.asarray(self.alphas, t.dtype)[index], jnp.asarray(self.sigmas, t.dtype)[index]


def ddpm_linear(steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> Table:
    """DDPM's schedule: betas on a straight line from `beta_start` to `beta_end` (Ho et al. 2020, section 4).

    The two ends are those for 1000 steps. For another T they are scaled by 1000/T, which leaves the noise at the end
    about the same (Nichol and Dhariwal 2021, their code). Raises ValueError where that takes a beta to 1 or above.
    """
    return Table.from_betas(np.linspace(beta_start, beta_end, steps) * (1000 / steps))


def ddpm_cosine(steps: int = 1000, offset: float = 0.008, beta_max: float = 0.999) -> Table:
    """The cosine schedule (Nichol and Dhariwal 2021, eq. 17).

    alpha(t)^2 = f(t)/f(0) with f(t) = cos^2((t + offset)/(1 + offset) pi/2), and betas capped at `beta_max`.
    """
    f = np.cos((np.arange(steps + 1) / steps + offset) / (1 + offset) * np.pi / 2) ** 2
    return Table.from_betas(np.minimum(1 - f[1:] / f[:-1], beta_max))
