"""An experiment with an ordered process: an order, a network that may be causal, exact likelihoods and bounds."""

from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key
from ml_collections import ConfigDict

from ddpm_jax import keys as random
from ddpm_jax import likelihood, models
from ddpm_jax.data import Description
from ddpm_jax.denoisers import LIKELY, Denoise, ordered_denoiser, ordered_outputs, temper
from ddpm_jax.experiment.base import LIKELIHOOD, Experiment, Measure, purpose_key
from ddpm_jax.experiment.options import model_options, objective_options
from ddpm_jax.likelihood import Kind, Terms, interval_groups
from ddpm_jax.models import Network, Sites
from ddpm_jax.objectives import losses
from ddpm_jax.objectives.times import TimeDistribution, make_times
from ddpm_jax.processes import Ordered
from ddpm_jax.processes.orders import Order, make_order
from ddpm_jax.samplers import Film
from ddpm_jax.schedules import Parametrised
from ddpm_jax.schedules.keeping import KEEPS

T_MIN = 1e-3
"""In continuous time, the least time that training looks at."""

SPACINGS = {"uniform": lambda u: u, "quadratic": lambda u: u**2}
"""Time grids that need no noise level."""


def order_of(config: ConfigDict, description: Description, name: str = "", chunk: int = 0) -> Order:
    """The config's order on images of this description, or another. Raises ValueError for a chunk that cannot be."""
    process = config.process
    apart = process.sites == "channels"
    count = description.dimensions if apart else description.dimensions // description.channels
    return make_order(
        name or process.order,
        description.space,
        description.channels,
        apart,
        chunk or process.chunk or count,
        process.order_seed,
    )


def sampling_order(config: ConfigDict, description: Description, steps: int | None = None) -> Order:
    """The order in which samples are revealed: the process's, or `sampler.order` in groups that make `steps` steps."""
    own = order_of(config, description)
    if not config.sampler.order:
        return own
    count = steps or config.sampler.steps or own.count
    return order_of(config, description, config.sampler.order, -(-own.count // min(count, own.count)))


def sampling_grid(config: ConfigDict, order: Order, steps: int | None = None) -> np.ndarray:
    """`[N + 1]` times from 1 to 0. An order of G groups is walked at multiples of 1/G; N = 0 is one group a step."""
    count = steps or config.sampler.steps or order.groups or order.count
    grid = SPACINGS[config.sampler.spacing](np.arange(count, -1, -1) / count)
    return np.round(grid * order.groups) / order.groups if order.groups else grid


def input_shape(config: ConfigDict, description: Description) -> tuple[int, ...]:
    """What the network is given: the values, and unless it is causal as many channels that say which are visible."""
    causal = config.model.name in models.CAUSAL
    return description.shape if causal else (*description.space, 2 * description.channels)


class OrderedExperiment(Experiment):
    """Information is removed by hiding sites, one after another."""

    @cached_property
    def schedule(self) -> Parametrised:
        """The fraction of sites that is kept at a time; it has no parameters."""
        keep: Any = KEEPS[self.config.process.schedule]
        return Parametrised(lambda key: {}, lambda params: keep)

    @cached_property
    def order(self) -> Order:
        """The order in which sites are revealed."""
        return order_of(self.config, self.description)

    def process(self, params: Any) -> Ordered:
        """Removal of information."""
        return self._ordered(self.order, self.config.process.schedule)

    def _ordered(self, order: Order, schedule: str) -> Ordered:
        return Ordered(order, KEEPS[schedule], self.config.process.sites == "channels")

    @property
    def causal(self) -> bool:
        """Whether the network's output at a site depends on the sites before it only."""
        return self.config.model.name in models.CAUSAL

    @cached_property
    def network(self) -> Network:
        """The network; one that is not causal is told which sites are visible, beside their values."""
        model, description = self.config.model, self.description
        count = ordered_outputs(model.prediction, description.channels, description.levels, model.components)
        shape = input_shape(self.config, description)
        return models.make(
            model.name,
            shape,
            count,
            sites=sites_of(self.config, description),
            **model_options(self.config, description),
        )

    def denoiser(self, params: Any, dropout_keys: Key[Array, " batch"] | None = None) -> Denoise:
        """The denoiser with these parameters; in training mode if there are keys for dropout."""
        network, weights = self.network, params["network"]

        def apply(x: Array, time: Array, condition: Any) -> Array:
            return network.apply(weights, x, time, condition, dropout_keys)

        def advance(cache: Any, x: Array, step: Array, condition: Any) -> tuple[Array, Any]:
            return network.advance(weights, cache, x, step, condition)

        model = self.config.model
        return ordered_denoiser(
            apply,
            self.process(params),
            model.prediction,
            self.description.values,
            self.description.channels,
            model.components,
            causal=self.causal,
            start=network.start if self.causal else None,
            advance=advance if self.causal else None,
        )

    @property
    def steps(self) -> int:
        """T: the number of groups of an order; of independent times as configured, 0 for continuous time."""
        return self.order.groups or self.config.process.steps

    @cached_property
    def times(self) -> TimeDistribution:
        """Where in time training looks."""
        section, keep = self.config.objective, KEEPS[self.config.process.schedule]
        return make_times(section.times, keep, self.steps, self.config.process.t_min or T_MIN, section.decoder)

    @cached_property
    def objective(self) -> losses.Objective:
        """What is minimised."""
        return losses.OBJECTIVES[self.config.objective.name](objective_options(self.config, self.steps))

    def sampling_process(self, params: Any, steps: int | None) -> Ordered:
        """The process, or one of the order that samples are to be revealed in."""
        if not self.config.sampler.order:
            return self.process(params)
        return self._ordered(sampling_order(self.config, self.description, steps), "linear")

    def grid(self, steps: int | None = None) -> np.ndarray:
        """The sampler's time grid, of `steps` intervals if given."""
        order = sampling_order(self.config, self.description, steps)
        groups = order.groups if self.config.sampler.order else None  # as many as there are, which may be fewer
        return sampling_grid(self.config, order, groups or steps)

    def finish(self, denoise: Denoise, film: bool) -> Denoise:
        """Temperature, and the truncation of unlikely levels."""
        sampler = self.config.sampler
        return temper(denoise, sampler.temperature, sampler.top_k, sampler.nucleus)

    def sampler_name(self, film: bool) -> str:
        """For a film the state of all sites is needed: the loop without a cache, whose draws are the same."""
        name = self.config.sampler.name
        return "first_order" if film and name == "cached" else name

    def shown(self, params: Any, film: Film, grid: np.ndarray, frames: tuple[int, ...], condition: Any) -> Film:
        """Hidden sites are grey; below them is the mean of what the network expects there, before any draw.

        In a fixed order only the next sites are learned, so the others stay grey. Without guidance and temperature.
        """
        process, denoise = self.process(params), self.denoiser(params)
        times, number = jnp.asarray(grid, film[0].dtype), np.asarray(frames)

        def frame(inputs: tuple) -> tuple[Array, Array]:
            x_t, t, s = inputs
            visible, mean = process.visible(x_t), denoise(x_t, t, condition).mean
            if self.order.sequence is not None:
                ranks = process.noise(jax.random.key(0), x_t.shape)  # its order is not random
                mean = jnp.where(process.visible(process.corrupt(mean, ranks, s)), mean, 0)
            return jnp.where(visible, x_t, 0), jnp.where(visible, x_t, mean)

        return jax.lax.map(frame, (film[0], times[number], times[number + 1]))

    @property
    def likelihood_kind(self) -> Kind | None:
        """Exact for a fixed order, a bound where the order is random; a point gives images no probability."""
        if self.config.model.prediction not in LIKELY:
            return None
        return "bound" if self.order.sequence is None else "exact"

    def likelihood(self, params: Any, rows: dict[str, Array]) -> Terms:
        """-log p of stored images, or the bound on it, in nats; the order belongs to row numbers."""
        x, condition = self.description.encode(rows["image"]), self.condition(rows["label"])
        keys = random.per_example(purpose_key(0, LIKELIHOOD), rows["row"])
        process, denoise = self.process(params), self.denoiser(params)
        if self.causal:
            zero = jnp.zeros(x.shape[0], x.dtype)
            posterior = denoise(x, zero, condition)
            return Terms(zero, posterior.loss(x).reshape(x.shape[0], -1).sum(axis=1), zero)
        grid, groups = self._bound_grid()
        return likelihood.bound(process, denoise, grid, keys, x, condition, groups, continuous=not self.steps)

    def _bound_grid(self) -> tuple[np.ndarray, int | None]:
        """The bound's intervals, and in how many runs they are taken; None: every one is evaluated."""
        count, steps = self.config.evaluation.likelihood_groups, self.steps
        if not steps:
            return np.append(np.linspace(1, self.config.process.t_min or T_MIN, count or 1000), 0.0), None
        exact = self.order.sequence is not None
        return np.arange(steps, -1, -1) / steps, None if exact else count or None

    def likelihood_facts(self) -> dict[str, Any]:
        """Evaluations, and the order."""
        grid, groups = self._bound_grid()
        intervals = len(grid) - 1
        evaluations = 1 if self.causal else len(interval_groups(intervals, groups or intervals)) - 1
        return {
            "network_evaluations": evaluations,
            "intervals": self.steps or "continuous time",
            "order": self.config.process.order,
            "chunk": self.order.chunk,
        }

    def measures(self) -> dict[str, Measure]:
        """For a network of any order, the exact likelihood of the model that takes the sites in one order."""
        evaluation, name = self.config.evaluation, self.config.evaluation.order
        if not evaluation.exact_images or self.likelihood_kind != "bound":
            return {}
        title, facts = f"exact in {name} order", {"order": name, "chunk": self.order.chunk}
        return {"in_order": Measure(title, self.in_order, evaluation.exact_images, "exact", facts=facts)}

    def in_order(self, params: Any, rows: dict[str, Array]) -> tuple[Float[Array, " batch"], Int[Array, " batch"]]:
        """-log p of stored images, chunk by chunk in the order `evaluation.order`, in nats, and network evaluations."""
        order = order_of(self.config, self.description, self.config.evaluation.order)
        groups = order.groups or order.count
        x, condition = self.description.encode(rows["image"]), self.condition(rows["label"])
        grid = np.arange(groups, -1, -1) / groups
        keys = random.per_example(purpose_key(1, LIKELIHOOD), rows["row"])
        process = self._ordered(order, "linear")  # the grid is to reveal one chunk an interval
        terms = likelihood.bound(process, self.denoiser(params), grid, keys, x, condition)
        return terms.total, jnp.full(x.shape[0], groups, jnp.int32)


def sites_of(config: ConfigDict, description: Description) -> Sites:
    """The image as the sequence that a network reads; in row-major order where the process has no fixed one."""
    order = order_of(config, description)
    sequence = range(order.count) if order.sequence is None else order.sequence
    apart = config.process.sites == "channels"
    return Sites(tuple(int(site) for site in sequence), order.chunk, apart, description.levels or 0)
