"""What every experiment does, whatever its process: first parameters, training loss, samples."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key
from ml_collections import ConfigDict

from ddpm_jax import keys as random
from ddpm_jax import samplers
from ddpm_jax.data import Description
from ddpm_jax.denoisers import Denoise, guide
from ddpm_jax.experiment.options import sampler_options
from ddpm_jax.likelihood import Kind, Terms
from ddpm_jax.models import Network
from ddpm_jax.objectives import losses
from ddpm_jax.objectives.times import TimeDistribution
from ddpm_jax.processes import Process
from ddpm_jax.samplers import Film
from ddpm_jax.schedules import Parametrised

PARAMETERS, TRAINING, SAMPLES, VALIDATION, LIKELIHOOD = range(5)


def purpose_key(seed: int, purpose: int) -> Key[Array, ""]:
    """The root key of one purpose: no two purposes share randomness, whatever their seeds."""
    return jax.random.fold_in(jax.random.key(seed), purpose)


@dataclass(frozen=True)
class Measure:
    """A further likelihood of test images, reported apart from the first.

    Attributes:
        title: what a progress bar calls it.
        nats: `(params, rows) -> nats, network evaluations`, each `[batch]`.
        images: how many at most.
        kind: of the figure.
        dequantisation: how discrete pixels were made continuous.
        draws: of the dequantisation.
        facts: what else to keep beside the figure.
    """

    title: str
    nats: Callable[[Any, dict[str, Array]], tuple[Float[Array, " batch"], Int[Array, " batch"]]]
    images: int
    kind: Kind
    dequantisation: str = "none"
    draws: int = 1
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Experiment(ABC):
    """What a checked config describes, on data of this description. All methods are pure functions of parameters.

    Parameters are `{"network": ..., "schedule": ...}`; most schedules have none.
    """

    config: ConfigDict
    description: Description

    # What a process of its own kind decides.

    @cached_property
    @abstractmethod
    def schedule(self) -> Parametrised:
        """The schedule, before its parameters."""

    @abstractmethod
    def process(self, params: Any) -> Process:
        """Removal of information, with these parameters."""

    @cached_property
    @abstractmethod
    def network(self) -> Network:
        """The network; what it predicts decides how many numbers it puts out."""

    @abstractmethod
    def denoiser(self, params: Any, dropout_keys: Key[Array, " batch"] | None = None) -> Denoise:
        """The denoiser with these parameters; in training mode if there are keys for dropout."""

    @cached_property
    @abstractmethod
    def times(self) -> TimeDistribution:
        """Where in time training looks."""

    @cached_property
    @abstractmethod
    def objective(self) -> losses.Objective:
        """What is minimised."""

    @abstractmethod
    def grid(self, steps: int | None = None) -> np.ndarray:
        """The sampler's time grid, of `steps` intervals if given."""

    @abstractmethod
    def finish(self, denoise: Denoise, film: bool) -> Denoise:
        """The denoiser as the sampler is to use it: the last wrappers. `film`: its estimates will be looked at."""

    def sampling_process(self, params: Any, steps: int | None) -> Process:
        """The process whose steps back are taken in sampling."""
        return self.process(params)

    def sampler_name(self, film: bool) -> str:
        """Which sampler draws."""
        return self.config.sampler.name

    def shown(self, params: Any, film: Film, grid: np.ndarray, frames: tuple[int, ...], condition: Any) -> Film:
        """The film as a person is to see it, values in [-1, 1]."""
        return film

    @property
    @abstractmethod
    def likelihood_kind(self) -> Kind | None:
        """What `likelihood` computes; None where the model gives images no probability."""

    @abstractmethod
    def likelihood(self, params: Any, rows: dict[str, Array]) -> Terms:
        """-log p of stored images, or the bound on it, in nats; noise belongs to row numbers."""

    @abstractmethod
    def likelihood_facts(self) -> dict[str, Any]:
        """How `likelihood` is computed, to be kept beside the figures."""

    def measures(self) -> dict[str, Measure]:
        """Further likelihoods by name."""
        return {}

    # What is the same for all.

    def init(self, key: Key[Array, ""]) -> dict[str, Any]:
        """Fresh parameters."""
        key_network, key_schedule = jax.random.split(key)
        return {"network": self.network.init(key_network), "schedule": self.schedule.init(key_schedule)}

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
    ) -> tuple[Array, Film, Int[Array, " batch"]]:
        """Images as stored (uint8 levels, `[batch, *site]`), frames (x_t, x_hat) asked for, network evaluations."""
        process, denoise = self.sampling_process(params, steps), self.denoiser(params)
        condition = self.condition(labels)
        if (weight := self.config.sampler.guidance) != 1:
            denoise = guide(denoise, weight, jnp.full_like(labels, self.description.null_condition))
        denoise, grid = self.finish(denoise, bool(frames)), self.grid(steps)
        name, options = self.sampler_name(bool(frames)), sampler_options(self.config)
        keys_prior, keys_steps = random.split(keys)
        start = process.prior(keys_prior, (labels.shape[0], *self.description.shape))
        run = samplers.make(name, process, denoise, condition, options)
        x, film, evaluations = run(grid, keys_steps, start, frames)
        if frames:
            film = self.shown(params, film, grid, frames, condition)
        return self.description.decode(x), film, evaluations
