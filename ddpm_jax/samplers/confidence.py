"""Reveal the sites of which the denoiser is most sure, not those that chance picks (MaskGIT, Chang et al. 2022)."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ddpm_jax import keys as random
from ddpm_jax.processes.process import Images, Keys, Times
from ddpm_jax.samplers.solver import Problem
from ddpm_jax.samplers.stepping import StepSolver

Counts = Float[Array, " batch"]
Scores = Float[Array, "batch L"]


@dataclass(frozen=True)
class Confidence(StepSolver):
    """From t to s draw all hidden sites and keep the most confident draws, as many as the process keeps on average.

    >>> Confidence().evaluations(8)
    8

    A site's confidence is the log-probability of its own draw (of a pixel's channels together) plus temperature s
    Gumbel noise, which falls linearly to none: in the code of Chang et al. 2022 its factor is 1 less the share of the
    steps taken. Equal confidences are put in random order. Of H sites hidden at the start H keep(s) are visible at s,
    to the nearest one, and with chunks whole groups of the order; so a step may reveal none. Theirs reveals at least
    one and, until the last, not all.

    The samples' law is not the denoiser's: it prefers what is likely. As the temperature grows without end the sites
    are picked at random, and it is that of `FirstOrder` in the random order. The process's order is exchangeable; else
    the denoiser has never seen such sets of sites.

    Attributes:
        confidence_temperature: 0 picks by probability alone.
    """

    confidence_temperature: float = 0.0
    kinds: ClassVar[tuple[str, ...]] = ("ordered",)
    exchangeable: ClassVar[bool] = True

    def start(self, problem: Problem, x: Images) -> Counts:
        """How many sites of each image are hidden at the start."""
        process = problem.process
        return (~process.sites_of(process.visible(x))).sum(axis=1, dtype=x.dtype)

    def step(
        self, problem: Problem, keys: Keys, x_t: Images, memory: Counts, t: Times, s: Times
    ) -> tuple[Images, Images, Counts]:
        """Reveal the surest sites. Memory: as at the start."""
        process = problem.process
        keys_draw, keys_noise, keys_ties = random.split(keys, 3)
        posterior = problem.posterior(x_t, t)
        visible = process.visible(x_t)
        x_hat = jnp.where(visible, x_t, posterior.sample(keys_draw, where=~visible))
        hidden = ~process.sites_of(visible)
        score = -posterior.loss(x_hat).reshape(*hidden.shape, -1).sum(axis=-1)
        score = score + self.confidence_temperature * s * random.gumbel(keys_noise, hidden.shape)
        still = memory - jnp.round(memory * process.order.share(process.keep(s)))
        place = _places(jnp.where(hidden, -score, jnp.inf), random.uniform(keys_ties, hidden.shape))
        chosen = hidden & (place < hidden.sum(axis=1, keepdims=True) - still[:, None])
        return jnp.where(process.spread(chosen, x_t.shape[-1]), x_hat, x_t), x_hat, memory


def _places(values: Scores, ties: Scores) -> Int[Array, "batch L"]:
    """The place of each value among those of its row in rising order; equal ones by `ties`."""
    numbers = jnp.broadcast_to(jnp.arange(values.shape[1]), values.shape)
    *_, sequence = jax.lax.sort((values, ties, numbers), dimension=1, num_keys=2)
    return jnp.argsort(sequence, axis=1)
