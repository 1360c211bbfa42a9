"""Who draws: over all devices at once, or a step at a time, to be looked at on the way."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ddpm_jax import keys as random
from ddpm_jax.conditions import Condition
from ddpm_jax.editing import Given, Task
from ddpm_jax.generative.model import Model
from ddpm_jax.generative.sampling import NOTHING, Chain, Sampling
from ddpm_jax.samplers import StepSolver, Walk


@runtime_checkable
class Devices(Protocol):
    """What spreads rows over devices: `devices.plan.Plan`."""

    def each(self, function: Callable[[Any, Any], Any], batch: int) -> Callable[..., Any]:
        """`(shared, rows, progress=None) -> results` of the function, in batches over all devices."""
        ...


@dataclass(frozen=True, eq=False)
class Sampler:
    """Draws samples over all devices. Image i depends on the seed and i alone.

    Attributes:
        model: what is sampled.
        sampling: how.
        plan: the devices.
        batch: how many at once.
        frames: the steps whose (x_t, x_hat) are wanted as well.
        task: of editing.
    """

    model: Model
    sampling: Sampling
    plan: Devices
    batch: int = 64
    frames: tuple[int, ...] = ()
    task: Task = NOTHING

    def rows(self, shared: tuple, rows: dict[str, Any]) -> tuple:
        """The samples of some row numbers and conditions; `shared` has the parameters and the root key."""
        params, root = shared
        keys = random.per_example(root, rows["row"])
        told, negative = rows["condition"], rows.get("negative")
        given = rows.get("given")
        images, film, evaluations = self.sampling.draw(
            self.model, params, keys, told, self.frames, negative, self.task, given
        )
        return images, jax.tree.map(lambda frame: frame.swapaxes(0, 1), film), evaluations

    @cached_property
    def each(self) -> Any:
        return self.plan.each(self.rows, self.batch)

    def __call__(
        self,
        params: PyTree,
        seed: int,
        count: int,
        condition: Condition | None = None,
        progress: Any = None,
        negative: Condition | None = None,
        given: Given | None = None,
    ) -> tuple:
        """Images, film and evaluations of `count` samples, of these conditions, `[count, ...]` each, or of none.

        The film's two arrays are `[count, frames, *site]`; `evaluations` counts the network's for each image.
        """
        told = jax.tree.map(np.asarray, self.sampling.asked(self.model).null(count)) if condition is None else condition
        rows = {"row": np.arange(count, dtype=np.int32), "condition": told}
        rows |= {} if negative is None else {"negative": negative}
        rows |= {} if given is None else {"given": given}
        return self.each((self.sampling.joined(params), random.purpose_key(seed, random.SAMPLES)), rows, progress)


@dataclass(frozen=True, eq=False)
class Frame:
    """What there is to see after a step.

    Attributes:
        step: how many are done, of `steps`.
        steps: in all.
        x_t, x_hat: the state before the step and the estimate that it used, in [-1, 1], `[count, *site]`; None of a
            solver that takes no steps of a grid.
        images: as stored, after the last step; else None.
        evaluations: of the network for each image, then.
    """

    step: int
    steps: int
    x_t: Float[np.ndarray, "count *site"] | None = None
    x_hat: Float[np.ndarray, "count *site"] | None = None
    images: np.ndarray | None = None
    evaluations: int | None = None


@dataclass(frozen=True, eq=False)
class Steps:
    """Draws samples a step at a time, by a compiled step: what `Sampler` draws where it keeps frames.

    Attributes:
        model: what is sampled.
        sampling: how.
        task: of editing.
    """

    model: Model
    sampling: Sampling
    task: Task = NOTHING

    def __call__(
        self,
        params: PyTree,
        seed: int,
        count: int,
        condition: Condition | None = None,
        negative: Condition | None = None,
        given: Given | None = None,
    ) -> Iterator[Frame]:
        """A frame after each step, the last with the images; arguments as of `Sampler`."""
        condition = self.sampling.asked(self.model).null(count) if condition is None else condition
        keys = random.per_example(random.purpose_key(seed, random.SAMPLES), jnp.arange(count))
        told = jax.tree.map(jnp.asarray, (self.sampling.joined(params), keys, condition, negative, given))
        grid = np.asarray(self.sampling.grid, np.float32)
        steps = len(grid) - 1
        if not self.walks:
            images, evaluations = self._compiled["whole"](told)
            yield Frame(steps, steps, images=np.asarray(images), evaluations=int(evaluations[0]))
            return
        x, memory = self._compiled["begin"](told)
        for i in range(steps):
            x, memory, (x_t, x_hat) = self._compiled["step"](told, x, memory, np.int32(i), grid[i], grid[i + 1])
            if i < steps - 1:
                yield Frame(i + 1, steps, np.asarray(x_t), np.asarray(x_hat))
        images, evaluations = self._compiled["end"](told, x)
        yield Frame(steps, steps, np.asarray(x_t), np.asarray(x_hat), np.asarray(images), int(evaluations[0]))

    @property
    def walks(self) -> bool:
        """Whether there are steps to be seen."""
        return self.sampling.solver.for_film().walks

    def chain(self, params: PyTree, keys: Any, condition: Any, negative: Any, given: Any) -> Chain:
        """What is drawn by."""
        return self.sampling.chain(self.model, params, keys, condition, True, negative, self.task, given)

    def whole(self, told: tuple) -> tuple[Array, Array]:
        """Images and evaluations, of a solver that takes no steps of a grid."""
        chain = self.chain(*told)
        x, _, evaluations = chain.solver.solve(chain.problem, chain.keys, chain.start, (), chain.after)
        return chain.end(x), evaluations

    def begin(self, told: tuple) -> tuple[Array, Any]:
        """The first state, and what the solver remembers."""
        chain = self.chain(*told)
        return chain.start, _stepping(chain).start(chain.problem, chain.start)

    def step(self, told: tuple, x: Array, memory: Any, i: Any, t: Any, s: Any) -> tuple[Array, Any, Any]:
        """Step i from t to s: the next state, what the solver remembers, and a frame."""
        chain = self.chain(*told)
        x_s, x_hat, memory = Walk(_stepping(chain), chain.problem, chain.keys, chain.after).step(x, memory, i, t, s)
        film = chain.shown((x[None], x_hat[None]), t[None], s[None])
        return x_s, memory, jax.tree.map(lambda frame: frame[0], film)

    def end(self, told: tuple, x: Array) -> tuple[Array, Array]:
        """Images and evaluations, of the last state."""
        chain = self.chain(*told)
        return chain.end(x), _stepping(chain).counted(chain.problem, x)

    @cached_property
    def _compiled(self) -> dict[str, Any]:
        """The methods above as programs, by name."""
        return {each.__name__: jax.jit(each) for each in (self.whole, self.begin, self.step, self.end)}


def _stepping(chain: Chain) -> StepSolver:
    assert isinstance(chain.solver, StepSolver)  # those that walk are
    return chain.solver
