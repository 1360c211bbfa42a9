"""Inpainting in a fixed order: candidates, each weighed by how well what is known fits it.

A network that goes along a fixed order knows p(site | the sites before) alone, so that known sites that come later
cannot be seen. Drawn with the known sites put in as they come, a candidate has the law of the product of
p(unknown | before); the conditional law is that times the product of p(known | before), which is its weight. One of N
candidates drawn by its weight has the conditional law in the limit of N (sampling importance resampling, Rubin 1987).
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from ddpm_jax import keys as random
from ddpm_jax.processes.process import Images, Keys, sum_sites


@dataclass(frozen=True)
class Chosen:
    """Of each image's candidates one.

    Attributes:
        x: `[batch, *site]`.
        effective: how many of the candidates count, 1/sum of squared weights, `[batch]`: near 1 says that there were
            too few.
    """

    x: Num[Array, "batch *site"]
    effective: Float[Array, " batch"]


def weights(losses: Images, mask: Bool[Array, "..."]) -> Float[Array, " batch"]:
    """The logarithm of each candidate's weight: minus the losses -log p(site | before) of the known sites, summed."""
    return -sum_sites(jnp.where(mask, losses, 0))


def choose(keys: Keys, candidates: Num[Array, "N batch *site"], logs: Float[Array, "N batch"]) -> Chosen:
    """Of each image's N candidates one, drawn by its weight."""
    drawn = random.gumbel(keys, (logs.shape[1], logs.shape[0]))
    number = jnp.argmax(logs.T + drawn, axis=1)
    shares: Any = jax.nn.softmax(logs, axis=0)
    return Chosen(candidates[number, jnp.arange(logs.shape[1])], 1 / jnp.square(shares).sum(0))
