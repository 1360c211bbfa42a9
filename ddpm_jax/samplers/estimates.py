"""Estimates of the clean image that a step is taken with: what tells one solver from another."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from ddpm_jax.denoisers import Denoise
from ddpm_jax.processes.process import Images, Keys, Times

Estimate = Callable[[Keys, Images, Times, Times, Any], tuple[Images, Any]]
"""`(keys, x_t, t, s, memory) -> (x_hat, memory)`; the memory is a pytree of fixed shape."""


def first_order(denoise: Denoise, condition: Any = None) -> Estimate:
    """One draw of the posterior at (x_t, t), its mean where it is a point; at s = 0 what it ends a chain with.

    With eta = 1 this is ancestral sampling (Ho et al. 2020, algorithm 2), with eta = 0 and a point DDIM (Song et al.
    2021a). No memory. `s` is one time for all.
    """

    def estimate(keys: Keys, x_t: Images, t: Times, s: Times, memory: Any) -> tuple[Images, Any]:
        posterior = denoise(x_t, t, condition)
        return jnp.where(jnp.asarray(s) > 0, posterior.sample(keys), posterior.final(keys)), memory

    return estimate
