"""The mean over a step of the polynomial through values at several places: what multistep solvers go by."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ddpm_jax.processes.process import Images

Scalar = Float[Array, ""] | float

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2  # on [0, 1]


def even(count: int) -> list[Scalar]:
    """The moments of the even weight on [0, 1]: 1/(j + 1) for j < `count`."""
    return [1 / (j + 1) for j in range(count)]


def decaying(step: Float[Array, ""], count: int) -> list[Scalar]:
    """The moments of the weight proportional to exp(step (tau - 1)) on [0, 1], for a step >= 0, j < `count`.

    With which the estimates of a step from lambda to lambda + step count, lambda = log(alpha/sigma), where x_s =
    (sigma_s/sigma_t) x_t + alpha_s int exp(lambda - lambda_s) x_hat dlambda (Lu et al. 2022b, eq. 8). By quadrature
    where the step is small; else by parts, I_j = 1 - (j/step) I_(j - 1), which would cancel there.
    """
    short = jnp.minimum(step, 3.0)
    weight = jnp.exp(jnp.multiply.outer(_NODES.astype(step.dtype) - 1, short)) * _WEIGHTS.astype(step.dtype)
    near = [(weight * _NODES.astype(step.dtype) ** j).sum() / weight.sum() for j in range(count)]
    long = jnp.maximum(step, 3.0)
    far = [-jnp.expm1(-long)]
    for j in range(1, count):
        far.append(1 - j / long * far[-1])
    return [jnp.where(step < 3, small, large / far[0]) for small, large in zip(near, far, strict=True)]


def mean(
    values: Sequence[Array],
    places: Sequence[Scalar],
    known: Sequence[Bool[Array, ""] | bool],
    moments: Sequence[Scalar],
) -> Array:
    """The weighted mean over [0, 1] of the polynomial through (place_i, value_i), in Newton's form.

    Exact for polynomials of a degree below the number of values. Those after the first that is not known do not count.

    Args:
        values: arrays of one shape.
        places: where each lies, in units of the step; all differ.
        known: of each whether there is such a value.
        moments: of the weight, as many as values: the means of tau^j.
    """
    differences, basis = list(values), [1.0]
    total, so_far = jnp.zeros_like(values[0]), jnp.asarray(True)
    for j in range(len(values)):
        so_far = so_far & known[j]
        # int w prod_(i < j) (tau - place_i), and the divided difference [f_0 ... f_j]
        weight = sum(coefficient * moments[power] for power, coefficient in enumerate(basis))
        total = total + jnp.where(so_far, weight * differences[0], 0)
        gaps = [_divisor(places[i + j + 1] - places[i]) for i in range(len(differences) - 1)]
        differences = [(b - a) / gap for a, b, gap in zip(differences, differences[1:], gaps, strict=False)]
        basis = [
            below - places[j] * here for below, here in zip([0.0, *basis], [*basis, 0.0], strict=True)
        ]  # times (tau - place_j)
    return total


def _divisor(value: Scalar) -> Scalar:
    """1 where it is 0 or infinite and of no use, so that gradients have no NaN to multiply by 0."""
    return jnp.where(jnp.isfinite(value) & (value != 0), value, 1)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Past:
    """The values of the last steps, newest first, and where each lay.

    Attributes:
        values: `[n, batch, *site]`.
        places: `[n]`.
        count: how many of them there are.
    """

    values: Float[Array, "n batch *site"]
    places: Float[Array, " n"]
    count: Int[Array, ""]

    @classmethod
    def none(cls, like: Images, most: int) -> "Past":
        """Nothing yet, of at most so many."""
        return cls(jnp.zeros((most, *like.shape), like.dtype), jnp.zeros(most, like.dtype), jnp.zeros((), jnp.int32))

    def then(self, value: Images, place: Scalar) -> "Past":
        """With one more; the oldest goes. One whose place is infinite is not kept, nor are those before it."""
        most = len(self.places)
        place = jnp.asarray(place, self.places.dtype).reshape(())
        values = jnp.concatenate([value[None].astype(self.values.dtype), self.values])[:most]
        places = jnp.concatenate([jnp.where(jnp.isfinite(place), place, 0)[None], self.places])[:most]
        return Past(values, places, jnp.where(jnp.isfinite(place), jnp.minimum(self.count + 1, most), 0))

    def mean(self, end: Scalar, moments: Sequence[Scalar]) -> Images:
        """The mean over the step from the newest place to `end` of the polynomial through as many as there are."""
        step = jnp.asarray(end, self.places.dtype).reshape(()) - self.places[0]
        known = [j < self.count for j in range(len(moments))]
        return mean([self.values[j] for j in range(len(moments))], self.relative(step), [True, *known[1:]], moments)

    def relative(self, step: Scalar) -> list[Scalar]:
        """The places from the newest one on, in units of a step; where there is none yet, a place of its own."""
        step = _divisor(step)
        return [jnp.where(j < self.count, (p - self.places[0]) / step, -j) for j, p in enumerate(self.places)]
