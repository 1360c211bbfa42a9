"""The denoiser for uniform corruption: a network's logits, and what a value's own x_t says of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import PyTree

from ddpm_jax.denoisers.categorical import Categorical
from ddpm_jax.processes.process import Images, Refusal, Times, Traits
from ddpm_jax.processes.uniform import Uniform


@dataclass(frozen=True)
class UniformPrediction:
    """A logit for each level of each value, from x_t and 999 t: nothing is hidden, so there is no mask.

    >>> UniformPrediction().numbers(channels=3, levels=16)
    48

    A value is replaced whatever the others are, so Bayes' rule splits p(x_i | x_t) into what the value's own x_t says,
    log q(x_t | x), which is known, and what the rest of the image says, which is left to the network. Where little is
    replaced the first settles the level. A step is then that of Austin et al. 2021, eq. 4, whose p~ is the softmax of
    the network alone.
    """

    @property
    def likely(self) -> bool:
        """Whether images are given a probability."""
        return True

    def numbers(self, channels: int, levels: int | None) -> int:
        """How many numbers the network puts out for each pixel."""
        return channels * (levels or 0)

    def network_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of what the network is given, `[*space, channels]`: x_t."""
        return shape

    def denoiser(self, network: Any, process: Uniform) -> "UniformDenoiser":
        """The denoiser of a network `(x_t, time, condition) -> raw`, parameters and mode already bound."""
        return UniformDenoiser(network, process)

    def refusals(
        self, traits: Traits, schedule: str = "its schedule", discrete: bool = True, apart: bool = False
    ) -> Iterator[Refusal]:
        """What does not go with a process: one that does not say what each x_t says of x."""
        if traits.kind != Uniform.kind:
            yield Refusal("prediction", f"it is for uniform corruption, and not for {traits.kind} processes")


@dataclass(frozen=True, eq=False)
class UniformDenoiser:
    """`(x_t, t, condition) -> Categorical`, for t > 0.

    Attributes:
        network: `(x_t, time, condition) -> raw`.
        process: whose `evidence` is added to the network's logits.
    """

    network: Any
    process: Uniform

    def __call__(self, x_t: Images, t: Times, condition: PyTree = None) -> Categorical:
        """The posterior at x_t."""
        t, values = jnp.broadcast_to(t, x_t.shape[:1]), jnp.asarray(self.process.values, x_t.dtype)
        raw = self.network(x_t, 999 * t, condition).reshape(*x_t.shape, len(values))
        return Categorical(raw + self.process.evidence(x_t, t, values), values)
