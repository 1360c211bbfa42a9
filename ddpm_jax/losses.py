"""The one training loss. A process removes, a denoiser predicts, an objective weighs the error.

The process owns the bound's weight (`elbo`); an objective owns every other. Imports `processes` and `denoisers`.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ddpm_jax.denoisers import Denoise
from ddpm_jax.processes import Gaussian, Process
from ddpm_jax.processes.process import Images

Objective = Callable[[Any, Any, Images, Images, Array, Array], Float[Array, " batch"]]


def simple(process: Gaussian, posterior: Any, x: Images, z: Images, t: Array, s: Array) -> Float[Array, " batch"]:
    """L_simple, SNR(t) (x - x_hat)^2 = (epsilon - epsilon_hat)^2, its mean over sites (Ho et al. 2020, eq. 14)."""
    return jnp.mean((process.snr(t, x) * posterior.squared_error(x, z)).reshape(x.shape[0], -1), axis=1)


def bound(process: Process, posterior: Any, x: Images, z: Images, t: Array, s: Array) -> Float[Array, " batch"]:
    """The bound's term of the interval (s, t] in nats (Ho et al. 2020, eq. 5): T times its mean over t is the
    bound without `prior_loss`, which has no parameters."""
    return process.elbo(posterior, x, z, t, s)


OBJECTIVES: dict[str, Objective] = {"simple": simple, "bound": bound}


def loss(
    process: Process,
    denoise: Denoise,
    objective: Objective,
    keys: Key[Array, " batch"],
    x: Images,
    condition: Any,
    t: Float[Array, " batch"],
    s: Float[Array, " batch"],
) -> Float[Array, " batch"]:
    """The objective at x_t, one draw of q(x_t | x) for each example: `[batch]`.

    The times of a batch come from outside because they may depend on one another (stratified times), while the noise
    of an example depends on its key alone. That is what lets devices share a batch without changing the recipe.
    """
    z = process.noise(keys, x.shape)
    posterior = denoise(process.corrupt(x, z, t), t, condition)
    return objective(process, posterior, x, z, t, s)
