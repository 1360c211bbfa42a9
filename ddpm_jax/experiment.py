"""From a config to the objects of one experiment: process, network, denoiser, loss, sampler. Commands share this."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key
from ml_collections import ConfigDict

from ddpm_jax import keys as random
from ddpm_jax import likelihood, losses, models, samplers
from ddpm_jax.configuration import model_options
from ddpm_jax.data import Description
from ddpm_jax.denoisers import Denoise, as_point, clip, gaussian_denoiser, guide
from ddpm_jax.denoisers.parameterisation import table_index
from ddpm_jax.models import Network
from ddpm_jax.processes import PROCESSES, Gaussian
from ddpm_jax.schedules import SCHEDULES
from ddpm_jax.schedules.grids import table_grid
from ddpm_jax.schedules.times import Times, discrete

PARAMETERS, TRAINING, SAMPLES, VALIDATION, LIKELIHOOD = range(5)


def purpose_key(seed: int, purpose: int) -> Key[Array, ""]:
    """The root key of one purpose: no two purposes share randomness, whatever their seeds."""
    return jax.random.fold_in(jax.random.key(seed), purpose)


@dataclass(frozen=True, eq=False)
class Experiment:
    """What a checked config describes, on data of this description. All methods are pure functions of parameters."""

    config: ConfigDict
    description: Description

    @cached_property
    def process(self) -> Gaussian:
        """Removal of information."""
        schedule = SCHEDULES[self.config.process.schedule](self.config.process.steps)
        return PROCESSES[self.config.process.name](
            schedule, None if self.description.levels is None else self.description.values
        )

    @cached_property
    def network(self) -> Network:
        """The network; it predicts one number for each value of the image."""
        options = model_options(self.config, self.description)
        return models.make(self.config.model.name, self.description.shape, self.description.channels, **options)

    @cached_property
    def times(self) -> Times:
        """Where in time training looks."""
        return discrete(self.config.process.steps)

    def denoiser(self, params: Any, dropout_keys: Key[Array, " batch"] | None = None) -> Denoise:
        """The denoiser with these parameters; in training mode if there are keys for dropout."""

        def network(x: Array, time: Array, condition: Any) -> Array:
            return self.network.apply(params, x, time, condition, dropout_keys)

        model = self.config.model
        return gaussian_denoiser(
            network, self.process, model.prediction, model.variance, table_index(self.config.process.steps)
        )

    def condition(self, labels: Int[Array, " batch"] | None) -> Int[Array, " batch"] | None:
        """The condition that the network takes; None for an unconditional one."""
        return labels if self.config.model.conditional else None

    def loss(
        self,
        params: Any,
        frozen: Any,
        extra: Any,
        keys: Key[Array, " batch"],
        dropout_keys: Key[Array, " batch"],
        batch: dict[str, Array],
        t: Float[Array, " batch"],
        s: Float[Array, " batch"],
    ) -> Float[Array, " batch"]:
        """The training loss of each example of a stored batch, `[batch]`."""
        keys_drop, keys_noise = random.split(keys)
        labels = batch["condition"]
        dropped = random.bernoulli(keys_drop, self.config.objective.condition_drop, labels.shape)
        condition = self.condition(jnp.where(dropped, self.description.null_condition, labels))
        objective = losses.OBJECTIVES[self.config.objective.name]
        x = self.description.encode(batch["x"])
        return losses.loss(self.process, self.denoiser(params, dropout_keys), objective, keys_noise, x, condition, t, s)

    def validation_loss(self, params: Any, rows: dict[str, Array]) -> Float[Array, " batch"]:
        """The training loss without dropout, each image at noise and a time that belong to its row number."""
        keys_times, keys_noise = random.split(random.per_example(purpose_key(0, VALIDATION), rows["row"]))
        t, s = jax.vmap(lambda key: self.times(key, 1))(keys_times)
        condition = self.condition(rows["label"])
        objective = losses.OBJECTIVES[self.config.objective.name]
        x = self.description.encode(rows["image"])
        return losses.loss(self.process, self.denoiser(params), objective, keys_noise, x, condition, t[:, 0], s[:, 0])

    def grid(self, steps: int | None = None) -> np.ndarray:
        """The sampler's time grid; of `steps` network evaluations if given."""
        sampler = self.config.sampler
        return table_grid(self.config.process.steps, steps or sampler.steps, sampler.spacing)

    def sample(
        self,
        params: Any,
        keys: Key[Array, " batch"],
        labels: Int[Array, " batch"],
        steps: int | None = None,
        frames: tuple[int, ...] = (),
    ) -> tuple[Array, tuple[Array, Array]]:
        """Images as stored (uint8 levels, `[batch, *site]`), and the frames (x_t, x_hat) asked for, in [-1, 1]."""
        sampler = self.config.sampler
        denoise = self.denoiser(params)
        if sampler.guidance != 1:
            denoise = guide(denoise, sampler.guidance, jnp.full_like(labels, self.description.null_condition))
        if sampler.clip:
            denoise = clip(denoise)
        if (
            sampler.eta < 1 or frames
        ):  # the larger variance is the Markov process's alone; a film shows means, not draws
            denoise = as_point(denoise)
        estimate = samplers.ESTIMATES[sampler.name](denoise, self.condition(labels))
        keys_prior, keys_steps = random.split(keys)
        start = self.process.prior(keys_prior, (labels.shape[0], *self.description.shape))
        x, film = samplers.sample(
            self.process, estimate, self.grid(steps), sampler.eta, keys_steps, start, frames=frames
        )
        return self.description.decode(x), film

    def bound(self, params: Any, rows: dict[str, Array]) -> likelihood.Terms:
        """The variational bound's terms for stored images; noise belongs to row numbers."""
        keys = random.per_example(purpose_key(0, LIKELIHOOD), rows["row"])
        grid = table_grid(self.config.process.steps, self.config.process.steps)
        return likelihood.bound(
            self.process,
            self.denoiser(params),
            grid,
            keys,
            self.description.encode(rows["image"]),
            self.condition(rows["label"]),
            self.config.evaluation.likelihood_groups or None,
        )
