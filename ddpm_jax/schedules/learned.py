"""A schedule with parameters, trained with the network on the variational bound (Kingma et al. 2021)."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from ddpm_jax.schedules.table import Pair, Schedule, Time, from_log_snr

ENDPOINT_UNIT = 5.0
"""gamma per unit of the endpoints' raw parameters. At a learning rate of 1e-3 Adam moves a raw parameter by about 1 in
a thousand steps, and the best endpoints may lie several units of gamma from where they start."""


@runtime_checkable
class Trained(Protocol):
    """A schedule before its parameters, which are trained with the network."""

    def init(self, key: Key[Array, ""]) -> PyTree:
        """Fresh parameters, a pytree."""
        ...

    def bind(self, params: PyTree) -> Schedule:
        """The schedule with these parameters."""
        ...


@dataclass(frozen=True)
class Learned:
    """A monotone network gamma(t) = -log-SNR (Kingma et al. 2021, appendix H); alpha^2 = sigmoid(-gamma).

    gamma(t) = gamma_0 + (gamma_1 - gamma_0) (m(t) - m(0))/(m(1) - m(0)) with

        m(t) = t + mean_j w_j sigmoid(a_j t + b_j),    w_j, a_j > 0.

    That is theirs, l1(t) + l3(sigmoid(l2(l1(t)))), without the scales and biases that the normalisation cancels. Both
    endpoints are parameters, gamma_1 - gamma_0 is positive by construction, and m rises for any parameters.

    In continuous time the bound does not depend on the shape m, only on the endpoints (Kingma et al. 2021, section
    4.1), so its gradient in the shape is noise. They train the shape to make the estimator's variance small; here it
    is held as it starts, nearly straight (`trains_shape` False), as in their published CIFAR-10 run.

    Attributes:
        gamma_min: gamma(0) at the start of training; its best value falls by about 2 log 2 for each bit of the data.
        gamma_max: gamma(1) at the start.
        width: the number of sigmoids.
        trains_shape: whether gradients reach m: for discrete time.
    """

    gamma_min: float = -13.3
    gamma_max: float = 5.0
    width: int = 64
    trains_shape: bool = True
    continuous: ClassVar[bool] = True
    t_min: ClassVar[float] = 1e-5

    def __post_init__(self) -> None:
        if not self.gamma_min < self.gamma_max:
            raise ValueError(f"gamma_min {self.gamma_min} must be below gamma_max {self.gamma_max}")
        if self.width < 1:
            raise ValueError(f"width {self.width} must be at least 1")

    def init(self, key: Key[Array, ""]) -> dict[str, Any]:
        """Parameters of which gamma is nearly a straight line; the same for every key, as no symmetry has to break.

        The sigmoids' centres are spread evenly over [-1/2, 3/2], and the sum of such sigmoids is nearly straight on
        [0, 1]. Arrays are NumPy's, float32: `start` and `range` are `[]`, the others `[width]`.
        """
        steepness = 8.0
        centres = (np.arange(self.width) + 0.5) / self.width * 2 - 0.5
        raw = {
            "start": self.gamma_min / ENDPOINT_UNIT,
            "range": _inverse_softplus(self.gamma_max - self.gamma_min) / ENDPOINT_UNIT,
            "inner_weight": np.full(self.width, _inverse_softplus(steepness)),
            "inner_bias": -steepness * centres,
            "outer_weight": np.full(self.width, 2.0),
        }
        return {name: np.asarray(value, np.float32) for name, value in raw.items()}

    def bind(self, params: dict[str, PyTree]) -> "LearnedSchedule":
        """The schedule with these parameters."""
        if not self.trains_shape:
            held = {name: jax.lax.stop_gradient(params[name]) for name in params if name not in ("start", "range")}
            params = {**params, **held}
        return LearnedSchedule(params)


def _inverse_softplus(value: float) -> float:
    return value + math.log(-math.expm1(-value))


@dataclass(frozen=True, eq=False)
class LearnedSchedule:
    """`Learned` with its parameters. Derivatives in t and in the parameters go through each other."""

    params: dict[str, PyTree]
    continuous: ClassVar[bool] = True
    t_min: ClassVar[float] = Learned.t_min

    def gamma(self, t: Time) -> Float[Array, "*time"]:
        """-log-SNR, which rises in t."""
        t, params = jnp.asarray(t), self.params
        low, high = self._monotone(jnp.zeros((), t.dtype)), self._monotone(jnp.ones((), t.dtype))
        fraction = (self._monotone(t) - low) / (high - low)
        gap = jax.nn.softplus(ENDPOINT_UNIT * params["range"])
        return (ENDPOINT_UNIT * params["start"] + gap * fraction).astype(t.dtype)

    def _monotone(self, t: Array) -> Array:
        inner, outer = (jax.nn.softplus(self.params[name]) for name in ("inner_weight", "outer_weight"))
        return t + jnp.mean(outer * jax.nn.sigmoid(inner * t[..., None] + self.params["inner_bias"]), axis=-1)

    def __call__(self, t: Time) -> Pair:
        return from_log_snr(-self.gamma(t))
