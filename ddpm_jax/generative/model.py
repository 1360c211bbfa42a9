"""What is trained: a process that removes, a network that predicts, and what makes a loss of the two."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float, Key, PyTree

from ddpm_jax import keys as random
from ddpm_jax.conditions import Condition
from ddpm_jax.data import Description
from ddpm_jax.denoisers import Denoiser
from ddpm_jax.models import Network
from ddpm_jax.objectives.losses import Objective, loss
from ddpm_jax.objectives.times import TimeDistribution
from ddpm_jax.processes import Process, Refusal, Traits

Rows = dict[str, Any]
"""Some images of a data set: `{"image", "condition", "row"}`.

`image` as stored, `[batch, *site]`; `condition` what is known of them, `{name: [batch, ...]}`; `row` their numbers in
the split, int32 `[batch]`.
"""


@runtime_checkable
class Prediction(Protocol):
    """What a network's raw output means, and what the network is told."""

    @property
    def likely(self) -> bool:
        """Whether images are given a probability."""
        ...

    def numbers(self, channels: int, levels: int | None) -> int:
        """How many numbers the network puts out for each pixel."""
        ...

    def network_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of what the network is given, for images of this shape."""
        ...

    def denoiser(self, network: Any, process: Any) -> Denoiser:
        """The denoiser of a network `(x, time, condition) -> raw` with its parameters bound."""
        ...

    def refusals(
        self, traits: Traits, schedule: str = "its schedule", discrete: bool = True, apart: bool = False
    ) -> Iterator[Refusal]:
        """What does not go with a process, its schedule's name, whether time has steps, whether channels are apart."""
        ...


@dataclass(frozen=True, eq=False)
class Model:
    """A generative model. All methods are pure functions of parameters, `{"network": ..., "schedule": ...}`.

    >>> import ddpm_jax as dj
    >>> data = dj.data.load("digits")
    >>> prediction, process = dj.GaussianPrediction("v", time="thousand"), dj.Gaussian(dj.schedules.VP())
    >>> network = dj.models.make("dit", (8, 8, 1), 1, channels=8, depth=1, heads=1, patch=4)
    >>> loss, times = dj.objectives.losses.V(), dj.objectives.times.Uniform(t_min=1e-5)
    >>> model = Model(data.description, process, network, prediction, loss, times)
    >>> sorted(model.init(jax.random.key(0)))
    ['network', 'schedule']

    Attributes:
        description: of the data: shape, levels, conditions.
        process: what removes information; its schedule's parameters, if it has any, are the model's.
        network: for inputs of `prediction.network_shape`, with `prediction.numbers` numbers a pixel.
        prediction: what the network's output means.
        objective: what is minimised.
        times: where in time training looks.
        condition_drop: how often a network is trained without all of its conditions.
        estimator: how -log p of an image is computed; None: the model gives images no probability.
        condition_drop_each: how often it is trained without each of its conditions by itself, where there are several.
        condition_drop_own: the conditions that have a share of their own in place of that, and these shares.
    """

    description: Description
    process: Process
    network: Network
    prediction: Prediction
    objective: Objective
    times: TimeDistribution
    condition_drop: float = 0.1
    estimator: Any = None
    condition_drop_each: float = 0.0
    condition_drop_own: tuple[tuple[str, float], ...] = ()

    @property
    def looped(self) -> tuple[str, ...]:
        """See `Network.looped`; by where the parameters are in the model's."""
        return tuple(f"network/{name}" for name in self.network.looped)

    @property
    def once(self) -> "Model":
        """The same model, computing nothing twice: see `Network.once`."""
        network = self.network.once
        return self if network is self.network else replace(self, network=network)

    def refusals(self) -> Iterator[str]:
        """What of its parts does not go together, a line each."""
        traits, schedule, discrete = self.process.traits(), "its schedule", self.times.steps > 0
        kind, apart = traits.kind, getattr(self.process, "apart", False)
        found = [*self.prediction.refusals(traits, schedule, discrete, apart)]
        found += self.objective.refusals("the objective", traits, schedule)
        yield from (reason for _, reason in found)
        for part in (self.objective, self.times):
            if kind not in part.kinds:
                yield f"{type(part).__name__} is not for {kind} processes"
        if self.objective.one_look != self.times.clean:
            yield f"{type(self.times).__name__} times do not go with {type(self.objective).__name__}"
        if self.network.shape != self.prediction.network_shape(self.description.shape):
            wanted = self.prediction.network_shape(self.description.shape)
            yield f"the network is for inputs of shape {self.network.shape}, and is given {wanted}"
        known = dict(self.description.conditions.kinds)
        for name, what in self.network.conditions.kinds:
            if known.get(name) != what:
                yield f"the network is told {name!r}, {what.kind}, which the data do not have, or have otherwise"
        levels, values = self.description.levels, getattr(self.process, "values", None)
        if levels is not None and values is not None and len(values) != levels:
            yield f"the process has {len(values)} levels, and the data {levels}: give it description.values"
        if kind == "gaussian" and levels is not None and values is None:
            yield "the data have levels: make the process with their values, Gaussian(schedule, description.values)"

    def init(self, key: Key[Array, ""]) -> dict[str, Any]:
        """Fresh parameters."""
        key_network, key_schedule = jax.random.split(key)
        return {"network": self.network.init(key_network), "schedule": self.process.init(key_schedule)}

    def bound_process(self, params: PyTree) -> Process:
        """The process with these parameters."""
        return self.process.bind(params["schedule"])

    def denoiser(
        self, params: PyTree, dropout_keys: Key[Array, " batch"] | None = None, process: Process | None = None
    ) -> Denoiser:
        """The denoiser with these parameters; in training mode if there are keys for dropout.

        `process` stands in for the model's own, as one with another form of the same schedule.
        """
        network = self.network.bind(params["network"], dropout_keys)
        return self.prediction.denoiser(network, process or self.bound_process(params))

    def condition(self, known: Condition) -> Condition:
        """Of what is known of images, what the network is told."""
        return self.network.conditions.of(known)

    def loss(
        self,
        params: PyTree,
        frozen: PyTree,
        keys: Key[Array, " batch"],
        dropout_keys: Key[Array, " batch"] | None,
        rows: Rows,
        t: Float[Array, " batch"],
        s: Float[Array, " batch"],
        weight: Float[Array, " batch"],
    ) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
        """The training loss of each example, and its term without weight: see `losses.loss`."""
        keys_drop, keys_noise = random.split(keys)
        shares = self.condition_drop, self.condition_drop_each, dict(self.condition_drop_own)
        condition = self.network.conditions.drop(keys_drop, self.condition(rows["condition"]), *shares)
        x = self.description.encode(rows["image"])
        denoise, process = self.denoiser(params, dropout_keys), self.bound_process(params)
        return loss(process, denoise, self.objective, keys_noise, x, condition, t, s, weight)

    def validation_loss(self, params: PyTree, rows: Rows) -> Float[Array, " batch"]:
        """The training loss without dropout, each image at noise and a time that belong to its row number."""
        root = random.purpose_key(0, random.VALIDATION)
        keys_times, keys_noise = random.split(random.per_example(root, rows["row"]))
        history = self.times.start()
        t, s, weight = (drawn[:, 0] for drawn in jax.vmap(lambda key: self.times.draw(key, 1, history))(keys_times))
        x, condition = self.description.encode(rows["image"]), self.condition(rows["condition"])
        process, denoise = self.bound_process(params), self.denoiser(params)
        return loss(process, denoise, self.objective, keys_noise, x, condition, t, s, weight)[0]

    def likelihood(self, params: PyTree, rows: Rows) -> Any:
        """-log p of images, or a bound on it, as `likelihood.Terms` in nats; noise belongs to row numbers.

        Raises:
            ValueError: the model gives images no probability.
        """
        if self.estimator is None:
            raise ValueError("this model gives images no probability: it has no estimator")
        return self.estimator.terms(self, params, rows)
