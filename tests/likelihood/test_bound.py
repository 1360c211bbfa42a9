"""The variational bound: of a model that knows the data, and its bookkeeping on terms that are known."""

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import keys as random
from ddpm_jax import schedules
from ddpm_jax.denoisers import Normal, Pointed
from ddpm_jax.likelihood import bound, interval_groups
from ddpm_jax.oracles import FiniteData
from ddpm_jax.processes import Gaussian, Process

LEVELS = np.linspace(-1, 1, 5)
IMAGES = LEVELS[np.random.default_rng(0).integers(0, 5, (6, 4))]  # six different images of four pixels
ENTROPY = math.log2(6) / 4
TABLES = ("ddpm_linear", "ddpm_cosine")
NAMES = {  # where each grid has its t_min: little noise, which settles the image
    "vp": 0.005,
    "subvp": 0.02,
    "ve": 0.001,
    "edm": 0.2,
    "flow": 0.02,
    "cosine": 0.02,
    "learned": 0.2,
    "ddpm_linear": None,
    "ddpm_cosine": None,
}
OPTIONS = {"ve": {"sigma_max": 50.0}, "learned": {"gamma_max": 8.0}}


def bound_schedule(name):
    made = schedules.make(name, 1024 if name in TABLES else 0, **OPTIONS.get(name, {}))
    return made.bind(made.init(jax.random.key(0))) if name == "learned" else made


SCHEDULES = [bound_schedule(name) for name in NAMES]
COSINE = Gaussian(SCHEDULES[list(NAMES).index("cosine")], LEVELS)


def grid_of(name, steps):
    """`steps` even intervals of all times for a table; else of [t_min, 1], and the last one."""
    return np.linspace(1, 0, steps + 1) if name in TABLES else np.append(np.linspace(1, NAMES[name], steps), 0)


@jax.jit(static_argnames=("groups", "continuous"))
def terms_of(index, grid, keys, x, groups=None, continuous=False):
    """Compiled once for all schedules: which of them is an argument."""
    process = Gaussian(lambda t: jax.lax.switch(index, [lambda t, at=at: at(t) for at in SCHEDULES], t), LEVELS)
    return bound(process, FiniteData(IMAGES).denoiser(process), grid, keys, x, groups=groups, continuous=continuous)


def bits(name, steps, repeats, seed=0, **options):
    """The bound's mean in bits per dimension over copies of the six images, its standard error, the prior's part."""
    x = jnp.asarray(np.tile(IMAGES, (repeats, 1)), jnp.float32)
    keys = random.per_example(jax.random.key(seed), jnp.arange(len(x)))
    index = jnp.int32(list(NAMES).index(name))
    terms = terms_of(index, jnp.asarray(grid_of(name, steps), jnp.float32), keys, x, **options)
    values = np.asarray(terms.total, np.float64) / (4 * math.log(2))
    return values.mean(), values.std() / math.sqrt(len(values)), float(terms.prior.mean()) / (4 * math.log(2))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_bound_of_the_optimal_denoiser_falls_to_the_entropy(name):
    """log2(6)/4 bits is the least any model can have on these images; the excess of T steps falls like 1/T."""
    excess, errors = [], []
    for steps in (16, 128, 1024):
        mean, error, prior = bits(name, steps, repeats=150)
        excess.append(mean - ENTROPY)
        errors.append(error)
    excess, errors = np.array(excess), np.array(errors)
    assert np.all(excess > -4 * errors)
    fall = excess[:-1] - 4 * excess[1:]  # each T eight times the one before
    assert np.all(fall > -4 * np.hypot(errors[:-1], 4 * errors[1:]))
    assert excess[0] > max(3 * errors[0], 0.2)
    assert abs(excess[-1]) < 4 * errors[-1] + prior + 0.01 * ENTROPY
    assert errors[-1] < 0.006 * ENTROPY


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name not in TABLES])
def test_the_continuous_bound_is_the_entropy(name):
    """The limit itself, from 64 strata: the prior's divergence is all that is left."""
    mean, error, prior = bits(name, 64, repeats=1500, seed=1, continuous=True)
    assert mean == pytest.approx(ENTROPY, abs=4 * error + prior)
    assert error < 0.008 * ENTROPY


@pytest.mark.slow
def test_groups_estimate_the_same_sum():
    (whole, error), (some, other) = bits("cosine", 128, 150)[:2], bits("cosine", 128, 600, seed=1, groups=12)[:2]
    assert some == pytest.approx(whole, abs=4 * math.hypot(error, other))
    assert math.hypot(error, other) < 0.05 * whole
    every = ledger(lambda t, s: jnp.exp(t), UNEVEN, groups=99)
    np.testing.assert_allclose(every.total, 1000 + np.exp(UNEVEN[:-1]).sum(), rtol=1e-6)


@pytest.mark.parametrize("t_min", [0.05, 0.7])
def test_decoder_and_steps_share_the_entropy(t_min):
    """With one pixel the marginals are the whole posterior: wherever the decoder takes over, the sum is the entropy.

    Kingma et al. 2021: the integral is the information that x_{t_min} has about x, the decoder what is left.
    """
    data = FiniteData(LEVELS[:, None], np.array([0.4, 0.1, 0.2, 0.1, 0.2]))
    x = jnp.asarray(np.repeat(LEVELS, [4000, 1000, 2000, 1000, 2000])[:, None], jnp.float32)
    keys = random.per_example(jax.random.key(5), jnp.arange(len(x)))
    grid = np.append(np.linspace(1, t_min, 20), 0)
    run = jax.jit(lambda keys, x: bound(COSINE, data.denoiser(COSINE), grid, keys, x, continuous=True))
    terms = run(keys, x)
    values = np.asarray(terms.total, np.float64) / math.log(2)
    assert values.mean() == pytest.approx(data.bits_per_dimension, abs=4 * values.std() / 100)
    assert values.std() / 100 < 0.03
    assert (float(terms.reconstruction.mean()) > 0.5) == (t_min > 0.5)


def test_a_point_has_the_same_bound_where_the_decoder_is_sure():
    """Steps take the posterior as a point already; at t_min the normal's bin has all the mass."""
    x = jnp.asarray(np.tile(IMAGES, (20, 1)), jnp.float32)
    keys, denoise = random.per_example(jax.random.key(2), jnp.arange(len(x))), FiniteData(IMAGES).denoiser(COSINE)
    both = [
        jax.jit(lambda keys, x, denoise=denoise: bound(COSINE, denoise, grid_of("cosine", 16), keys, x).total)(keys, x)
        for denoise in (denoise, Pointed(denoise))
    ]
    np.testing.assert_allclose(*both, rtol=1e-5, atol=1e-5)


def test_an_images_bound_does_not_depend_on_its_batch():
    x = jnp.asarray(IMAGES, jnp.float32)
    keys, rows = random.per_example(jax.random.key(2), jnp.arange(6)), np.array([4, 1])
    denoise, grid = FiniteData(IMAGES).denoiser(COSINE), grid_of("cosine", 8)
    run = jax.jit(lambda keys, x: bound(COSINE, denoise, grid, keys, x, groups=4, continuous=True).total)
    np.testing.assert_allclose(run(keys[rows], x[rows]), run(keys, x)[rows], rtol=1e-5)


@dataclass(frozen=True)
class Ledger(Process):
    """A process whose term is a known function of the interval's two ends."""

    term: object
    kind: ClassVar[str] = "gaussian"

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


def ledger(term, grid, rows=1, groups=None, continuous=False):
    keys = random.per_example(jax.random.key(3), jnp.arange(rows))
    x = jnp.zeros((rows, 1))
    denoise = lambda x_t, t, condition: Normal(x_t)  # noqa: E731
    return bound(Ledger(term), denoise, np.asarray(grid), keys, x, groups=groups, continuous=continuous)


def test_terms_are_parted_as_they_are_named():
    terms = ledger(lambda t, s: jnp.where(s == 0, 100 * t, t - s), [1, 0.7, 0.2, 0], rows=3)
    np.testing.assert_allclose(terms.prior, 1000)
    np.testing.assert_allclose(terms.steps, 0.8, rtol=1e-4)
    np.testing.assert_allclose(terms.reconstruction, 20, rtol=1e-5)
    np.testing.assert_allclose(terms.total, 1020.8, rtol=1e-6)


UNEVEN = [1, 0.9, 0.85, 0.4, 0.1, 0.02, 0]


@pytest.mark.parametrize("groups", [None, 3])
def test_continuous_terms_are_an_integral(groups):
    """exp(3 t) over [0.02, 1], and 50 for the decoder, whose interval has the ends 0.02 and 0."""
    terms = ledger(
        lambda t, s: jnp.where(s == 0, 2500 * t, jnp.where(s == t, jnp.exp(3 * t), jnp.nan)),
        UNEVEN,
        rows=20_000,
        groups=groups,
        continuous=True,
    )
    np.testing.assert_allclose(terms.reconstruction, 50, rtol=1e-6)
    steps = np.asarray(terms.steps, np.float64)
    error = steps.std() / math.sqrt(len(steps))
    assert steps.mean() == pytest.approx((math.exp(3) - math.exp(0.06)) / 3, abs=4 * error)
    nodes = np.linspace(0.02, 1, 100_001)
    edges = np.array(UNEVEN[::-1])[1:] if groups is None else np.array(UNEVEN[::-1])[interval_groups(6, 3)[1:]]
    variances = []  # of one time in each stratum, by quadrature
    for low, high in itertools.pairwise(edges):
        inside = np.exp(3 * nodes[(nodes >= low) & (nodes <= high)])
        variances.append((high - low) ** 2 * inside.var())
    assert steps.var() == pytest.approx(sum(variances), rel=0.05)


def test_continuous_terms_lie_in_their_strata():
    """A term that is 1 in one stratum and 0 elsewhere: every row has exactly its width."""
    for high, low in itertools.pairwise(UNEVEN[:-1]):

        def inside(t, s, low=low, high=high):
            return jnp.where((t > low) & (t <= high) & (s > 0), 1.0, 0.0)

        terms = ledger(inside, UNEVEN, rows=200, continuous=True)
        np.testing.assert_allclose(terms.total - 1000, high - low, rtol=1e-3)


def test_a_table_has_no_continuous_bound():
    process, keys = (
        Gaussian(schedules.make("ddpm_linear", 100), LEVELS),
        jax.random.split(jax.random.key(0), 6),
    )
    with pytest.raises(ValueError, match="sum over its intervals"):
        bound(process, FiniteData(IMAGES).denoiser(process), np.ones(5), keys, jnp.float32(IMAGES), continuous=True)


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
            assert (edges[0], edges[1], edges[-2], edges[-1]) == (0, 1, intervals - 1 or edges[-2], intervals)
            assert np.all(lengths >= 1)
            assert len(lengths) == min(max(count, min(3, intervals)), intervals)
            if count >= intervals:
                assert np.all(lengths == 1)


def test_interval_groups_are_fine_near_zero_and_grow():
    lengths = np.diff(interval_groups(1000, 100))[:-1]
    assert len(lengths) == 99
    assert np.all(lengths[:10] == 1)
    assert np.all(np.diff(lengths) >= -1)  # rounding
    edges = interval_groups(1000, 100)[60:-1]
    ratios = edges[1:] / edges[:-1]
    assert ratios.max() < 1.05 * ratios.min()
