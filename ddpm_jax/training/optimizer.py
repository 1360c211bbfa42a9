"""The optimizer, from optax, and the learning rate as a function of the fraction of the budget that is spent."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from ddpm_jax.errors import UserError

SCHEDULES: dict[str, Callable[[Array], Array]] = {
    "constant": jnp.ones_like,
    "linear": lambda fraction: 1 - fraction,
    "cosine": lambda fraction: 0.5 * (1 + jnp.cos(jnp.pi * fraction)),
}
"""The learning rate's factor at a fraction in [0, 1] of the budget."""

OPTIMIZERS = ("adam", "adamw", "sgd")


def make_optimizer(
    name: str, clip: float, b1: float, b2: float, epsilon: float, weight_decay: float
) -> optax.GradientTransformation:
    """Clipping by global norm (0 for none), then the optimizer's direction; the step multiplies the rate in.

    The rate stays outside because it depends on the budget, which only the loop knows.
    """
    directions = {
        "adam": [_adam(b1, b2, epsilon)],
        "adamw": [_adam(b1, b2, epsilon), optax.add_decayed_weights(weight_decay)],
        "sgd": [optax.trace(b1)],
    }[name]
    return optax.chain(*([optax.clip_by_global_norm(clip)] if clip else []), *directions)


def _adam(b1: float, b2: float, epsilon: float) -> optax.GradientTransformation:
    """`optax.scale_by_adam`, applied array by array, so that it is traced once for each shape and not for each array.

    A network has hundreds of arrays of few shapes, and Adam a dozen operations for each, which took as long to trace as
    the network.
    """
    whole = optax.scale_by_adam(b1, b2, epsilon)

    @jax.jit
    def one(leaf: Array, count: Array, mu: Array, nu: Array) -> tuple[Array, Array, Array]:
        direction: Any
        state: PyTree
        direction, state = whole.update(leaf, optax.ScaleByAdamState(count, mu, nu))
        return direction, state.mu, state.nu

    def update(updates: Any, state: PyTree, params: PyTree = None) -> tuple[Any, Any]:
        del params
        leaves, tree = jax.tree.flatten(updates)
        averages = zip(leaves, jax.tree.leaves(state.mu), jax.tree.leaves(state.nu), strict=True)
        results = [one(leaf, state.count, mu, nu) for leaf, mu, nu in averages]
        direction, mu, nu = (tree.unflatten([result[part] for result in results]) for part in range(3))
        return direction, optax.ScaleByAdamState(optax.safe_increment(state.count), mu, nu)

    return optax.GradientTransformation(whole.init, update)


@dataclass(frozen=True)
class Budget:
    """When a run ends: at the first of these that is reached. `seconds` counts time in the loop, compilation included.

    Attributes:
        steps: the fewest steps that any of steps, images or FLOPs allows; None where only time does.
        seconds: of training, or None.
    """

    steps: int | None
    seconds: float | None = None

    @classmethod
    def of(cls, batch: int, flops_per_step: float, steps: int, images: int, flops: float, seconds: float) -> "Budget":
        """From limits of which 0 means none. Images and FLOPs become whole steps, at least one."""
        if flops and not flops_per_step:
            raise UserError(
                "config.training.flops: the compiler cannot count this network's FLOPs; give steps or images"
            )
        limits = [
            steps if steps else math.inf,
            max(1, images // batch) if images else math.inf,
            max(1, math.floor(flops / flops_per_step)) if flops else math.inf,
        ]
        fewest = min(limits)
        return cls(None if fewest == math.inf else min(int(fewest), 2**31 - 1), seconds or None)  # steps are int32

    def clock(self, elapsed: float) -> float:
        """The fraction of the time that is spent."""
        return min(1.0, elapsed / self.seconds) if self.seconds else 0.0

    def fraction(self, step: Int[Array, ""], clock: Float[Array, ""]) -> Float[Array, ""]:
        """The fraction of the budget that is spent, in [0, 1]. Without a time limit it depends on the step alone."""
        done = step / self.steps if self.steps else jnp.zeros(())
        return jnp.minimum(jnp.maximum(done, clock), 1.0)


@dataclass(frozen=True)
class LearningRate:
    """`peak` times a linear warm-up over `warmup` steps times the schedule's factor at the fraction of the budget."""

    peak: float
    warmup: int
    schedule: str
    budget: Budget

    def __call__(self, step: Int[Array, ""], clock: Float[Array, ""]) -> Float[Array, ""]:
        """The rate of a step, when the fraction `clock` of the time is spent."""
        warm = jnp.minimum(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        return self.peak * warm * SCHEDULES[self.schedule](self.budget.fraction(step, clock))
