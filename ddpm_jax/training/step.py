"""The training step, a pure function, and a dispatch of several of them as one compiled program."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int, Key, PyTree

from ddpm_jax import keys as random
from ddpm_jax.devices import flops
from ddpm_jax.devices.plan import Plan, mean_over
from ddpm_jax.files import Record
from ddpm_jax.models.shares import gathered
from ddpm_jax.objectives.times import TimeDistribution
from ddpm_jax.training.feed import Feed
from ddpm_jax.training.optimizer import LearningRate
from ddpm_jax.training.state import TrainState


@runtime_checkable
class Trainable(Protocol):
    """What a step asks of a model; `generative.Model` is one."""

    @property
    def times(self) -> TimeDistribution:
        """Draws the whole batch's times; its history is the state's `extra`."""
        ...

    @property
    def looped(self) -> tuple[str, ...]:
        """The names of blocks of which it gathers shares itself (see `models.shares`)."""
        ...

    @property
    def once(self) -> "Trainable":
        """The same, without computing anything twice to save memory."""
        ...

    def loss(
        self,
        params: PyTree,
        frozen: PyTree,
        keys: Key[Array, " rows"],
        dropout_keys: Key[Array, " rows"] | None,
        rows: Record,
        t: Float[Array, " rows"],
        s: Float[Array, " rows"],
        weight: Float[Array, " rows"],
    ) -> tuple[Float[Array, " rows"], Float[Array, " rows"]]:
        """What is minimised, and what the times' history is to know of it, each `[rows]`."""
        ...


@dataclass(frozen=True, eq=False)
class Recipe:
    """What a step needs beside its state and data.

    Attributes:
        model: has the loss and the times.
        feed: draws the rows of a step.
        optimizer: optax's, without the learning rate.
        rate: `(step, clock) -> learning rate`.
        decays: of the moving averages.
        batch: the global batch.
        root: the key of all training randomness; step k uses `fold_in(root, k)`.
        accumulate: into how many parts a batch is cut, one after the other, to need less memory. The mean of their
            gradients is the batch's, to rounding.
        skip_bad: how many steps in a row whose loss or gradient is not finite change nothing and are counted. The next
            one ends the run, as the first does with 0.
        plan: says to the compiler where rows and weights are wanted; None: it finds out.
    """

    model: Trainable
    feed: Feed
    optimizer: optax.GradientTransformation
    rate: LearningRate
    decays: tuple[float, ...]
    batch: int
    root: Key[Array, ""]
    accumulate: int = 1
    skip_bad: int = 0
    plan: Plan | None = None

    @cached_property
    def step(self) -> Callable[..., tuple[TrainState, Float[Array, ""], Float[Array, ""], Float[Array, ""]]]:
        """`train_step` of this recipe. Whoever calls it inside a program, or lowers it, shares one tracing of it."""
        return jax.jit(partial(train_step, self), static_argnames="axis")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Metrics:
    """What a dispatch reports, each `[]`, or `[devices]` outside a mapped function.

    Attributes:
        loss: the sum over the steps that were not skipped.
        gradient_norm: likewise, before clipping.
        learning_rate: the last step's.
        steps: how many, with those that were skipped.
        skipped: how many were.
        bad_step: the first step whose loss or gradient was not finite and which was not skipped, as steps done after it
            (1 is the run's first); -1 where there is none.
    """

    loss: Any
    gradient_norm: Any
    learning_rate: Any
    steps: Any
    skipped: Any
    bad_step: Any


def train_step(
    recipe: Recipe,
    state: TrainState,
    data: PyTree,
    rows: Int[Array, " rows"],
    i: int | jax.Array,
    clock: Any,
    axis: str | None,
) -> tuple[TrainState, Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """One step on the given rows of the global batch: `(state, loss, gradient norm, learning rate)`.

    Where rows are a device's part (pmap), `axis` names the devices and gradients are averaged over it once.
    Averages follow ema <- d ema + (1 - d) params with d = min(decay, (1 + k) / (10 + k)), so that the start is
    forgotten even in a short run.
    """
    key_times, key_rows = jax.random.split(jax.random.fold_in(recipe.root, state.step))
    keys_data, keys_loss, keys_dropout = random.split(random.per_example(key_rows, rows), 3)
    drawn = tuple(drawn[rows] for drawn in recipe.model.times.draw(key_times, recipe.batch, state.extra))
    batch = recipe.feed.draw(data, keys_data, i)

    def mean_loss(params: PyTree, frozen: PyTree, part: tuple) -> tuple[Array, Any]:
        params, frozen = gathered(params, recipe.model.looped), gathered(frozen)
        batch, keys_loss, keys_dropout, (t, s, weight) = part
        losses, terms = recipe.model.loss(params, frozen, keys_loss, keys_dropout, batch, t, s, weight)
        return jnp.mean(losses), recipe.model.times.tally(t, terms)

    def derived(shared: tuple, parts: tuple) -> tuple:
        return mean_of_parts(partial(jax.value_and_grad(mean_loss, has_aux=True), *shared), parts, recipe.accumulate)

    shared, parts = (state.params, state.frozen), (batch, keys_loss, keys_dropout, drawn)
    if axis is None and recipe.plan is not None:
        (loss, tally), gradient = recipe.plan.mean(derived, shared, parts)
    else:
        (loss, tally), gradient = mean_over(axis, derived(shared, parts))
    norm = optax.tree.norm(gradient)
    extra = recipe.model.times.update(state.extra, tally)
    direction, opt_state = recipe.optimizer.update(gradient, state.opt_state, state.params)
    rate = recipe.rate(state.step, clock)
    params = jax.tree.map(lambda p, d: _moved(p, d, rate), state.params, direction)
    warm = (1 + state.step) / (10 + state.step)
    ema = {}
    for decay in recipe.decays:
        kept = jnp.minimum(decay, warm)
        ema[str(decay)] = jax.tree.map(lambda old, new, d=kept: _mixed(old, new, d), state.ema[str(decay)], params)
    bad = ~(jnp.isfinite(loss) & jnp.isfinite(norm))
    changed = {"params": params, "ema": ema, "opt_state": opt_state, "extra": extra}
    if recipe.skip_bad:
        changed = {
            name: jax.tree.map(lambda old, new: jnp.where(bad, old, new), getattr(state, name), new)
            for name, new in changed.items()
        }
    skipped = jnp.stack([state.skipped[0] + bad, jnp.where(bad, state.skipped[1] + 1, 0)])
    new = TrainState(frozen=state.frozen, step=state.step + 1, skipped=skipped, **changed)
    return new, loss, norm, rate


def mean_of_parts(function: Callable[[Any], Any], rows: PyTree, count: int) -> Any:
    """The mean of `function` over `count` equal parts of the rows, one part after the other.

    Part j has the rows j, j + count, ...: rows that lie on one device, as neighbours do, stay there.

    Args:
        function: from rows to a pytree of floating-point arrays.
        rows: a pytree of arrays with as many rows each, which `count` divides.
        count: 1 calls the function once, on all rows.
    """
    if count == 1:
        return function(rows)
    parts = jax.tree.map(lambda a: jnp.moveaxis(a.reshape(-1, count, *a.shape[1:]), 1, 0), rows)
    shapes = jax.eval_shape(function, jax.tree.map(lambda a: a[0], parts))
    zero = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
    total, _ = lax.scan(lambda total, part: (jax.tree.map(jnp.add, total, function(part)), None), zero, parts)
    return jax.tree.map(lambda a: a / count, total)


_moved = jax.jit(lambda leaf, direction, rate: leaf - rate * direction)  # traced once a shape, not once an array
_mixed = jax.jit(lambda old, new, kept: kept * old + (1 - kept) * new)


def no_metrics() -> Metrics:
    """The metrics of no steps."""
    zero, none = jnp.zeros(()), jnp.zeros((), jnp.int32)
    return Metrics(zero, zero, zero, none, none, none - 1)


@dataclass(frozen=True, eq=False)
class Advance:
    """One step of a recipe, added to the metrics of its dispatch; `axis` names the devices as in `train_step`."""

    recipe: Recipe
    axis: str | None

    def __call__(
        self, state: TrainState, metrics: Metrics, data: PyTree, rows: PyTree, clock: Any
    ) -> tuple[TrainState, Metrics]:
        """The state and the metrics after the step."""
        recipe = self.recipe
        new, loss, norm, rate = recipe.step(state, data, rows, metrics.steps, clock, axis=self.axis)
        in_a_row = new.skipped[1]
        fatal, skipped = in_a_row > recipe.skip_bad, in_a_row > 0
        return new, Metrics(
            loss=metrics.loss + jnp.where(skipped & ~fatal, 0, loss),
            gradient_norm=metrics.gradient_norm + jnp.where(skipped & ~fatal, 0, norm),
            learning_rate=rate,
            steps=metrics.steps + 1,
            skipped=metrics.skipped + (skipped & ~fatal),
            bad_step=jnp.where(fatal & (metrics.bad_step < 0), new.step, metrics.bad_step),
        )


def flops_of_step(recipe: Recipe, state: TrainState, data: PyTree, again: bool = False) -> float:
    """Floating-point operations of the products and convolutions of one step on the global batch: `flops.of_jaxpr`.

    What rematerialisation computes again is not counted, unless `again`: it is no work of the model's (Chowdhery et al.
    2022, appendix B). `state` and `data` may be shapes. The step is traced, not compiled; the number is the same for
    every device.
    """
    rows = jax.ShapeDtypeStruct((recipe.batch,), jnp.int32)
    number, clock = jax.ShapeDtypeStruct((), jnp.int32), jax.ShapeDtypeStruct((), jnp.float32)
    if not again and recipe.model.once is not recipe.model:  # else the program's own tracing serves
        recipe = replace(recipe, model=recipe.model.once)
    return flops.of_function(partial(recipe.step, axis=None), state, data, rows, number, clock)
