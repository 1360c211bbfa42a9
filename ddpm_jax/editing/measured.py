"""The denoiser given a linear measurement y = A x + noise of deviation s.

By Bayes' rule the score given y is the score plus the gradient of log p(y | x_t), so that x_hat moves by
sigma^2/alpha times this gradient. p(y | x_t) is known if p(x | x_t) is; each method takes a normal for it,

    y | x_t ~ N(A x_hat, A C A^T + s^2 I),

whose covariance C of x given x_t is, with J = d x_hat / d x_t,

- `tmpd` (Boys et al. 2023; moment matching): sigma^2/alpha J, the true covariance if x_hat is exact. On one Gaussian
  the normal is the law, and so is what is sampled, up to the steps. Each solution takes products with J;
- `pigdm` (Song et al. 2023, pseudo-inverse guidance): sigma^2/(alpha^2 + sigma^2) I, that of data of variance 1;
- `dps` (after Chung et al. 2023): none; s^2 is the mean square of y - A x_hat, over what is measured, instead. Their
  step size goes with 1/|y - A x_hat| and a number that is found by trial for each grid.

The gradient of the normal's mean is J^T A^T (A C A^T + s^2 I)^-1 (y - A x_hat); that of its covariance is left out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ddpm_jax.denoisers import Denoiser, Normal
from ddpm_jax.denoisers.posteriors import Wrapper
from ddpm_jax.editing.operators import Measurement, Operator, adjoint
from ddpm_jax.processes import Gaussian
from ddpm_jax.processes.process import Images, Times

COVARIANCES = ("tmpd", "pigdm", "dps")

DONE = 1e-12
"""The square of a residual, as a share of the first, from which a solution goes no further."""


@dataclass(frozen=True, eq=False)
class Measured(Wrapper):
    """A denoiser that knows y = A x + s noise.

    >>> from ddpm_jax.schedules import VP
    >>> from ddpm_jax.editing import Identity
    >>> process, known = Gaussian(VP()), jnp.full((1, 3), 0.5)
    >>> denoise = lambda x_t, t, condition=None: Normal(process.at(t, x_t)[0] * x_t)  # of data N(0, 1)
    >>> given = Measured(denoise, process, Identity(), known, noise=1e-3)
    >>> given(jnp.zeros((1, 3)), 0.9).mean.round(2).tolist()
    [[0.5, 0.5, 0.5]]

    Attributes:
        denoise: whose posterior has a mean.
        process: where alpha(t) = 0, x_t says nothing and the measurement is left out.
        operator: A.
        y: what was measured, `[batch, ...]`.
        noise: s, above 0.
        covariance: of `COVARIANCES`.
        scale: of the step; 1 is the method's.
        iterations: of conjugate gradients, at most.
    """

    denoise: Denoiser
    process: Gaussian
    operator: Operator
    y: Measurement
    noise: float
    covariance: str = "tmpd"
    scale: float = 1.0
    iterations: int = 20

    def __call__(self, x_t: Images, t: Times, condition: PyTree = None) -> Normal:
        """A point about the moved mean."""
        x_hat, pull = jax.vjp(lambda x: self.denoise(x, t, condition).mean, x_t)
        alpha, sigma = self.process.at(t, x_t)
        gain = jnp.where(alpha > 0, jnp.square(sigma) / jnp.where(alpha > 0, alpha, 1), 0)

        def spread(v: Images) -> Images:
            """C v: J is symmetric if x_hat is exact."""
            return gain * pull(v)[0]

        def back(y: Measurement) -> Images:
            return adjoint(self.operator, y, x_t)

        residual = self.y - self.operator(x_hat)
        if self.covariance == "dps":
            axes = tuple(range(1, residual.ndim))
            count = (self.operator(jnp.ones_like(x_t)) != 0).sum(axes, keepdims=True)  # not pixels that are unknown
            mean = jnp.square(residual).sum(axes, keepdims=True) / jnp.maximum(count, 1)
            solved = residual / jnp.maximum(mean, self.noise**2)
        else:
            own = jnp.square(sigma) / (jnp.square(alpha) + jnp.square(sigma))
            around: Callable[[Images], Images] = spread if self.covariance == "tmpd" else lambda v: own * v
            solved = self._solved(lambda u: self.operator(around(back(u))), residual)
        return Normal(x_hat + self.scale * spread(back(solved)))

    def _solved(self, apply: Callable[[Array], Array], residual: Array) -> Any:
        """(apply + s^2)^-1 residual, by conjugate gradients, each image with steps of its own."""
        axes = tuple(range(1, residual.ndim))

        def inner(a: Array, b: Array) -> Array:
            return (a * b).sum(axes, keepdims=True)

        enough = DONE * inner(residual, residual)

        def turn(_: Any, kept: tuple[Array, ...]) -> tuple[Array, ...]:
            u, left, way, best, least = kept
            pushed, before = apply(way) + self.noise**2 * way, inner(left, left)
            length = inner(way, pushed)
            on = (before > enough) & (length > 0)
            step = jnp.where(on, before / jnp.where(on, length, 1), 0)
            u, left = u + step * way, left - step * pushed
            way = left + jnp.where(on, inner(left, left) / jnp.where(on, before, 1), 0) * way
            # a network's J need not be symmetric and positive, and then a later turn may be worse, without end
            better = inner(left, left) < least
            return u, left, way, jnp.where(better, u, best), jnp.minimum(inner(left, left), least)

        nothing = jnp.zeros_like(residual)
        start = nothing, residual, residual, nothing, inner(residual, residual)
        return jax.lax.fori_loop(0, self.iterations, turn, start)[3]
