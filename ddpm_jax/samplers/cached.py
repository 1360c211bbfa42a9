"""Cached autoregression: one group of sites a step, from a causal network that remembers the groups before."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Int

from ddpm_jax import keys as random
from ddpm_jax.processes import Ordered
from ddpm_jax.processes.process import Images, Keys, Times
from ddpm_jax.samplers.loop import Step


def cached(process: Ordered, denoise: Any, condition: Any = None) -> Step:
    """Draw group g of the order at step g = 0, 1, ..., given the groups before it; t and s are not looked at.

    This is ancestral sampling of prod_g p(x_g | x_before), and what `posterior_step` with `first_order` does on the
    grid 1, 1 - 1/G, ..., 0 where the share kept is 1 - t: the same draws from the same keys. There the network runs on
    the whole image at every step; here it is asked for the c sites of a group. So an image costs about one pass, not
    G (and what the network needs to look back at the sites before). Sites that are visible at the start stay.

    The step's estimate is x_t with the group filled in: a network that is asked no more says no more. Memory: from
    `no_groups_yet`, the cache and the number of the next group.

    Args:
        process: whose order is the same for every image.
        denoise: with `advance(cache, x, step, condition) -> (posterior of the group's values, their numbers, cache)`,
            such as an `OrderedDenoiser` of a causal network.
        condition: what the denoiser is told.

    Raises:
        ValueError: an order that differs from image to image.
    """
    if process.order.sequence is None:
        raise ValueError("cached sampling needs an order that is the same for every image")

    def step(keys: Keys, x_t: Images, memory: Any, t: Times, s: Times) -> tuple[Images, Images, Any]:
        cache, group = memory
        keys_draw, _ = random.split(keys)  # as `posterior_step` splits them
        posterior, numbers, cache = denoise.advance(cache, x_t, group, condition)
        flat = x_t.reshape(x_t.shape[0], -1)
        now = flat[:, numbers]
        filled = jnp.where(process.visible(now), now, posterior.sample(keys_draw, numbers))
        x_s = flat.at[:, numbers].set(filled).reshape(x_t.shape)  # a site that comes twice has the same draw twice
        return x_s, x_s, (cache, group + 1)

    return step


def no_groups_yet(denoise: Any, count: int) -> tuple[Any, Int[Array, ""]]:
    """The memory of `cached` before the first group of `count` images."""
    return denoise.start(count), jnp.zeros((), jnp.int32)
