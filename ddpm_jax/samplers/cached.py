"""Cached autoregression: one group of sites a step, from a causal network that remembers the groups before."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from ddpm_jax import keys as random
from ddpm_jax.processes.process import Images, Keys, Times
from ddpm_jax.samplers.estimates import FirstOrder
from ddpm_jax.samplers.solver import Problem, Solver
from ddpm_jax.samplers.stepping import StepSolver

PARTS, LEAST = 4, 128
"""In how many parts a cache grows at most, and the groups that a part has at least."""


@dataclass(frozen=True)
class Cached(StepSolver):
    """Draw group g of the order at step g = 0, 1, ..., given the groups before it; t and s are not looked at.

    >>> Cached().for_film() == FirstOrder()
    True

    This is ancestral sampling of prod_g p(x_g | x_before), and what `FirstOrder` does on the grid 1, 1 - 1/G, ..., 0
    where the share kept is 1 - t: the same draws from the same keys. There the network runs on the whole image at every
    step; here it is asked for the c sites of a group. So an image costs about one pass, not G (and what the network
    needs to look back at the sites before). Sites that are visible at the start stay.

    The denoiser has `start(count, condition)` and `advance(cache, x, step) -> (posterior of the group's values, their
    numbers, cache)`, such as an `OrderedDenoiser` of a causal network. The step's estimate is x_t with the group filled
    in: a network that is asked no more says no more.
    """

    kinds: ClassVar[tuple[str, ...]] = ("ordered",)
    causal: ClassVar[bool] = True

    def start(self, problem: Problem, x: Images) -> tuple[Any, Int[Array, ""]]:
        """The denoiser's empty cache, and the number of the first group.

        Raises:
            ValueError: an order that differs from image to image, or a grid with another number of steps than groups.
        """
        order = problem.process.order
        if order.sequence is None:
            raise ValueError("cached sampling needs an order that is the same for every image")
        if problem.grid is not None and problem.steps != order.groups:
            raise ValueError(f"cached sampling takes {order.groups} steps, a group each, not {problem.steps}")
        denoise: Any = problem.denoise
        first = next(iter(self.stages(problem, x)), None)
        return denoise.start(x.shape[0], problem.condition, first), jnp.zeros((), jnp.int32)

    def stages(self, problem: Problem, x: Images) -> tuple[int, ...]:
        """Where the cache grows: what a step reads of it then grows with the groups that it holds.

        Each stage is compiled by itself, so there are few, and none in short orders or where nothing grows.
        """
        groups = problem.process.order.groups
        if (parts := min(PARTS, groups // LEAST)) < 2:
            return ()
        places = tuple(groups * part // parts for part in range(1, parts))
        return places if _shapes(problem, x, 1) != _shapes(problem, x, groups) else ()

    def enter(self, problem: Problem, x: Images, memory: PyTree, last: int) -> Any:
        """The cache with room for the groups up to `last`."""
        if not self.stages(problem, x):
            return memory
        cache, group = memory
        return jax.tree.map(_enlarged, cache, _shapes(problem, x, last)), group

    def step(
        self, problem: Problem, keys: Keys, x_t: Images, memory: PyTree, t: Times, s: Times
    ) -> tuple[Images, Images, PyTree]:
        """Draw the next group. Memory: the cache, and the group's number."""
        cache, group = memory
        denoise: Any = problem.denoise
        keys_draw, _ = random.split(keys)  # as `ReverseStep` splits them
        posterior, numbers, cache = denoise.advance(cache, x_t, group)
        flat = x_t.reshape(x_t.shape[0], -1)
        now = flat[:, numbers]
        filled = jnp.where(problem.process.visible(now), now, posterior.sample(keys_draw, numbers))
        x_s = flat.at[:, numbers].set(filled).reshape(x_t.shape)  # a site that comes twice has the same draw twice
        return x_s, x_s, (cache, group + 1)

    def for_film(self) -> Solver:
        """The loop without a cache, which has the state of all sites; its draws are the same."""
        return FirstOrder()


def _shapes(problem: Problem, x: Images, groups: int) -> PyTree:
    """Of a cache with room for so many groups."""
    denoise: Any = problem.denoise
    return jax.eval_shape(lambda: denoise.start(x.shape[0], problem.condition, groups))


def _enlarged(array: Array, shape: jax.ShapeDtypeStruct) -> Array:
    """With zeros at the ends of its axes."""
    return jnp.pad(array, [(0, after - before) for before, after in zip(array.shape, shape.shape, strict=True)])
