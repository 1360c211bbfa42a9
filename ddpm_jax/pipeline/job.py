"""One training run, assembled: first state, data, budget and the compiled step. `train` drives it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree
from ml_collections import ConfigDict

from ddpm_jax.data import Dataset, fits_device
from ddpm_jax.devices.plan import Plan
from ddpm_jax.devices.traced import remembered
from ddpm_jax.evaluation.figures import rows_of
from ddpm_jax.experiment import Experiment
from ddpm_jax.files import Facts
from ddpm_jax.keys import PARAMETERS, TRAINING, purpose_key
from ddpm_jax.models import parameter_count
from ddpm_jax.training.feed import Feed, FromHost, Resident
from ddpm_jax.training.optimizer import Budget, LearningRate, make_optimizer
from ddpm_jax.training.state import TrainState, new_state, weights
from ddpm_jax.training.step import Advance, Recipe, flops_of_step, no_metrics


@dataclass(frozen=True, eq=False)
class Job:
    """What the loop needs.

    Attributes:
        experiment: the model, and the settings of its training.
        plan: the devices.
        dataset: the data.
        feed: training data for the steps.
        recipe: of a step.
        budget: when to stop.
        known_flops: of one step, where the budget needed them.
        made_from: what the compiled functions follow from besides code, where they are to be traced once, and not anew
            in each process.
    """

    experiment: Experiment
    plan: Plan
    dataset: Dataset
    feed: Feed
    recipe: Recipe
    budget: Budget
    known_flops: float = 0.0
    made_from: Facts | None = None

    @cached_property
    def _first(self) -> Callable[[jax.Array], TrainState]:
        return self.plan.traced(_first_state(self.experiment), "first state", self.made_from)

    def fresh(self) -> TrainState:
        """The state before the first step, in its shardings."""
        return self.plan.initialise(self._first, purpose_key(self.experiment.config.seed, PARAMETERS))

    def begun_with(self, params: PyTree) -> TrainState:
        """The same with other parameters than drawn ones; averages start at them, and the optimizer anew."""
        return self.plan.initialise(partial(_begun_with, self.experiment), params)

    @cached_property
    def abstract(self) -> TrainState:
        """Its shapes and types."""
        return jax.eval_shape(self._first, jax.random.key(0))

    @cached_property
    def run(self) -> Any:
        """`(state, data, count, clock) -> (state, metrics)`, compiled."""
        advance = Advance(self.recipe, self.plan.axis)
        return self.plan.train(advance, no_metrics, self.recipe.batch, self.feed.resident, self.made_from)

    def data(self, start: int) -> AbstractContextManager[Callable[[int, int], PyTree]]:
        """From the step that a run starts at to a context of `(step, count) -> data`, which ends its reading ahead."""
        return self.feed.data(start)

    @cached_property
    def _validation(self) -> tuple[Any, PyTree]:
        config = self.experiment.config
        rows = rows_of(self.dataset.split("validation"), config.evaluation.validation_images)
        batch = max(config.sampler.batch, config.data.batch)
        return self.plan.each(self.experiment.model.validation_loss, batch), rows

    def validation_loss(self, state: TrainState) -> float:
        """Of a state, on images that it is not trained on."""
        each, rows = self._validation
        return float(each(weights(state, self.experiment.config.sampler.ema), rows).mean())

    @cached_property
    def _flops(self) -> float:
        if self.known_flops or self.made_from is None:
            return self.known_flops or self._counted()
        told = {"flops": self.made_from, "plan": [self.plan.map, self.plan.count]}
        return float(remembered(told, lambda: str(self._counted()).encode()))

    def _counted(self) -> float:
        return flops_of_step(self.recipe, self.abstract, self.feed.example)

    def count_flops(self) -> float:
        """Of one training step on the global batch, counted from its trace. Slow the first time."""
        return self._flops

    def rate_at(self, step: int, elapsed: float) -> float:
        """The learning rate of the step after so many, and so many seconds."""
        clock = jnp.float32(self.budget.clock(elapsed))
        return float(self.recipe.rate(jnp.int32(step), clock))

    @property
    def parameters(self) -> int:
        """How many there are."""
        return parameter_count(self.abstract.params)


def _first_state(experiment: Experiment) -> Callable[[jax.Array], TrainState]:
    return jax.jit(partial(_start, experiment))


def _start(experiment: Experiment, key: jax.Array) -> TrainState:
    return _begun_with(experiment, experiment.model.init(key))


def _begun_with(experiment: Experiment, params: PyTree) -> TrainState:
    config, times = experiment.config, experiment.model.times
    return new_state(params, decays_of(config), optimizer_of(config), extra=times.start())


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


def make_job(experiment: Experiment, plan: Plan, dataset: Dataset, made_from: Facts | None = None) -> Job:
    """The job of an experiment on these devices and data; `made_from` as in `Job`."""
    config = experiment.config
    source, limits = dataset.split("train"), config.training
    resident = config.data.placement == "device" or (config.data.placement == "auto" and fits_device(source))
    if resident:
        feed: Feed = Resident(source, plan, config.data.flip)
    else:
        feed = FromHost(source, plan, config.data.batch, limits.dispatch, config.seed, config.data.flip)
    first = _recipe(experiment, plan, feed, Budget(1))
    flops = flops_of_step(first, abstract_state(experiment), feed.example) if limits.flops else 0.0
    budget = Budget.of(config.data.batch, flops, limits.steps, limits.images, limits.flops, limits.seconds)
    return Job(experiment, plan, dataset, feed, _recipe(experiment, plan, feed, budget), budget, flops, made_from)


def _recipe(experiment: Experiment, plan: Plan, feed: Feed, budget: Budget) -> Recipe:
    config, section = experiment.config, experiment.config.optimizer
    return Recipe(
        model=experiment.model,
        feed=feed,
        optimizer=optimizer_of(config),
        rate=LearningRate(section.learning_rate, section.warmup, section.schedule, budget),
        decays=decays_of(config),
        batch=config.data.batch,
        root=purpose_key(config.seed, TRAINING),
        accumulate=config.training.accumulate,
        skip_bad=config.training.skip_bad,
        plan=plan,
    )
