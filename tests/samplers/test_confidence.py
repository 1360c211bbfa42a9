"""Sampling by confidence: how many sites a step reveals, which, and the law that comes of it."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Categorical
from ddpm_jax.processes import MASK, Ordered, make_order
from ddpm_jax.samplers import Confidence, Problem
from ddpm_jax.schedules.keeping import cosine, linear

VALUES = np.linspace(-1, 1, 4).astype(np.float32)


def ordered(space=(6,), name="independent", chunk=1, keep=linear, channels=1, apart=False):
    return Ordered(make_order(name, space, channels, apart, chunk), keep, apart)


def fixed_logits(logits):
    """A denoiser that says the same whatever it sees: `[*site, levels]`, or `[*site]` numbers of equal levels."""
    logits = np.asarray(logits, np.float32)

    def denoise(x_t, t, condition):
        return Categorical(jnp.broadcast_to(logits, (*x_t.shape, len(VALUES))), jnp.asarray(VALUES))

    return denoise


def equal_levels(*counts):
    """Logits of sites at each of which the first so many levels are equally likely: any draw has log p = -log n."""
    return np.where(np.arange(4) < np.array(counts)[:, None], 0, -np.inf)[:, None, :]


def run(process, denoise, grid, rows, temperature=0.0, start=None, channels=1):
    """Samples, and x_t before every step."""
    keys = random.per_example(jax.random.key(1), jnp.arange(rows))
    problem = Problem(process, denoise, grid=np.asarray(grid))

    @jax.jit
    def samples(keys):
        x = process.prior(keys, (rows, *process.order.space, channels)) if start is None else start
        frames = tuple(range(len(grid) - 1))
        return Confidence(temperature).solve(problem, keys, x, frames)

    x, (states, _), evaluations = samples(keys)
    np.testing.assert_array_equal(evaluations, len(grid) - 1)
    return np.asarray(x), np.asarray(states)


def counts(states):
    """How many values are visible, `[steps, rows]`."""
    return (states > MASK / 2 - 0.5).reshape(*states.shape[:2], -1).sum(-1)


@pytest.mark.parametrize("keep", [linear, cosine])
def test_a_step_reveals_what_the_process_would_on_average(keep):
    process, grid = ordered((5, 4), keep=keep), np.linspace(1, 0, 8)
    x, states = run(process, fixed_logits(np.zeros(4)), grid, 3, 1.0)
    share = {linear: 1 - grid, cosine: 1 - np.sin(np.pi / 2 * grid)}[keep]
    expected = np.round(20 * share[:-1])
    np.testing.assert_array_equal(counts(states), np.repeat(expected[:, None], 3, axis=1))
    assert np.isin(x, VALUES).all()
    for before, after in zip(states, [*states[1:], x], strict=True):
        seen = before > MASK / 2 - 0.5
        np.testing.assert_array_equal(before[seen], after[seen])  # what is revealed stays


def test_chunks_are_revealed_whole_and_known_sites_stay():
    process = ordered((12,), "random", chunk=3)
    grid = np.linspace(1, 0, 5)
    _, states = run(process, fixed_logits(np.zeros(4)), grid, 4)
    np.testing.assert_array_equal(counts(states)[:, 0], [0, 3, 6, 9])
    start = jnp.full((4, 12, 1), MASK).at[:, 4:8].set(VALUES[1])
    x, states = run(process, fixed_logits(np.zeros(4)), grid, 4, start=start)
    np.testing.assert_array_equal(counts(states)[:, 0], [4, 6, 8, 10])
    np.testing.assert_array_equal(x[:, 4:8], VALUES[1])
    assert np.isin(x, VALUES).all()


def test_without_temperature_the_surest_sites_come_first():
    process = ordered((3,), "random")
    _, states = run(process, fixed_logits(equal_levels(4, 1, 2)), [1, 2 / 3, 1 / 3, 0], 64)
    visible = states[..., 0] > MASK / 2 - 0.5
    np.testing.assert_array_equal(visible[1], np.tile([False, True, False], (64, 1)))
    np.testing.assert_array_equal(visible[2], np.tile([False, True, True], (64, 1)))


def test_a_pixels_channels_are_sure_together():
    """One sure channel of two does not make a pixel surer than two channels that are nearly sure; apart it does."""
    logits = np.array([[[0, -np.inf] * 2] * 2] * 2, np.float32)
    logits[0] = [[0, -np.inf, -np.inf, -np.inf], [0, 0, 0, 0]]  # log p: 0 and -log 4
    logits[1] = [[0, 0, -np.inf, -np.inf], [0, -np.inf, -np.inf, -np.inf]]  # -log 2 and 0
    _, states = run(ordered((2,), "random", channels=2), fixed_logits(logits), [1, 0.5, 0], 8, channels=2)
    assert np.all(counts(states)[1] == 2)
    assert np.all(states[1][:, 1] > -1.5)
    apart = ordered((2,), "random", channels=2, apart=True)
    _, states = run(apart, fixed_logits(logits), [1, 0.5, 0], 8, channels=2)
    np.testing.assert_array_equal(states[1] > -1.5, np.tile([[True, False], [False, True]], (8, 1, 1)))


@pytest.mark.parametrize("temperature", [0.0, 2.0, 1e6])
def test_the_first_site_is_drawn_with_the_chances_of_gumbel_noise(temperature):
    """With score -log n and noise of scale T s the first is site i with a chance proportional to n_i^(-1/(T s))."""
    process, rows = ordered((4,), "random"), 20_000
    sites = (1, 2, 4, 4)
    if temperature == 0:
        sites = (4, 4, 4, 4)  # equal ones in random order
    _, states = run(process, fixed_logits(equal_levels(*sites)), [1, 0.75, 0], rows, temperature)
    first = np.argmax(states[1][..., 0] > -1.5, axis=1)
    weights = np.array(sites, float) ** (-1 / (temperature * 0.75) if temperature else 0)
    assert stats.chisquare(np.bincount(first, minlength=4), rows * weights / weights.sum()).pvalue > 1e-3


def test_the_law_prefers_what_is_likely():
    """Two independent sites: the draws (a, b) of the first step, the surer kept, the other drawn again."""
    p, q = np.array([0.55, 0.3, 0.1, 0.05]), np.array([0.42, 0.28, 0.17, 0.13])
    rows, expected = 40_000, np.zeros((4, 4))
    for a, b in product(range(4), repeat=2):
        chance = p[a] * q[b]
        if p[a] > q[b]:
            expected[a] += chance * q
        else:
            expected[:, b] += chance * p
    x, _ = run(ordered((2,), "random"), fixed_logits(np.log([p, q])[:, None]), [1, 0.5, 0], rows)
    levels = np.round((x[..., 0] + 1) * 1.5).astype(int)
    found = np.bincount(levels[:, 0] * 4 + levels[:, 1], minlength=16)
    assert stats.chisquare(found, rows * expected.ravel()).pvalue > 1e-3
    assert stats.chisquare(found, rows * np.outer(p, q).ravel()).pvalue < 1e-6  # it is not the denoiser's


def test_an_image_depends_on_its_own_key():
    process, denoise = ordered((6,)), fixed_logits(np.random.default_rng(0).normal(size=(6, 1, 4)))
    grid = np.linspace(1, 0, 4)
    np.testing.assert_array_equal(run(process, denoise, grid, 5, 1.0)[0][:2], run(process, denoise, grid, 2, 1.0)[0])
