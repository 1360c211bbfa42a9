"""A classifier of noisy images: what its network says of the label of the image that x_t was made of.

It is trained and kept as every model is; what it makes at x_t is a distribution over labels, not over images.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from ddpm_jax.denoisers.gaussian import C_IN, C_NOISE, point, time_refusals
from ddpm_jax.processes.gaussian import Gaussian
from ddpm_jax.processes.process import Images, Refusal, Times, Traits

LABEL = "label"
"""The condition whose value a classifier tells."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Labels:
    """p(y | x_t) over the classes, and the label that is asked about.

    Attributes:
        logits: of each class.
        label: 0 ... classes - 1; the number of classes asks about none.
    """

    logits: Float[Array, "batch classes"]
    label: Int[Array, " batch"]

    @property
    def log_prob(self) -> Float[Array, " batch"]:
        """log p(y | x_t) of the label asked about; 0 where none is, for then nothing is said."""
        classes = self.logits.shape[-1]
        chosen = jnp.minimum(self.label, classes - 1)[:, None]
        found = jnp.take_along_axis(jax.nn.log_softmax(self.logits), chosen, axis=1)[:, 0]
        return jnp.where(self.label < classes, found, 0.0)


@dataclass(frozen=True)
class LabelPrediction:
    """A network's output as the logits of the label under a Gaussian process, and what the network is told.

    Attributes:
        classes: how many.
        time: a name in `C_NOISE`.
        input: a name in `C_IN`.
        steps: T, for the time told as an index.
        sigma_data: the deviation of a value of the data.
    """

    classes: int
    time: str = "index"
    input: str = "none"
    steps: int = 1000
    sigma_data: float = 0.5

    @property
    def likely(self) -> bool:
        """Images are given no probability."""
        return False

    def numbers(self, channels: int, levels: int | None) -> int:
        """How many numbers the network puts out for an image."""
        return self.classes

    def network_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of what the network is given, `[*space, channels]`: x_t, scaled."""
        return shape

    def denoiser(self, network: Any, process: Gaussian) -> "Classifier":
        """The classifier of a network `(x_t, time, condition) -> [batch, classes]` with its parameters bound."""
        return Classifier(self, network, process)

    def refusals(
        self, traits: Traits, schedule: str = "its schedule", discrete: bool = True, apart: bool = False
    ) -> Iterator[Refusal]:
        """What does not go with a process; `schedule` is its schedule's name, `discrete`: time has steps."""
        yield from time_refusals(self.time, traits, schedule, discrete)


@dataclass(frozen=True, eq=False)
class Classifier:
    """`(x_t, t, condition) -> Labels`, for t > 0. The network never sees the condition, whose label is asked about.

    Attributes:
        prediction: what the network's output means.
        network: `(x_t, time, condition) -> [batch, classes]`.
        process: that made x_t.
    """

    prediction: LabelPrediction
    network: Any
    process: Gaussian

    def __call__(self, x_t: Images, t: Times, condition: PyTree = None) -> Labels:
        """What is said at x_t; without a condition no label is asked about."""
        said, process = self.prediction, self.process
        t = jnp.broadcast_to(t, x_t.shape[:1])
        at = point(process, t, x_t, said.sigma_data)
        logits = self.network(C_IN[said.input](at) * x_t, C_NOISE[said.time](process, t, said.steps), None)
        none = jnp.full(len(x_t), said.classes, jnp.int32)
        return Labels(logits, condition[LABEL] if condition else none)

    def log_prob(self, x_t: Images, t: Times, condition: PyTree) -> Float[Array, " batch"]:
        """log p(y | x_t), as `ClassifierGuided` takes it."""
        return self(x_t, t, condition).log_prob
