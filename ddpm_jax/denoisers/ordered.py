"""Denoisers for the ordered processes: a network's raw output at each site -> a distribution over its values."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from ddpm_jax.denoisers.categorical import Categorical
from ddpm_jax.denoisers.logistics import LogisticMixture, numbers_a_pixel
from ddpm_jax.denoisers.posteriors import Normal
from ddpm_jax.processes.process import Images, Refusal, Times, Traits

Raw = Float[Array, "batch *site out"]


@dataclass(frozen=True)
class Head:
    """What raw output means.

    Attributes:
        outputs: `(channels, levels, components) -> ` numbers a pixel.
        posterior: `(raw [batch, *site, out], channels of a site, values) -> posterior` over `[batch, *site, channels]`.
        levels: whether it is over levels, and needs their values.
        apart: whether it serves sites that are single values.
    """

    outputs: Callable[[int, int, int], int]
    posterior: Callable[[Raw, int, Any], Any]
    levels: bool = True
    apart: bool = False


HEADS: dict[str, Head] = {
    "categorical": Head(
        lambda channels, levels, components: channels * levels,
        lambda raw, channels, values: Categorical(raw.reshape(*raw.shape[:-1], channels, len(values)), values),
        apart=True,
    ),
    "logistics": Head(
        lambda channels, levels, components: numbers_a_pixel(channels, components),
        LogisticMixture.of,
    ),
    "x0": Head(
        lambda channels, levels, components: channels,
        lambda raw, channels, values: Normal(raw),
        levels=False,
    ),
}
"""What a network may predict of a site. `categorical`: a logit for each level of each value, those of a value together.
`logistics`: a mixture of logistics a pixel (`LogisticMixture.of`). `x0`: the values themselves, a point."""

LIKELY = tuple(name for name, head in HEADS.items() if head.levels)
"""Those that give an image a probability."""


@dataclass(frozen=True, eq=False)
class OrderedPrediction:
    """What a network's raw output means at each site of an ordered process, and what the network is told.

    >>> OrderedPrediction("categorical", np.linspace(-1, 1, 17), channels=1).numbers(1, 17)
    17

    A network that is not causal sees x_t with 0 at hidden values, then for each value whether it is visible: `[batch,
    *space, 2 C]`, and is told 999 times the share of hidden values. A causal network sees the values alone, `[batch,
    *space, C]`, for what it uses is visible; it is told 0, so that one pass over a whole image says what a pass for
    each group says.

    Attributes:
        output: a name in `HEADS`. The mean of `x0` is x_t at visible values, unless the network is causal: then it did
            not see them when it predicted them.
        values: `[levels]`, what each level is in x; not needed for `x0`.
        channels: C, of a pixel.
        components: K, of a mixture.
        causal: whether the network's output at a site depends on the sites before it only.

    Raises:
        ValueError: the prediction needs the levels' values.
    """

    output: str
    values: np.ndarray | None
    channels: int
    components: int = 10
    causal: bool = False

    def __post_init__(self) -> None:
        if HEADS[self.output].levels and self.values is None:
            raise ValueError(f"the prediction {self.output} needs data with levels, and their values")

    @property
    def likely(self) -> bool:
        """Whether an image is given a probability."""
        return self.output in LIKELY

    def numbers(self, channels: int, levels: int | None) -> int:
        """How many numbers the network puts out for each pixel."""
        return HEADS[self.output].outputs(channels, levels or 0, self.components)

    def network_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of what the network is given: the values, and unless it is causal as many channels for which are visible."""
        return shape if self.causal else (*shape[:-1], 2 * shape[-1])

    def denoiser(self, network: Any, process: Any) -> "OrderedDenoiser":
        """The denoiser of a network `(x, time, condition) -> raw`, parameters and mode already bound.

        One that is causal may also have `start(count, condition)` and `advance(cache, x, step)`, see `Network`.

        Raises:
            ValueError: channels are apart, and the prediction is not categorical.
        """
        return OrderedDenoiser(self, network, process)

    def posterior(self, raw: Raw, channels: int) -> Any:
        """Over `[batch, *site, channels]`."""
        values = None if self.values is None else jnp.asarray(self.values, jnp.float32)
        return HEADS[self.output].posterior(raw, channels, values)

    def refusals(
        self, traits: Traits, schedule: str = "its schedule", discrete: bool = True, apart: bool = False
    ) -> Iterator[Refusal]:
        """What of it does not go with a process; `apart`: its sites are single values."""
        if self.causal and traits.exchangeable:
            yield Refusal("order", "a causal network predicts a site from those before it in one fixed order")
        if apart and not HEADS[self.output].apart:
            yield Refusal("prediction", f"{self.output} predicts a pixel with its channels; use categorical, or pixels")


@dataclass(frozen=True, eq=False)
class OrderedDenoiser:
    """`(x_t, t, condition) -> posterior` for an ordered process.

    Attributes:
        prediction: what the network's output means.
        network: `(x, time, condition) -> raw`; a causal one may have `start` and `advance`.
        process: has `visible(x_t)`, of x_t's shape; `apart`; and for `advance` an `order`, with `sequence` and `chunk`.
    """

    prediction: OrderedPrediction
    network: Any
    process: Any

    def __post_init__(self) -> None:
        if self.process.apart and not HEADS[self.prediction.output].apart:
            raise ValueError(
                f"{self.prediction.output} predicts the channels of a pixel together: with channels apart use "
                "categorical"
            )

    def __call__(self, x_t: Images, t: Times, condition: PyTree = None) -> Any:
        """The posterior at x_t, over all sites: `[batch, *space, channels]`.

        The time is not used: what is hidden is seen in x_t, and of t the network could only learn that share.
        """
        said, visible = self.prediction, self.process.visible(x_t)
        filled = jnp.where(visible, x_t, 0)
        if said.causal:
            raw = self.network(filled, jnp.zeros(x_t.shape[0], x_t.dtype), condition)
            return said.posterior(raw, said.channels)
        hidden = self.process.hidden_share(x_t)
        raw = self.network(jnp.concatenate([filled, visible.astype(x_t.dtype)], axis=-1), 999 * hidden, condition)
        if said.output == "x0":
            raw = jnp.where(visible, x_t, raw)
        return said.posterior(raw, said.channels)

    @property
    def causal(self) -> bool:
        """Whether it can go on group by group."""
        return self.prediction.causal

    def start(self, count: int, condition: PyTree = None, groups: int | None = None) -> Any:
        """What a causal network remembers of `count` images before their first group, and of their conditions.

        With `groups` there is room for so many; zeros at the ends of its axes make room for more.
        """
        self._check_causal()
        return self.network.start(count, condition, groups)

    def advance(
        self, cache: PyTree, x: Images, step: int | Int[Array, ""]
    ) -> tuple[Any, Int[Array, "chunk channels"], Any]:
        """The posterior of the sites of group `step`, the numbers of their values, and what to remember from then on.

        Args:
            cache: from `start`, or from the step before; steps are taken in turn from 0.
            x: `[batch, *space, channels]`, the groups before `step`; what it holds elsewhere does not matter.
            step: the group.

        Returns:
            The posterior over `[batch, chunk, C]` (`[batch, chunk, 1]` with channels apart), its sites in the order in
            which they are revealed; `[chunk, C]` (`[chunk, 1]`) numbers, for `posterior.sample(keys, numbers)` and for
            writing the draws among the image's values in row-major order; the cache. Where the last group is smaller
            than the chunk, the last site of the order fills it up: the same posterior at the same numbers, so its
            draws are equal, and writing them again changes nothing.
        """
        self._check_causal()
        filled = jnp.where(self.process.visible(x), x, 0)
        raw, cache = self.network.advance(cache, filled, step)
        order, channels = self.process.order, 1 if self.process.apart else self.prediction.channels
        sequence = jnp.asarray(np.asarray(order.sequence, np.int32))
        # Rows of the last site stand for the missing ones, whatever the network put there.
        row = jnp.minimum(jnp.arange(order.chunk), len(sequence) - 1 - step * order.chunk)
        raw = jnp.take(raw, row, axis=1)
        numbers = sequence[step * order.chunk + row][:, None] * channels + jnp.arange(channels)
        return self.prediction.posterior(raw, channels), numbers, cache

    def _check_causal(self) -> None:
        if not (self.prediction.causal and hasattr(self.network, "advance")) or self.process.order.sequence is None:
            raise ValueError("only a causal network in a fixed order can go on group by group")
