"""Codes: the noise from which a deterministic sampler draws an image, and ways between two of them."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ddpm_jax.denoisers import Denoiser
from ddpm_jax.processes import Gaussian
from ddpm_jax.processes.process import Images


def encode(
    process: Gaussian,
    denoise: Denoiser,
    grid: Float[np.ndarray, " points"],
    x: Images,
    condition: PyTree = None,
) -> Images:
    """The state at the grid's first time from which DDIM's steps down the grid come to x (its inversion, Song et al.
    2021, section 5.4).

    A step from t down to s is x_s = alpha_s x_hat + sigma_s/sigma_t (x_t - alpha_t x_hat), with the x_hat of x_t; up it
    is the same with that of x_s. So what is drawn from the code is x in the limit of many steps: take some hundred. The
    last step, to time 0, is left out: the image stands for the state before it.

    Args:
        process: of noise.
        denoise: as it samples.
        grid: falling times; the last is 0.
        x: `[batch, *site]`.
        condition: what the denoiser is told.
    """
    times = jnp.asarray(grid[-2::-1].copy(), x.dtype)

    def step(x_s: Images, pair: tuple[Array, Array]) -> tuple[Images, None]:
        s, t = pair
        (alpha_s, sigma_s), (alpha_t, sigma_t) = process.at(s, x_s), process.at(t, x_s)
        x_hat = denoise(x_s, s, condition).mean
        return alpha_t * x_hat + sigma_t / sigma_s * (x_s - alpha_s * x_hat), None

    alpha, _ = process.at(times[0], x)
    return jax.lax.scan(step, alpha * x, (times[:-1], times[1:]))[0]


def between(a: Images, b: Images, share: Float[Array, " batch"] | float) -> Images:
    """On the great circle from a (share 0) to b (1), of lengths in between: noise stays as long as noise is.

    >>> between(jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 1.0]]), 0.5).round(4).tolist()
    [[0.7071000218391418, 0.7071000218391418]]
    """
    axes = tuple(range(1, a.ndim))
    share = jnp.reshape(jnp.broadcast_to(share, a.shape[:1]), (-1, *(1 for _ in axes)))

    def length(v: Images) -> Array:
        return jnp.sqrt(jnp.square(v).sum(axes, keepdims=True))

    cosine = (a * b).sum(axes, keepdims=True) / jnp.maximum(length(a) * length(b), 1e-12)
    angle = jnp.arccos(jnp.clip(cosine, -1, 1))
    near = angle < 1e-4  # one direction: along the line
    sine = jnp.where(near, 1, jnp.sin(angle))
    first = jnp.where(near, 1 - share, jnp.sin((1 - share) * angle) / sine)
    return first * a + jnp.where(near, share, jnp.sin(share * angle) / sine) * b
