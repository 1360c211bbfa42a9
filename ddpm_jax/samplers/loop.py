"""The one sampling loop: estimate the clean image, put back what the process removed between s and t, repeat."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddpm_jax import keys as random
from ddpm_jax.processes import Process
from ddpm_jax.processes.process import Images, Keys, Times
from ddpm_jax.samplers.estimates import Estimate


def step(
    process: Process, estimate: Estimate, eta: float, keys: Keys, x_t: Images, memory: Any, t: Times, s: Times
) -> tuple[Images, Images, Any]:
    """One step from t down to s: `(x_s, x_hat, memory)`."""
    keys_estimate, keys_reverse = random.split(keys)
    x_hat, memory = estimate(keys_estimate, x_t, t, s, memory)
    return process.reverse(keys_reverse, x_t, x_hat, t, s, eta), x_hat, memory


def sample(
    process: Process,
    estimate: Estimate,
    grid: np.ndarray,
    eta: float,
    keys: Keys,
    x: Images,
    memory: Any = None,
    after: Callable[[Keys, Images, Times], Images] | None = None,
    frames: tuple[int, ...] = (),
) -> tuple[Images, tuple[Float[Array, "frames batch *site"], Float[Array, "frames batch *site"]]]:
    """Walk down `grid` from x at its first time to a clean image at its last, 0. One compiled loop.

    Args:
        process: whose reverse step is taken.
        estimate: the solver, with its denoiser and condition bound.
        grid: `[N + 1]`, falling, from 1 (or near it) to 0.
        eta: 1 for fresh noise as in the Markov process, 0 for none.
        keys: one key, or one an example; step i uses `fold_in(keys, i)`.
        x: `[batch, *site]`, a draw of the process's prior.
        memory: the solver's initial memory.
        after: `(keys, x_s, s) -> x_s` after each step: inpainting, a corrector.
        frames: the steps, in 0 ... N - 1, whose (x_t, x_hat) to return. Only these are kept in memory.

    Returns:
        x at time 0, and the pair of x_t before each step of `frames` with the x_hat that the step used.
    """
    steps = len(grid) - 1
    times = jnp.asarray(grid, x.dtype)
    slots = np.full(steps, len(frames), np.int32)  # a step outside `frames` writes to a slot that is thrown away
    slots[list(frames)] = np.arange(len(frames))
    film = jnp.zeros((2, len(frames) + 1, *x.shape), x.dtype) if frames else None

    def body(carry: tuple, inputs: tuple) -> tuple[tuple, None]:
        x_t, memory, film = carry
        i, t, s, slot = inputs
        keys_step, keys_after = random.split(random.fold_in(keys, i))
        x_s, x_hat, memory = step(process, estimate, eta, keys_step, x_t, memory, t, s)
        if after is not None:
            x_s = after(keys_after, x_s, s)
        if film is not None:
            film = film.at[:, slot].set(jnp.stack([x_t, x_hat]))
        return (x_s, memory, film), None

    (x, _, film), _ = jax.lax.scan(body, (x, memory, film), (jnp.arange(steps), times[:-1], times[1:], slots))
    if film is None:
        empty = jnp.zeros((0, *x.shape), x.dtype)
        return x, (empty, empty)
    return x, (film[0, :-1], film[1, :-1])
