"""One training run, assembled: first state, data, budget and the compiled step. `train` drives it."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ddpm_jax.data import Dataset, Source, draw, fits_device, host_batches, prefetch
from ddpm_jax.devices.plan import Plan
from ddpm_jax.evaluation.figures import rows_of
from ddpm_jax.experiment import Experiment
from ddpm_jax.keys import PARAMETERS, TRAINING, purpose_key
from ddpm_jax.models import parameter_count
from ddpm_jax.training.optimizer import Budget, learning_rate, make_optimizer
from ddpm_jax.training.state import TrainState, new_state, weights
from ddpm_jax.training.step import Recipe, flops_of_step, make_advance, no_metrics


@dataclass(frozen=True, eq=False)
class Job:
    """What the loop needs.

    Attributes:
        fresh: makes the state before the first step, in its shardings.
        abstract: its shapes and types.
        run: `(state, data, count, clock) -> (state, metrics)`, compiled.
        data: from the step that a run starts at to a context of `(step, count) -> data`, which ends its reading ahead.
        budget: when to stop.
        validation_loss: of a state, on images that it is not trained on.
        count_flops: of one training step on the global batch, by the compiler before optimisation. Slow the first time.
        parameters: how many there are.
    """

    fresh: Callable[[], TrainState]
    abstract: TrainState
    run: Callable[[TrainState, Any, Any, Any], tuple[TrainState, Any]]
    data: Callable[[int], AbstractContextManager[Callable[[int, int], Any]]]
    budget: Budget
    validation_loss: Callable[[TrainState], float]
    count_flops: Callable[[], float]
    parameters: int


def _first_state(experiment: Experiment) -> Callable[[jax.Array], TrainState]:
    config = experiment.config

    @jax.jit
    def first(key: jax.Array) -> TrainState:
        parameters = experiment.model.init(key)
        return new_state(parameters, decays_of(config), optimizer_of(config), extra=experiment.model.times.start())

    return first


def decays_of(config: ConfigDict) -> tuple[float, ...]:
    """The decays of the averages to keep; their text names them in the state."""
    return tuple(float(decay) for decay in config.optimizer.ema)


def optimizer_of(config: ConfigDict) -> Any:
    """The optimizer that the config describes."""
    section = config.optimizer
    return make_optimizer(section.name, section.clip, section.b1, section.b2, section.epsilon, section.weight_decay)


def abstract_state(experiment: Experiment) -> TrainState:
    """The shapes and types of a run's state, without making one."""
    return jax.eval_shape(_first_state(experiment), jax.random.key(0))


def make_job(experiment: Experiment, plan: Plan, dataset: Dataset) -> Job:
    """The job of an experiment on these devices and data."""
    config, model = experiment.config, experiment.model
    source, batch = dataset.split("train"), config.data.batch
    section = config.optimizer
    optimizer, decays = optimizer_of(config), decays_of(config)
    key_params, key_steps = purpose_key(config.seed, PARAMETERS), purpose_key(config.seed, TRAINING)

    first_state = _first_state(experiment)
    resident = config.data.placement == "device" or (config.data.placement == "auto" and fits_device(source))
    feed = resident_feed(source, plan, config) if resident else host_feed(source, plan, config)

    def recipe(budget: Budget) -> Recipe:
        rate = learning_rate(section.learning_rate, section.warmup, section.schedule, budget)
        parts, bad = config.training.accumulate, config.training.skip_bad
        return Recipe(model.loss, model.times, feed.draw, optimizer, rate, decays, batch, key_steps, parts, bad)

    abstract = jax.eval_shape(first_state, key_params)
    limits = config.training
    flops = flops_of_step(recipe(Budget(1)), abstract, feed.example) if limits.flops else 0.0
    budget = Budget.of(batch, flops, limits.steps, limits.images, limits.flops, limits.seconds)
    chosen = recipe(budget)
    return Job(
        fresh=lambda: plan.initialise(first_state, key_params),
        abstract=abstract,
        run=plan.train(make_advance(chosen, plan.axis), no_metrics, batch, resident),
        data=feed.data,
        budget=budget,
        validation_loss=_validation_loss(experiment, plan, dataset.split("validation")),
        count_flops=cache(lambda: flops or flops_of_step(chosen, abstract, feed.example)),
        parameters=parameter_count(abstract.params),
    )


def _validation_loss(experiment: Experiment, plan: Plan, source: Source) -> Callable[[TrainState], float]:
    rows = rows_of(source, experiment.config.evaluation.validation_images)
    each = plan.each(
        experiment.model.validation_loss, max(experiment.config.sampler.batch, experiment.config.data.batch)
    )
    return lambda state: float(each(weights(state, experiment.config.sampler.ema), rows).mean())


@dataclass(frozen=True, eq=False)
class Feed:
    """Training data: what a dispatch is given, and how a step draws its batch from that.

    Attributes:
        data: as `Job.data`.
        draw: `(data, keys, i) -> batch`, inside the step.
        example: shapes and types of `data`.
    """

    data: Callable[[int], AbstractContextManager[Callable[[int, int], Any]]]
    draw: Callable[[Any, Any, Any], dict[str, Any]]
    example: Any


def resident_feed(source: Source, plan: Plan, config: ConfigDict) -> Feed:
    """The whole set on every device; a step draws its batch itself."""
    arrays = plan.replicate(source.arrays())
    return Feed(
        data=lambda start: nullcontext(lambda step, count: arrays),
        draw=lambda data, keys, i: draw(data[0], data[1], keys, flip=config.data.flip),
        example=jax.eval_shape(lambda: arrays),
    )


def host_feed(source: Source, plan: Plan, config: ConfigDict) -> Feed:
    """Batches that the host reads ahead; a dispatch is given those of all its steps, `[dispatch, batch, ...]`."""
    batch, most = config.data.batch, config.training.dispatch
    batches = host_batches(source, config.seed, batch, plan.local_rows(batch), config.data.flip)

    @contextmanager
    def data(start: int) -> Iterator[Callable[[int, int], Any]]:
        with closing(prefetch(batches, start, 2**62, depth=2 * most)) as ahead:

            def steps(step: int, count: int) -> Any:
                ready = list(itertools.islice(ahead, count))
                ready += [ready[-1]] * (most - count)  # one shape, so that a shorter dispatch is the same program
                return plan.put_steps(jax.tree.map(lambda *parts: np.stack(parts), *ready))

            yield steps

    shape = (most, batch, *source.description.shape)
    return Feed(
        data=data,
        draw=lambda data, keys, i: jax.tree.map(lambda a: a[i], data),
        example={
            "image": jax.ShapeDtypeStruct(shape, jnp.uint8),
            "condition": jax.ShapeDtypeStruct(shape[:2], jnp.int32),
            "row": jax.ShapeDtypeStruct(shape[:2], jnp.int32),
        },
    )
