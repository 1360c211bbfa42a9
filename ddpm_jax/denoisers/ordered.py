"""Denoisers for the ordered processes: a network's raw output at each site -> a distribution over its values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ddpm_jax.denoisers.categorical import Categorical
from ddpm_jax.denoisers.logistics import LogisticMixture, numbers_a_pixel
from ddpm_jax.denoisers.posteriors import Normal
from ddpm_jax.processes.process import Images, Times

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


def ordered_outputs(prediction: str, channels: int, levels: int | None, components: int) -> int:
    """How many numbers the network puts out for each pixel."""
    return HEADS[prediction].outputs(channels, levels or 0, components)


@dataclass(frozen=True, eq=False)
class OrderedDenoiser:
    """`(x_t, t, condition) -> posterior` for an ordered process; made by `ordered_denoiser`."""

    network: Callable[[Images, Float[Array, " batch"], Any], Array]
    process: Any
    prediction: str
    values: Float[Array, " levels"] | None
    channels: int
    causal: bool
    network_start: Callable[[int], Any] | None = None
    network_advance: Callable[[Any, Images, Int[Array, ""], Any], tuple[Array, Any]] | None = None

    def __call__(self, x_t: Images, t: Times, condition: Any) -> Any:
        """The posterior at x_t, over all sites: `[batch, *space, channels]`.

        The time is not used: what is hidden is seen in x_t, and of t the network could only learn that share.
        """
        visible = self.process.visible(x_t)
        filled = jnp.where(visible, x_t, 0)
        head = HEADS[self.prediction]
        if self.causal:
            raw = self.network(filled, jnp.zeros(x_t.shape[0], x_t.dtype), condition)
            return head.posterior(raw, self.channels, self.values)
        hidden = self.process.hidden_share(x_t)
        raw = self.network(jnp.concatenate([filled, visible.astype(x_t.dtype)], axis=-1), 999 * hidden, condition)
        if self.prediction == "x0":
            raw = jnp.where(visible, x_t, raw)
        return head.posterior(raw, self.channels, self.values)

    def start(self, count: int) -> Any:
        """What a causal network remembers of `count` images before their first group."""
        return self._of_causal(self.network_start)(count)

    def advance(
        self, cache: Any, x: Images, step: int | Int[Array, ""], condition: Any
    ) -> tuple[Any, Int[Array, "chunk channels"], Any]:
        """The posterior of the sites of group `step`, the numbers of their values, and what to remember from then on.

        Args:
            cache: from `start`, or from the step before; steps are taken in turn from 0.
            x: `[batch, *space, channels]`, the groups before `step`; what it holds elsewhere does not matter.
            step: the group.
            condition: for the network.

        Returns:
            The posterior over `[batch, chunk, C]` (`[batch, chunk, 1]` with channels apart), its sites in the order in
            which they are revealed; `[chunk, C]` (`[chunk, 1]`) numbers, for `posterior.sample(keys, numbers)` and for
            writing the draws among the image's values in row-major order; the cache. Where the last group is smaller
            than the chunk, the last site of the order fills it up: the same posterior at the same numbers, so its
            draws are equal, and writing them again changes nothing.
        """
        filled = jnp.where(self.process.visible(x), x, 0)
        raw, cache = self._of_causal(self.network_advance)(cache, filled, step, condition)
        order, channels = self.process.order, 1 if self.process.apart else self.channels
        sequence = jnp.asarray(np.asarray(order.sequence, np.int32))
        # Rows of the last site stand for the missing ones, whatever the network put there.
        row = jnp.minimum(jnp.arange(order.chunk), len(sequence) - 1 - step * order.chunk)
        raw = jnp.take(raw, row, axis=1)
        numbers = sequence[step * order.chunk + row][:, None] * channels + jnp.arange(channels)
        return HEADS[self.prediction].posterior(raw, channels, self.values), numbers, cache

    def _of_causal(self, function: Any) -> Any:
        if function is None or self.process.order.sequence is None:
            raise ValueError("only a causal network in a fixed order can go on group by group")
        return function


def ordered_denoiser(
    network: Callable[[Images, Float[Array, " batch"], Any], Array],
    process: Any,
    prediction: str,
    values: Any,
    channels: int,
    components: int = 10,
    causal: bool = False,
    start: Callable[[int], Any] | None = None,
    advance: Callable[[Any, Images, Int[Array, ""], Any], tuple[Array, Any]] | None = None,
) -> OrderedDenoiser:
    """A denoiser for an ordered process.

    A network that is not causal sees x_t with 0 at hidden values, then for each value whether it is visible: `[batch,
    *space, 2 C]`, and is told 999 times the share of hidden values. A causal network sees the values alone, `[batch,
    *space, C]`, for what it uses is visible; it is told 0, so that one pass over a whole image says what a pass for
    each group says.

    Args:
        network: `(x, time, condition) -> raw`, parameters and mode already bound; it puts out `ordered_outputs(...)`
            numbers a pixel.
        process: has `visible(x_t)`, of x_t's shape; `apart`; and for `advance` an `order`, with `sequence` and `chunk`.
        prediction: a name in `HEADS`. The mean of `x0` is x_t at visible values, unless the network is causal: then
            it did not see them when it predicted them.
        values: `[levels]`, what each level is in x; not needed for `x0`.
        channels: C, of a pixel.
        components: K, of a mixture.
        causal: whether the network's output at a site depends on the sites before it only.
        start: a causal network's memory of so many images, before the first group.
        advance: `(cache, x, step, condition) -> (raw [batch, chunk, out of a site], cache)`, of a causal network.

    Raises:
        ValueError: channels are apart, and the prediction is not categorical; or it needs the levels' values.
    """
    head = HEADS[prediction]
    if process.apart and not head.apart:
        raise ValueError(f"{prediction} predicts the channels of a pixel together: with channels apart use categorical")
    if head.levels and values is None:
        raise ValueError(f"the prediction {prediction} needs data with levels, and their values")
    values = None if values is None else jnp.asarray(values, jnp.float32)
    return OrderedDenoiser(network, process, prediction, values, channels, causal, start, advance)
