"""From a config to the objects of one experiment: process, network, denoiser, loss, sampler. Commands share this."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key
from ml_collections import ConfigDict

from ddpm_jax import grids, likelihood, losses, models, samplers, schedules
from ddpm_jax import keys as random
from ddpm_jax.data import Description
from ddpm_jax.denoisers import CATEGORICAL, Denoise, as_point, clip, gaussian_denoiser, guide, outputs, threshold
from ddpm_jax.models import Network
from ddpm_jax.options import model_options, objective_options, sampler_options, times_options
from ddpm_jax.processes import PROCESSES, Gaussian
from ddpm_jax.schedules import Parametrised
from ddpm_jax.schedules.times import TimeDistribution, make_times

PARAMETERS, TRAINING, SAMPLES, VALIDATION, LIKELIHOOD = range(5)


def purpose_key(seed: int, purpose: int) -> Key[Array, ""]:
    """The root key of one purpose: no two purposes share randomness, whatever their seeds."""
    return jax.random.fold_in(jax.random.key(seed), purpose)


@dataclass(frozen=True, eq=False)
class Experiment:
    """What a checked config describes, on data of this description. All methods are pure functions of parameters.

    Parameters are `{"network": ..., "schedule": ...}`; most schedules have none.
    """

    config: ConfigDict
    description: Description

    @cached_property
    def schedule(self) -> Parametrised:
        """The schedule, before its parameters."""
        return grids.family_of(self.config)

    def process(self, params: Any) -> Gaussian:
        """Removal of information, with these parameters."""
        values = None if self.description.levels is None else self.description.values
        return PROCESSES[self.config.process.name](self.schedule.bind(params["schedule"]), values)

    @cached_property
    def network(self) -> Network:
        """The network; what it predicts decides how many numbers it puts out for each value."""
        model, description = self.config.model, self.description
        count = outputs(model.prediction, model.variance, description.levels)
        options = model_options(self.config, description)
        return models.make(model.name, description.shape, count * description.channels, **options)

    def init(self, key: Key[Array, ""]) -> dict[str, Any]:
        """Fresh parameters."""
        key_network, key_schedule = jax.random.split(key)
        return {"network": self.network.init(key_network), "schedule": self.schedule.init(key_schedule)}

    @cached_property
    def times(self) -> TimeDistribution:
        """Where in time training looks."""
        config, objective = self.config, self.config.objective
        schedule, least = grids.schedule_of(config), grids.t_min(config)
        options = times_options(config)
        return make_times(objective.times, schedule, config.process.steps, least, objective.decoder, **options)

    @cached_property
    def objective(self) -> losses.Objective:
        """What is minimised."""
        return losses.OBJECTIVES[self.config.objective.name](objective_options(self.config))

    def denoiser(
        self, params: Any, dropout_keys: Key[Array, " batch"] | None = None, process: Gaussian | None = None
    ) -> Denoise:
        """The denoiser with these parameters; in training mode if there are keys for dropout."""

        def network(x: Array, time: Array, condition: Any) -> Array:
            return self.network.apply(params["network"], x, time, condition, dropout_keys)

        model = self.config.model
        return gaussian_denoiser(
            network,
            process or self.process(params),
            model.prediction,
            model.variance,
            model.time,
            model.input,
            self.config.process.steps or 1000,
            model.sigma_data,
        )

    def condition(self, labels: Int[Array, " batch"] | None) -> Int[Array, " batch"] | None:
        """The condition that the network takes; None for an unconditional one."""
        return labels if self.config.model.conditional else None

    def loss(
        self,
        params: Any,
        frozen: Any,
        keys: Key[Array, " batch"],
        dropout_keys: Key[Array, " batch"] | None,
        batch: dict[str, Array],
        t: Float[Array, " batch"],
        s: Float[Array, " batch"],
        weight: Float[Array, " batch"],
    ) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
        """The training loss of each example of a stored batch, and its term without weight: see `losses.loss`."""
        keys_drop, keys_noise = random.split(keys)
        labels = batch["condition"]
        dropped = random.bernoulli(keys_drop, self.config.objective.condition_drop, labels.shape)
        condition = self.condition(jnp.where(dropped, self.description.null_condition, labels))
        x = self.description.encode(batch["x"])
        denoise, process = self.denoiser(params, dropout_keys), self.process(params)
        return losses.loss(process, denoise, self.objective, keys_noise, x, condition, t, s, weight)

    def validation_loss(self, params: Any, rows: dict[str, Array]) -> Float[Array, " batch"]:
        """The training loss without dropout, each image at noise and a time that belong to its row number."""
        keys_times, keys_noise = random.split(random.per_example(purpose_key(0, VALIDATION), rows["row"]))
        history = self.times.start()
        t, s, weight = (drawn[:, 0] for drawn in jax.vmap(lambda key: self.times.draw(key, 1, history))(keys_times))
        x, condition = self.description.encode(rows["image"]), self.condition(rows["label"])
        process, denoise = self.process(params), self.denoiser(params)
        return losses.loss(process, denoise, self.objective, keys_noise, x, condition, t, s, weight)[0]

    def sample(
        self,
        params: Any,
        keys: Key[Array, " batch"],
        labels: Int[Array, " batch"],
        steps: int | None = None,
        frames: tuple[int, ...] = (),
    ) -> tuple[Array, tuple[Array, Array], Int[Array, " batch"]]:
        """Images as stored (uint8 levels, `[batch, *site]`), frames (x_t, x_hat) asked for, network evaluations."""
        config = self.config.sampler
        process, denoise = self.process(params), self.denoiser(params)
        if config.guidance != 1:
            denoise = guide(denoise, config.guidance, jnp.full_like(labels, self.description.null_condition))
        if config.threshold:
            denoise = threshold(denoise, config.threshold)
        elif config.clip:
            denoise = clip(denoise)
        # Draws of x serve the Markov process with a variance of its own; a film shows means, not draws.
        if config.eta < 1 or frames or self.config.model.prediction == CATEGORICAL:
            denoise = as_point(denoise)
        run = samplers.make(config.name, process, denoise, self.condition(labels), sampler_options(self.config))
        keys_prior, keys_steps = random.split(keys)
        start = process.prior(keys_prior, (labels.shape[0], *self.description.shape))
        x, film, evaluations = run(grids.sampling(self.config, steps), keys_steps, start, frames)
        return self.description.decode(x), film, evaluations

    def bound(self, params: Any, rows: dict[str, Array]) -> likelihood.Terms:
        """The variational bound's terms for stored images; noise belongs to row numbers."""
        steps = self.config.process.steps
        return likelihood.bound(
            self.process(params),
            self.denoiser(params),
            grids.bound(self.config),
            random.per_example(purpose_key(0, LIKELIHOOD), rows["row"]),
            self.description.encode(rows["image"]),
            self.condition(rows["label"]),
            (self.config.evaluation.likelihood_groups or None) if steps else None,
            continuous=not steps,
        )

    def ode(self, params: Any, rows: dict[str, Array]) -> tuple[Float[Array, " batch"], Int[Array, " batch"]]:
        """-log of the discrete likelihood by the probability-flow ODE in nats, and the network evaluations it took.

        A table's log-SNR is joined by straight lines for this.
        """
        evaluation = self.config.evaluation
        schedule = self.schedule.bind(params["schedule"])
        process = Gaussian(schedules.interpolated(schedule), self.description.values)
        return likelihood.ode(
            process,
            self.denoiser(params, process=process),
            random.per_example(purpose_key(1, LIKELIHOOD), rows["row"]),
            self.description.encode(rows["image"]),
            self.condition(rows["label"]),
            t_min=grids.t_min(self.config),
            divergence=evaluation.ode_divergence,
            draws=evaluation.ode_draws,
            rtol=evaluation.ode_tolerance,
            atol=evaluation.ode_tolerance,
        )
