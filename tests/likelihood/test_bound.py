"""The variational bound: of a model that knows the data, and its bookkeeping on terms that are known."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Normal
from ddpm_jax.likelihood import bound, interval_groups
from ddpm_jax.processes import Gaussian

LEVELS = np.linspace(-1, 1, 5)
IMAGES = LEVELS[np.random.default_rng(0).integers(0, 5, (6, 4))]  # six different images of four pixels
COSINE = Gaussian(lambda t: (jnp.cos(jnp.pi * t / 2), jnp.sin(jnp.pi * t / 2)), LEVELS)


def optimal(x_t, t, condition):
    """The mean of the six images given x_t, each as likely as the others beforehand."""
    alpha, sigma = (level[:, None] for level in COSINE.schedule(t))
    images = jnp.asarray(IMAGES, x_t.dtype)
    distances = jnp.sum((x_t[:, None] - alpha[:, None] * images) ** 2, axis=2)
    return Normal(jax.nn.softmax(-distances / (2 * sigma**2)) @ images)


def bits(steps, groups=None, repeats=100, seed=0):
    """The bound in bits per dimension for each of `repeats` copies of the six images."""
    x = jnp.asarray(np.tile(IMAGES, (repeats, 1)), jnp.float32)
    keys = random.per_example(jax.random.key(seed), jnp.arange(len(x)))
    grid = np.linspace(1, 0, steps + 1)
    terms = jax.jit(lambda keys, x: bound(COSINE, optimal, grid, keys, x, groups=groups))(keys, x)
    return np.asarray(terms.total, np.float64) / (4 * math.log(2))


def test_the_bound_of_the_optimal_denoiser_falls_to_the_entropy():
    """log2(6)/4 bits is the least any model can have on these images; the excess of T steps falls like 1/T."""
    entropy = math.log2(6) / 4
    excess, errors = [], []
    for steps in (4, 16, 64, 256):
        values = bits(steps)
        excess.append(values.mean() - entropy)
        errors.append(values.std() / math.sqrt(len(values)))
    assert np.all(np.array(excess) > -4 * np.array(errors))
    assert excess[0] > 5 * excess[1] / 2 > 10 * excess[2] / 2
    assert abs(excess[3]) < 4 * errors[3] + 0.03 * entropy
    assert errors[3] < 0.02 * entropy


def test_groups_estimate_the_same_sum():
    whole, some = bits(64), bits(64, groups=8, repeats=300, seed=1)
    error = math.sqrt(whole.var() / len(whole) + some.var() / len(some))
    assert some.mean() == pytest.approx(whole.mean(), abs=4 * error)
    assert error < 0.05 * whole.mean()
    np.testing.assert_allclose(bits(5, groups=99, repeats=2), bits(5, repeats=2), rtol=1e-6)


def test_an_images_bound_does_not_depend_on_its_batch():
    x = jnp.asarray(IMAGES, jnp.float32)
    keys = random.per_example(jax.random.key(2), jnp.arange(6))
    run = jax.jit(lambda keys, x: bound(COSINE, optimal, np.linspace(1, 0, 9), keys, x, groups=4).total)
    rows = np.array([4, 1])
    np.testing.assert_allclose(run(keys[rows], x[rows]), run(keys, x)[rows], rtol=1e-5)


@dataclass(frozen=True)
class Ledger:
    """A process whose term is a known function of the interval's two ends."""

    term: object

    def noise(self, keys, shape):
        return random.normal(keys, shape)

    def corrupt(self, x, z, t):
        return x

    def prior(self, keys, shape):
        return self.noise(keys, shape)

    def reverse(self, keys, x_t, x, t, s, eta):
        return x

    def forward(self, keys, x_s, s, t):
        return x_s

    def elbo(self, posterior, x, z, t, s):
        return self.term(t, s)

    def prior_loss(self, x):
        return jnp.full(len(x), 1000.0)


def ledger(term, grid, rows=1, groups=None):
    keys = random.per_example(jax.random.key(3), jnp.arange(rows))
    x = jnp.zeros((rows, 1))
    return bound(Ledger(term), lambda x_t, t, condition: Normal(x_t), np.asarray(grid), keys, x, groups=groups)


def test_terms_are_parted_as_they_are_named():
    terms = ledger(lambda t, s: jnp.where(s == 0, 100 * t, t - s), [1, 0.7, 0.2, 0], rows=3)
    np.testing.assert_allclose(terms.prior, 1000)
    np.testing.assert_allclose(terms.steps, 0.8, rtol=1e-4)
    np.testing.assert_allclose(terms.reconstruction, 20, rtol=1e-5)
    np.testing.assert_allclose(terms.total, 1020.8, rtol=1e-6)


def test_each_interval_is_drawn_as_often_as_its_neighbours_in_a_run():
    """A term that is 1 in one interval and 0 elsewhere has the mean 1, whichever the interval, near or far."""
    grid = np.arange(20, -1, -1) / 20
    intervals = np.tile([0, 1, 6, 13, 19], 3000)  # a row's own
    terms = ledger(lambda t, s: (jnp.round(s * 20) == intervals) * 1.0, grid, rows=15_000, groups=4)
    for total in np.asarray(terms.steps + terms.reconstruction, np.float64).reshape(3000, 5).T:
        assert total.mean() == pytest.approx(1, abs=4 * total.std() / math.sqrt(3000) + 1e-9)


def test_interval_groups_part_the_intervals():
    for intervals in range(1, 41):
        for count in range(1, 45):
            edges = interval_groups(intervals, count)
            lengths = np.diff(edges)
            assert (edges[0], edges[1], edges[-1]) == (0, 1, intervals)
            assert np.all(lengths >= 1)
            assert len(lengths) == min(max(count, min(2, intervals)), intervals)
            if count >= intervals:
                assert np.all(lengths == 1)


def test_interval_groups_are_fine_near_zero_and_grow():
    lengths = np.diff(interval_groups(1000, 100))
    assert len(lengths) == 100
    assert np.all(lengths[:10] == 1)
    assert np.all(np.diff(lengths) >= -1)  # rounding
    edges = interval_groups(1000, 100)[60:]
    ratios = edges[1:] / edges[:-1]
    assert ratios.max() < 1.05 * ratios.min()
