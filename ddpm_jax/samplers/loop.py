"""The one sampling loop: take a step from t down to s, repeat."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddpm_jax import keys as random
from ddpm_jax.processes.process import Images, Keys, Times

Step = Callable[[Keys, Images, Any, Times, Times], tuple[Images, Images, Any]]
"""`(keys, x_t, memory, t, s) -> (x_s, x_hat, memory)`: one step from t down to s, both one time for all."""

After = Callable[[Keys, Images, Times], Images]
"""`(keys, x_s, s) -> x_s`: what is done to the state after a step."""

Film = tuple[Float[Array, "frames batch *site"], Float[Array, "frames batch *site"]]


def sample(
    step: Step,
    grid: np.ndarray,
    keys: Keys,
    x: Images,
    memory: Any = None,
    after: After | None = None,
    frames: tuple[int, ...] = (),
) -> tuple[Images, Film]:
    """Walk down `grid` from x at its first time to a clean image at its last, 0. One compiled loop.

    Args:
        step: a move from t to s, with its process, denoiser and condition bound.
        grid: `[N + 1]`, falling, from 1 (or near it) to 0.
        keys: one key, or one an example; step i uses `fold_in(keys, i)`.
        x: `[batch, *site]`, a draw of the process's prior.
        memory: what the step remembers, before the first one: a pytree whose shapes stay.
        after: called after each step: inpainting, a corrector.
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
        x_s, x_hat, memory = step(keys_step, x_t, memory, t, s)
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
