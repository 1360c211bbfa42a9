"""A hole: by exact conditionals of a table and of a Gaussian, for both families."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.denoisers import Normal
from ddpm_jax.editing import Kept, choose, jumping, known_first
from ddpm_jax.editing.weighing import weights
from ddpm_jax.oracles import JointTable
from ddpm_jax.processes import Gaussian, Ordered, make_order
from ddpm_jax.processes.ordered import MASK
from ddpm_jax.samplers import FirstOrder, Problem, walk
from ddpm_jax.schedules import VP
from ddpm_jax.schedules.keeping import linear

SITES, LEVELS = 4, 3
VALUES = np.linspace(-1, 1, LEVELS)
KNOWN = np.array([False, True, False, True])  # the last is known: a raster order cannot see it in time


def table(seed=0):
    rng = np.random.default_rng(seed)
    chances = rng.dirichlet(np.full(LEVELS**SITES, 0.3)).reshape((LEVELS,) * SITES)
    return chances.astype(np.float32)


def conditional(chances, levels):
    """p(x | known sites), over all states."""
    law = chances.copy()
    for state in itertools.product(range(LEVELS), repeat=SITES):
        if any(KNOWN[site] and state[site] != levels[site] for site in range(SITES)):
            law[state] = 0
    return law / law.sum()


def law_of(x):
    levels = np.round((np.asarray(x).reshape(-1, SITES) + 1) / 2 * (LEVELS - 1)).astype(int)
    counts = np.zeros((LEVELS,) * SITES)
    np.add.at(counts, tuple(levels.T), 1)
    return counts / counts.sum()


def distance(a, b):
    return 0.5 * np.abs(a - b).sum()


def causal(denoise):
    """What a network along the order knows: at step g the sites before g, whatever else is visible."""

    def looking_back(x_t, t, condition=None):
        group = jnp.round((1 - jnp.asarray(t)) * SITES)
        return denoise(jnp.where(jnp.arange(SITES)[:, None] < group, x_t, MASK), t, condition)

    return looking_back


def drawn(name, count, key):
    """Draws with the known sites in place, the mask, and the law that they should have."""
    chances, levels = table(), (0, 2, 1, 1)
    oracle = JointTable(chances, VALUES)
    process = Ordered(make_order(name, (SITES,), 1, False, 1, seed=1), linear)
    image = jnp.broadcast_to(jnp.asarray(VALUES[list(levels)], jnp.float32)[:, None], (count, SITES, 1))
    mask = jnp.asarray(KNOWN)[:, None]
    keys = jax.random.split(key, count)
    start = known_first(process, keys, image, mask)
    denoise = oracle.denoiser(process)
    problem = Problem(process, causal(denoise) if name == "raster" else denoise, grid=process.grid(0))
    x = jax.jit(lambda: FirstOrder().solve(problem, keys, start)[0])()
    return x, mask, conditional(chances, levels)


@pytest.mark.slow
def test_a_random_order_draws_the_conditional_law():
    x, _, law = drawn("random", 20_000, jax.random.key(0))
    assert np.all(np.asarray(x)[:, KNOWN, 0] == np.asarray(VALUES, np.float32)[[2, 1]])
    assert distance(law_of(x), law) < 0.015


@pytest.mark.slow
def test_a_fixed_order_does_not_and_weighed_candidates_come_near_it():
    count, found = 4000, {}
    for candidates in (1, 4, 64):
        x, mask, law = drawn("raster", candidates * count, jax.random.key(1))
        # -log p(site | before), by the table itself
        losses = jnp.asarray(np.stack([_loss(np.asarray(x)[..., 0], site) for site in range(SITES)], 1))
        logs = weights(losses[..., None], mask).reshape(candidates, count)
        keys = jax.random.split(jax.random.key(2), count)
        chosen = choose(keys, x.reshape(candidates, count, SITES, 1), logs)
        found[candidates] = distance(law_of(chosen.x), law)
        assert float(chosen.effective.min()) > 1 - 1e-5 and float(chosen.effective.max()) < candidates + 1e-3
    assert found[1] > 0.1 and found[4] < found[1] and found[64] < 0.03


def _loss(x, site):
    levels = np.round((x + 1) / 2 * (LEVELS - 1)).astype(int)
    chances = table().astype(float)
    joint = chances.sum(tuple(range(site + 1, SITES)))
    before = chances.sum(tuple(range(site, SITES)))
    return -np.log(joint[tuple(levels[:, : site + 1].T)] / before[tuple(levels[:, :site].T)])


def test_jumps_walk_every_stretch_so_often_and_end_as_the_grid_does():
    grid = np.linspace(1, 0, 13)
    walked = jumping(grid, 3, 4)
    assert walked[0] == 1 and walked[-1] == 0
    falls = np.diff(walked) < 0
    assert falls.sum() == 9 * 4 + 3 and (~falls).sum() == 9  # not at the end, where there is no noise to draw
    np.testing.assert_array_equal(jumping(grid, 3, 1), grid)
    with pytest.raises(ValueError, match="at least 1"):
        jumping(grid, 0, 2)


def pair(process, rho):
    """E[x | x_t] of two pixels with variance 1 and this correlation."""
    covariance = np.array([[1, rho], [rho, 1]])

    def denoise(x_t, t, condition=None):
        alpha, sigma = (level.ravel()[0] for level in process.at(t, x_t))
        gain = alpha * covariance @ jnp.linalg.inv(alpha**2 * covariance + sigma**2 * np.eye(2))
        return Normal(x_t @ gain.T)

    return denoise


@pytest.mark.slow
def test_replacement_is_biased_and_jumps_take_the_bias_away():
    """Of x_2 given x_1 = 1 the mean is rho and the variance 1 - rho^2."""
    rho, count, process = 0.9, 4000, Gaussian(VP())
    mask, image = jnp.array([True, False]), jnp.full((count, 2), 1.0)
    errors = []
    for times in (1, 8):
        grid = jumping(process.grid(100, "log_snr", 1e-3), 10, times)
        problem = Problem(process, pair(process, rho), grid=grid)
        keys = jax.random.split(jax.random.key(0), count)
        kept = Kept(process, image, mask)
        start = process.prior(keys, (count, 2))
        x, _ = jax.jit(
            lambda problem=problem, keys=keys, kept=kept, start=start: walk(
                FirstOrder(eta=1.0), problem, keys, start, after=kept
            )
        )()
        np.testing.assert_array_equal(x[:, 0], 1.0)
        errors.append(abs(float(x[:, 1].mean()) - rho) + abs(float(x[:, 1].var()) - (1 - rho**2)))
    assert errors[0] > 0.15 and errors[1] < errors[0] / 2
