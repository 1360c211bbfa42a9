"""How -log p of stored images is computed, in nats. Noise belongs to row numbers."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from ddpm_jax import keys as random
from ddpm_jax import likelihood, schedules
from ddpm_jax.files import Record
from ddpm_jax.generative.model import Model, Rows
from ddpm_jax.likelihood import Kind, Terms, interval_groups
from ddpm_jax.likelihood.ode import Divergence
from ddpm_jax.processes import Gaussian, Process
from ddpm_jax.schedules.grids import make_grid

Nats = tuple[Float[Array, " batch"], Int[Array, " batch"]]
"""-log p of each image, and the network evaluations it took."""


@runtime_checkable
class Estimator(Protocol):
    """A likelihood of a kind."""

    @property
    def kind(self) -> Kind:
        """`exact`, `bound` or `ode`."""
        ...

    @property
    def evaluations(self) -> int:
        """Network evaluations for one image."""
        ...

    def terms(self, model: Model, params: PyTree, rows: Rows) -> Terms:
        """Its parts, each `[batch]`."""
        ...

    def nats(self, model: Model, params: PyTree, rows: Rows) -> Nats:
        """Their sum, and what it took."""
        ...


@dataclass(frozen=True)
class Measure:
    """A further likelihood of test images, reported apart from the first.

    Attributes:
        title: what a progress bar calls it.
        estimator: what computes it: its `nats`.
        images: how many at most.
        kind: of the figure.
        dequantisation: how discrete pixels were made continuous.
        draws: of the dequantisation.
        facts: what else to keep beside the figure.
    """

    title: str
    estimator: Any
    images: int
    kind: Kind
    dequantisation: str = "none"
    draws: int = 1
    facts: Record = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Bound:
    """The variational bound over a grid's intervals; exact where the order of sites is fixed.

    Attributes:
        grid: `[N + 1]`, falling from 1 to 0.
        groups: in how many runs the intervals are taken; None: every one is evaluated.
        continuous: the integral over time instead of the sum.
        kind: `bound`, or `exact`.
        process: in place of the model's, such as another order.
        number: of the noise: two of one image are to differ.
    """

    grid: np.ndarray
    groups: int | None = None
    continuous: bool = False
    kind: Kind = "bound"
    process: Process | None = None
    number: int = 0

    @property
    def evaluations(self) -> int:
        """One a run of intervals."""
        intervals = len(self.grid) - 1
        return len(interval_groups(intervals, self.groups or intervals)) - 1

    def terms(self, model: Model, params: PyTree, rows: Rows) -> Terms:
        """See `likelihood.bound`."""
        keys = random.per_example(random.purpose_key(self.number, random.LIKELIHOOD), rows["row"])
        x, condition = model.description.encode(rows["image"]), model.condition(rows["condition"])
        process, denoise = self.process or model.bound_process(params), model.denoiser(params)
        return likelihood.bound(process, denoise, self.grid, keys, x, condition, self.groups, self.continuous)

    def nats(self, model: Model, params: PyTree, rows: Rows) -> Nats:
        """The sum of the terms."""
        total = self.terms(model, params, rows).total
        return total, jnp.full(total.shape[0], self.evaluations, jnp.int32)


@dataclass(frozen=True)
class OnePass:
    """The chain rule, of a causal network, which says all conditionals at once."""

    kind: ClassVar[Kind] = "exact"
    evaluations: ClassVar[int] = 1

    def terms(self, model: Model, params: PyTree, rows: Rows) -> Terms:
        """All of it in `steps`."""
        x, condition = model.description.encode(rows["image"]), model.condition(rows["condition"])
        zero = jnp.zeros(x.shape[0], x.dtype)
        posterior = model.denoiser(params)(x, zero, condition)
        return Terms(zero, posterior.loss(x).reshape(x.shape[0], -1).sum(axis=1), zero)

    def nats(self, model: Model, params: PyTree, rows: Rows) -> Nats:
        """The sum over sites."""
        total = self.terms(model, params, rows).total
        return total, jnp.ones(total.shape[0], jnp.int32)


@dataclass(frozen=True)
class ProbabilityFlow:
    """-log of the discrete likelihood by the probability-flow ODE: of another kind than a bound (`likelihood.ode`).

    A table's log-SNR is joined by straight lines for this.

    Attributes:
        t_min: where the data are.
        divergence: `exact` or `hutchinson`.
        draws: of the uniform dequantisation.
        tolerance: of the solver, relative and absolute, in nats per dimension.
    """

    t_min: float
    divergence: Divergence = "hutchinson"
    draws: int = 1
    tolerance: float = 1e-3

    def nats(self, model: Model, params: PyTree, rows: Rows) -> Nats:
        """The mean over the draws."""
        bound: Any = model.bound_process(params)
        process = Gaussian(schedules.interpolated(bound.schedule), model.description.values)
        return likelihood.ode(
            process,
            model.denoiser(params, process=process),
            random.per_example(random.purpose_key(1, random.LIKELIHOOD), rows["row"]),
            model.description.encode(rows["image"]),
            model.condition(rows["condition"]),
            t_min=self.t_min,
            divergence=self.divergence,
            draws=self.draws,
            rtol=self.tolerance,
            atol=self.tolerance,
        )


def default_estimator(
    process: Any, prediction: Any, times: Any = None, groups: int = 100, decoder_noise: float = 0.0
) -> Any:
    """What suits a process and a prediction: the chain rule, every chunk of an order, or a bound in some evaluations.

    >>> from ddpm_jax.denoisers import GaussianPrediction
    >>> process = Gaussian(schedules.ddpm_linear(1000), np.linspace(-1, 1, 256))
    >>> default_estimator(process, GaussianPrediction(), groups=100).evaluations
    100

    Args:
        process: before its parameters are bound.
        prediction: what the network's output means.
        times: of training, which the bound looks at.
        groups: evaluations for one image's bound; 0: all T, or a thousand strata of continuous time.
        decoder_noise: see `bound_grid`.

    Returns:
        None where images are given no probability: by a point, or where a Gaussian process does not know the levels'
        values.
    """
    if not prediction.likely or (process.kind == "gaussian" and process.values is None):
        return None
    if getattr(prediction, "causal", False):
        return OnePass()
    t_min, steps = getattr(times, "t_min", None), getattr(times, "steps", 0)
    if process.kind == "gaussian":
        grid, steps = bound_grid(process, steps, t_min, groups, decoder_noise)
        return Bound(grid, (groups or None) if steps else None, continuous=not steps)
    order = getattr(process, "order", None)
    if not (steps := getattr(order, "groups", None) or steps):
        return Bound(np.append(np.linspace(1, t_min or 1e-3, groups or 1000), 0.0), continuous=True)
    fixed = getattr(order, "sequence", None) is not None
    grid = np.arange(steps, -1, -1) / steps
    return Bound(grid, None if fixed else groups or None, kind="exact" if fixed else "bound")


def bound_grid(
    process: Gaussian, steps: int, t_min: float | None, groups: int = 0, decoder_noise: float = 0.0
) -> tuple[np.ndarray, int]:
    """The intervals of the bound of noise, those of T steps or strata of continuous time, and T; 0 is continuous time.

    The last, the decoder's, may begin where there is still noise, at sigma/alpha = `decoder_noise`: any beginning gives
    a bound. A schedule that is trained begins where it is best. Raises ValueError where there is no such grid.
    """
    schedule, trained = process.start().known, isinstance(process.schedule, schedules.Trained)
    steps = schedule.steps if isinstance(schedule, schedules.Table) else steps
    least = 1 / steps if steps else t_min or getattr(schedule, "t_min", 1e-3)
    if decoder_noise and not trained:
        with jax.ensure_compile_time_eval():  # a grid is a constant, also where a program that uses it is traced
            noise = np.asarray(-2 * np.log(decoder_noise), np.float32)
            least = max(least, float(schedules.time_of_log_snr(schedule, noise)))
    if steps:
        times = np.arange(steps, 0, -1) / steps
        return np.append(times[times >= least - 0.5 / steps], 0.0), steps
    # Strata of one width in log-SNR make the terms alike; a learned schedule sees to that itself.
    return make_grid(schedule, groups or 1000, "uniform" if trained else "log_snr", least), 0
