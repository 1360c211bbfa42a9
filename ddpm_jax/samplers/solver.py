"""What every solver answers, what it is given, and sampling by one in a call."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, PyTree

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Denoiser, cost
from ddpm_jax.processes import Process, Refusal, Traits
from ddpm_jax.processes.process import Images, Keys, Times

Film = tuple[Float[Array, "frames batch *site"], Float[Array, "frames batch *site"]]
"""x_t before some steps, and the x_hat that each of them used."""

Calls = tuple[tuple[Int[Array, "..."] | Bool[Array, "..."] | int, Times], ...]
"""How often the denoiser is called, and at which times."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What a solver solves: put back what the process has removed, by what the denoiser says of it.

    >>> import numpy as np
    >>> Problem(None, lambda x_t, t, condition=None: None, grid=np.array([1, 0.5, 0])).steps
    2

    Attributes:
        process: with parameters bound. Each solver says which kinds it is for.
        denoise: wrapped as wanted.
        condition: what the denoiser is told, a row an example.
        grid: `[N + 1]` times from 1 (or near it) to 0. They fall; or where they rise, as those of a restart, a step
            goes forward, and a solver remembers nothing of before. Such a grid is a NumPy array.
    """

    process: Any
    denoise: Denoiser
    condition: PyTree = None
    grid: np.ndarray | Array | None = None

    @property
    def steps(self) -> int:
        """The intervals of the grid in which the time falls."""
        assert self.grid is not None
        return len(self.grid) - 1 - int(self.rises.sum())

    @property
    def rises(self) -> Bool[np.ndarray, " N"]:
        """In which of its intervals the grid rises."""
        assert self.grid is not None
        if not isinstance(self.grid, np.ndarray):
            return np.zeros(len(self.grid) - 1, bool)
        return np.diff(self.grid) > 0

    def posterior(self, x_t: Images, t: Times) -> Any:
        """What the denoiser says at x_t."""
        return self.denoise(x_t, t, self.condition)

    def cost(self, calls: Calls) -> Int[Array, ""]:
        """The network evaluations of an image that such calls take: a guided one is two, or more."""
        each = [jnp.broadcast_to(count * cost(self.denoise, t), jnp.shape(t)).sum() for count, t in calls]
        return jnp.asarray(sum(each), jnp.int32)


@runtime_checkable
class After(Protocol):
    """What is done to the state after a step, such as inpainting."""

    def __call__(self, keys: Keys, x_s: Images, s: Times) -> Images:
        """The state to go on with at time s."""
        ...


class Solver(ABC):
    """A way to solve a `Problem`. One is a small frozen dataclass; its fields are its options.

    >>> from ddpm_jax.processes import Gaussian
    >>> from ddpm_jax.samplers import Euler
    >>> from ddpm_jax.schedules import ddpm_linear
    >>> [refusal.part for refusal in Euler().refusals("euler", Gaussian(ddpm_linear(100)).traits())]
    ['name']

    What it needs of the other parts stands in its class: what is left as here it can do, or does not need.

    Attributes:
        kinds: of the processes it is for.
        etas: the least and the greatest share of fresh noise it can do: 1 as in the Markov process, 0 none.
        churns: whether `Churned` can go before its steps.
        derivatives: whether it needs the schedule's derivatives.
        causal: whether it needs a causal network, and with it an order that is the same for every image.
        walks: whether it takes the steps of a grid, which may rise.
        exchangeable: whether it needs a network that was trained on orders in which all sites are alike.
    """

    kinds: ClassVar[tuple[str, ...]] = ("gaussian",)
    etas: ClassVar[tuple[float, float]] = (0, 0)
    churns: ClassVar[bool] = False
    derivatives: ClassVar[bool] = False
    causal: ClassVar[bool] = False
    exchangeable: ClassVar[bool] = False
    walks: ClassVar[bool] = False

    @abstractmethod
    def solve(
        self,
        problem: Problem,
        keys: Keys,
        x: Images,
        frames: tuple[int, ...] = (),
        after: After | None = None,
    ) -> tuple[Images, Film, Int[Array, " batch"]]:
        """From x, a draw of the process's prior, to x at time 0; the frames asked for; the network evaluations.

        Args:
            problem: with a grid.
            keys: one key, or one an example.
            x: `[batch, *site]`.
            frames: the steps, in 0 ... N - 1, whose (x_t, x_hat) to return.
            after: called after each step.
        """

    @abstractmethod
    def evaluations(self, steps: int) -> int | None:
        """The calls of the denoiser for one sample on a grid of N intervals; None where it depends.

        Each is one network evaluation unless the denoiser says otherwise (`denoisers.cost`): see `solve`.
        """

    @property
    def noisy(self) -> bool:
        """Whether it adds fresh noise."""
        return self.etas[0] > 0 or getattr(self, "eta", 0) > 0

    @property
    def signal(self) -> bool:
        """Whether it needs alpha(1) > 0."""
        return False

    def refusals(self, name: str, traits: Traits, causal: bool = False) -> Iterator[Refusal]:
        """What of it, by the name `name`, does not go with a process, and with a network that is causal or not."""
        kind = {"gaussian": "Gaussian"}.get(self.kinds[0], self.kinds[0])
        if traits.kind not in self.kinds:
            yield Refusal("name", f"{name} is for {kind} processes; use first_order")
            return
        if self.causal and not causal:
            yield Refusal("name", f"{name} needs a causal network; use first_order")
        if self.causal and traits.exchangeable:
            yield Refusal("name", f"{name} needs an order that is the same for every image")
        if self.exchangeable and not traits.exchangeable:
            yield Refusal(
                "name",
                f"{name} needs a network that knows any set of sites: set config.process.order to random or "
                "independent, or use first_order",
            )
        if traits.kind == "ordered" and self.noisy and not traits.independent:
            yield Refusal(
                "eta",
                "only sites of independent times can be hidden again; set it to 0, or config.process.order=independent",
            )
        if traits.markov and getattr(self, "eta", 1) != 1:
            yield Refusal("eta", f"steps back of a {traits.kind} process are its Markov chain's; set it to 1")
        if self.derivatives and not traits.continuous:
            yield Refusal("name", f"{name} cannot use a table, which has no derivatives; use first_order or heun")
        if traits.zero_terminal and self.signal and self.noisy:
            yield Refusal(
                "name", f"{name} with fresh noise needs a schedule with alpha(1) > 0; use first_order or dpm_2m"
            )

    def for_film(self) -> "Solver":
        """The solver to use where frames are looked at: one that has the state of all sites."""
        return self


def sample(
    process: Process,
    denoise: Denoiser,
    solver: Solver,
    steps: int | np.ndarray | Array,
    key: Keys,
    shape: tuple[int, ...],
    condition: PyTree = None,
    after: After | None = None,
    dtype: DTypeLike = jnp.float32,
) -> Images:
    """Draw images: start from the process's prior and put information back.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from ddpm_jax.oracles import GaussianMixture
    >>> from ddpm_jax.processes import Gaussian
    >>> from ddpm_jax.samplers import DPM2M
    >>> from ddpm_jax.schedules import VP
    >>> process, one = Gaussian(VP()), jnp.ones(1)
    >>> law = GaussianMixture(one, jnp.zeros((1, 2)), jnp.eye(2)[None])
    >>> sample(process, law.denoiser(process), DPM2M(), 5, jax.random.key(0), (3, 2)).shape
    (3, 2)

    Args:
        process: what removed it.
        denoise: what is known of the clean image.
        solver: such as `DPM2M()`.
        steps: of a grid that suits the process (`Process.grid`), or the times themselves, `[N + 1]` from 1 to 0.
        key: one key, or one an example.
        shape: `[batch, *site]`.
        condition: what the denoiser is told, a row an example.
        after: called after each step: inpainting.
        dtype: of x; float64 needs JAX_ENABLE_X64.

    Returns:
        x at time 0, of this shape.

    Raises:
        ValueError: the solver is not for this process, or cannot do its eta.
    """
    for refusal in solver.refusals(type(solver).__name__, process.traits(), causal=getattr(denoise, "causal", False)):
        raise ValueError(refusal.reason)
    (low, high), eta = solver.etas, getattr(solver, "eta", None)
    if eta is not None and not low <= eta <= high:
        raise ValueError(f"{type(solver).__name__} takes eta in [{low}, {high}], and not {eta}")
    grid = np.asarray(steps)
    if not grid.ndim:
        grid = process.grid(int(grid))
    key_prior, key_steps = random.split(key)
    start = process.prior(key_prior, shape, dtype)
    return solver.solve(Problem(process, denoise, condition, grid), key_steps, start, after=after)[0]
