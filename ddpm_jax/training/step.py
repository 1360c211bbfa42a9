"""The training step, a pure function, and a dispatch of several of them as one compiled program."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from ddpm_jax import keys as random
from ddpm_jax.parallel import mean_over
from ddpm_jax.schedules.times import TimeDistribution
from ddpm_jax.training.state import TrainState


@dataclass(frozen=True, eq=False)
class Recipe:
    """What a step needs beside its state and data.

    Attributes:
        loss: `(params, frozen, keys, dropout_keys, batch, t, s, weight) -> loss, term`, each `[batch]`: what is
            minimised, and what the times' history is to know of it.
        times: draws the whole batch's times; its history is the state's `extra`.
        draw: `(data, keys, i) -> batch`, the rows of the i-th step of a dispatch.
        optimizer: optax's, without the learning rate.
        rate: `(step, clock) -> learning rate`.
        decays: of the moving averages.
        batch: the global batch.
        root: the key of all training randomness; step k uses `fold_in(root, k)`.
    """

    loss: Callable[..., tuple[Float[Array, " rows"], Float[Array, " rows"]]]
    times: TimeDistribution
    draw: Callable[[Any, Key[Array, " rows"], Any], dict[str, Any]]
    optimizer: optax.GradientTransformation
    rate: Callable[[Array, Array], Array]
    decays: tuple[float, ...]
    batch: int
    root: Key[Array, ""]

    @cached_property
    def step(self) -> Callable[..., tuple[TrainState, Float[Array, ""], Float[Array, ""], Float[Array, ""]]]:
        """`train_step` of this recipe. Whoever calls it inside a program, or lowers it, shares one tracing of it."""
        return jax.jit(partial(train_step, self), static_argnames="axis")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Metrics:
    """What a dispatch reports, each `[]`, or `[devices]` outside a mapped function.

    Attributes:
        loss: the sum over the steps.
        gradient_norm: the sum over the steps, before clipping.
        learning_rate: the last step's.
        steps: how many.
        bad_step: the first step whose loss or gradient was not finite, as steps done after it (1 is the run's first);
            -1 where there is none.
    """

    loss: Any
    gradient_norm: Any
    learning_rate: Any
    steps: Any
    bad_step: Any


def train_step(
    recipe: Recipe, state: TrainState, data: Any, rows: Int[Array, " rows"], i: Any, clock: Any, axis: str | None
) -> tuple[TrainState, Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """One step on the given rows of the global batch: `(state, loss, gradient norm, learning rate)`.

    Where rows are a device's part (pmap), `axis` names the devices and gradients are averaged over it once.
    Averages follow ema <- d ema + (1 - d) params with d = min(decay, (1 + k) / (10 + k)), so that the start is
    forgotten even in a short run.
    """
    key_times, key_rows = jax.random.split(jax.random.fold_in(recipe.root, state.step))
    keys_data, keys_loss, keys_dropout = random.split(random.per_example(key_rows, rows), 3)
    t, s, weight = (drawn[rows] for drawn in recipe.times.draw(key_times, recipe.batch, state.extra))
    batch = recipe.draw(data, keys_data, i)

    def mean_loss(params: Any) -> tuple[Array, Any]:
        losses, terms = recipe.loss(params, state.frozen, keys_loss, keys_dropout, batch, t, s, weight)
        return jnp.mean(losses), recipe.times.tally(t, terms)

    (loss, tally), gradient = mean_over(axis, jax.value_and_grad(mean_loss, has_aux=True)(state.params))
    extra = recipe.times.update(state.extra, tally)
    direction, opt_state = recipe.optimizer.update(gradient, state.opt_state, state.params)
    rate = recipe.rate(state.step, clock)
    params = jax.tree.map(lambda p, d: _moved(p, d, rate), state.params, direction)
    warm = (1 + state.step) / (10 + state.step)
    ema = {}
    for decay in recipe.decays:
        kept = jnp.minimum(decay, warm)
        ema[str(decay)] = jax.tree.map(lambda old, new, d=kept: _mixed(old, new, d), state.ema[str(decay)], params)
    new = TrainState(params, state.frozen, ema, opt_state, extra, state.step + 1)
    return new, loss, optax.tree.norm(gradient), rate


_moved = jax.jit(lambda leaf, direction, rate: leaf - rate * direction)  # traced once a shape, not once an array
_mixed = jax.jit(lambda old, new, kept: kept * old + (1 - kept) * new)


def no_metrics() -> Metrics:
    """The metrics of no steps."""
    zero = jnp.zeros(())
    return Metrics(zero, zero, zero, jnp.zeros((), jnp.int32), jnp.full((), -1, jnp.int32))


def make_advance(recipe: Recipe, axis: str | None) -> Callable[..., tuple[TrainState, Metrics]]:
    """`(state, metrics, data, rows, clock) -> (state, metrics)`: one step, added to the metrics of its dispatch."""

    def advance(state: TrainState, metrics: Metrics, data: Any, rows: Any, clock: Any) -> tuple[TrainState, Metrics]:
        new, loss, norm, rate = recipe.step(state, data, rows, metrics.steps, clock, axis=axis)
        bad = ~(jnp.isfinite(loss) & jnp.isfinite(norm)) & (metrics.bad_step < 0)
        return new, Metrics(
            loss=metrics.loss + loss,
            gradient_norm=metrics.gradient_norm + norm,
            learning_rate=rate,
            steps=metrics.steps + 1,
            bad_step=jnp.where(bad, new.step, metrics.bad_step),
        )

    return advance


def flops_of_step(recipe: Recipe, state: TrainState, data: Any) -> float:
    """Floating-point operations of one step on the global batch, from the compiler's count before optimisation.

    `state` and `data` may be shapes. The step is traced, not compiled. 0 where the compiler cannot tell.
    """
    rows = jax.ShapeDtypeStruct((recipe.batch,), jnp.int32)
    number, clock = jax.ShapeDtypeStruct((), jnp.int32), jax.ShapeDtypeStruct((), jnp.float32)
    cost = recipe.step.lower(state, data, rows, number, clock, axis=None).cost_analysis()
    return float(cost.get("flops", 0.0)) if cost else 0.0
