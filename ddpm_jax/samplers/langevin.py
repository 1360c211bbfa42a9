"""Langevin moves: x + e score + sqrt(2 e) noise leaves the law of x_t as it is, up to a bias of the step size e."""

from typing import Any

import jax
import jax.numpy as jnp

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Denoise
from ddpm_jax.processes import Gaussian
from ddpm_jax.processes.process import Images, Keys, Times
from ddpm_jax.samplers.loop import After, Step


def corrector(process: Gaussian, denoise: Denoise, condition: Any = None, snr: float = 0.16, count: int = 1) -> After:
    """`count` Langevin moves at the level just reached (Song et al. 2021b, algorithms 4 and 5); none at s = 0.

    The step size is e = 2 (snr |noise| / |score|)^2, so that `snr` is the ratio of the two parts of a move. Where the
    score is a normal's, moves widen the law's variance by about snr^2, whatever the grid.

    Two things differ from the paper. The norms are an example's, not a mean over the batch, because randomness belongs
    to the example; so this is for images: with few dimensions an example's norms are far from steady. And the VP form's
    factor 1 - beta_i is left out: it belongs to one table of 1000 steps, where it lies in 0.98 ... 1, and the norm of
    the score already scales the step as alpha^2.
    """

    def move(j: Any, carry: tuple[Keys, Images, Times]) -> tuple[Keys, Images, Times]:
        keys, x, s = carry
        score = process.score(x, denoise(x, s, condition).mean, s)
        noise = random.normal(random.fold_in(keys, j), x.shape)
        axes = tuple(range(1, x.ndim))
        size = 2 * snr**2 * jnp.square(noise).sum(axes, keepdims=True) / jnp.square(score).sum(axes, keepdims=True)
        return keys, x + size * score + jnp.sqrt(2 * size) * noise, s

    def after(keys: Keys, x_s: Images, s: Times) -> Images:
        return jax.lax.cond(s > 0, lambda: jax.lax.fori_loop(0, count, move, (keys, x_s, s))[1], lambda: x_s)

    return after


def annealed_langevin(
    process: Gaussian, denoise: Denoise, condition: Any, size: Any, count: int = 100, end: bool = True
) -> Step:
    """Annealed Langevin dynamics (Song and Ermon 2019, algorithm 1): stay at level t for `count` moves, then go to s.

    A move is x + e/2 score + sqrt(e) noise with e = size sigma^2: the paper's e = epsilon sigma_i^2/sigma_L^2, with
    size = epsilon/sigma_L^2 free of units (2e-5/0.01^2 = 0.2 there). Where the score is a normal's, moves widen the
    law's variance by about size/4, whatever the grid, and diverge at 4. The state goes to the next level unchanged.

    Args:
        process: whose levels are visited, t = 1 the first of them.
        denoise: whose mean gives the score.
        condition: what the denoiser is told.
        size: the step size over the level's variance.
        count: moves a level.
        end: end with the estimate at the last level, which costs one more evaluation (Jolicoeur-Martineau et al.
            2021); else with that level's x_t, as first published.
    """

    def step(keys: Keys, x_t: Images, memory: Any, t: Times, s: Times) -> tuple[Images, Images, Any]:
        _, sigma = process.at(t, x_t)

        def move(j: Any, carry: tuple[Images, Images]) -> tuple[Images, Images]:
            x, _ = carry
            x_hat = denoise(x, t, condition).mean
            noise = random.normal(random.fold_in(keys, j), x.shape)
            drift = jnp.square(sigma) * process.score(x, x_hat, t)
            return x + size / 2 * drift + jnp.sqrt(size) * sigma * noise, x_hat

        x, x_hat = jax.lax.fori_loop(0, count, move, (x_t, jnp.zeros_like(x_t)))
        if end:
            x_hat = jax.lax.cond(s > 0, lambda: x_hat, lambda: denoise(x, t, condition).mean)
            x = jnp.where(s > 0, x, x_hat)
        return x, x_hat, memory

    return step
