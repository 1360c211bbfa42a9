"""Uniform corruption against the products of its transition matrices, built here step by step (Austin et al. 2021)."""

import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ddpm_jax.denoisers import Categorical
from ddpm_jax.processes import PROCESSES, Process, Traits, Uniform
from ddpm_jax.schedules.keeping import KEEPS

K = 4
VALUES = np.linspace(-1, 1, K).astype(np.float32)
PAIRS = np.indices((K, K)).reshape(2, -1)  # every level of x beside every level of x_t
P = np.random.default_rng(0).dirichlet(np.full(K, 0.5), size=K)  # p(x | x_t) as chance gave it, a row for each x_t
TIMES = [(0.9, 0.2), (1.0, 0.6), (0.3, 0.01), (0.5, 0.499), (0.02, 0.01)]
each_keep = pytest.mark.parametrize("keep", KEEPS.values(), ids=KEEPS)


def made(keep=KEEPS["linear"]):
    return Uniform(keep, VALUES)


def between(keep, s, t, steps=1000):
    """`[from, to]`: a product of many one-step matrices (1 - b) I + b/K, b what is lost of the share in the step."""
    product, shares = np.eye(K), [float(keep(float(u))) for u in np.linspace(s, t, steps + 1)]
    for before, after in itertools.pairwise(shares):
        lost = 1 - after / before
        product = product @ ((1 - lost) * np.eye(K) + lost / K)
    return product


def back(keep, t, s):
    """q(x_s | x_t, x) by Bayes' rule, `[x, x_t, x_s]`."""
    joint = between(keep, 0, s)[:, None, :] * between(keep, s, t).T[None]
    return joint / joint.sum(axis=-1, keepdims=True)


def pairs(dtype=jnp.float64):
    """Every x, and a z that makes every x_t of it, whatever the time but the least."""
    x = jnp.asarray(VALUES[PAIRS[0]], dtype)[:, None]
    z = jnp.stack([jnp.full(len(x), 1 - 1e-6), (PAIRS[1] + 0.5) / K], axis=-1).astype(dtype)[:, None]
    return x, z


def given(x_t, logits=None):
    """The posterior of each x_t, `[batch, 1]`."""
    rows = jnp.log(jnp.asarray(P, x_t.dtype)) if logits is None else logits
    number = jnp.round((x_t + 1) / 2 * (K - 1)).astype(jnp.int32)
    return Categorical(rows[number], jnp.asarray(VALUES, x_t.dtype))


def elbo(process, t, s, dtype=jnp.float64, logits=None):
    """Of every pair, `[x, x_t]`."""
    x, z = pairs(dtype)
    t, s = dtype(t), dtype(s)
    return process.elbo(given(process.corrupt(x, z, t), logits), x, z, t, s).reshape(K, K)


def test_it_is_a_process_and_says_what_it_needs():
    process = PROCESSES["uniform"](KEEPS["linear"], VALUES)
    assert isinstance(process, Process)
    assert process.traits() == Traits("uniform", markov=True)
    assert process.init(jax.random.key(0)) == {} and process.bind({}) is process
    np.testing.assert_allclose(process.grid(4), [1, 0.75, 0.5, 0.25, 0])
    np.testing.assert_allclose(process.grid(3, "quadratic", discrete=10), [1, 0.4, 0.1, 0])
    for values in (VALUES[:1], VALUES**3):
        with pytest.raises(ValueError, match="evenly spaced"):
            Uniform(KEEPS["linear"], values)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 4, 3)], ids=str)
def test_any_shape_and_a_key_for_each_example(shape):
    process, keys = made(), jax.random.split(jax.random.key(0), shape[0])
    z = process.noise(keys, shape)
    x = process.prior(keys, shape)
    assert z.shape == (*shape, 2) and x.shape == shape and set(np.unique(x)) <= set(VALUES)
    np.testing.assert_array_equal(process.noise(keys[1:], (shape[0] - 1, *shape[1:])), z[1:])
    np.testing.assert_array_equal(process.corrupt(x, z, 0.0), x)
    np.testing.assert_array_equal(process.reverse(keys, process.corrupt(x, z, 1.0), x, 1.0, 0.0, 1.0), x)
    x_t, posterior = process.corrupt(x, z, 0.4), given(x)
    for times in (jnp.full(shape[:1], 0.4), jnp.full(shape, 0.4)):  # one an example, one a value
        np.testing.assert_array_equal(process.corrupt(x, z, times), x_t)
        drawn = process.reverse(keys, x_t, x, times, times / 2, 1.0)
        np.testing.assert_array_equal(drawn, process.reverse(keys, x_t, x, 0.4, 0.2, 1.0))
        for s in (1.0, 0.5, 0.0):
            nats = process.elbo(posterior, x, z, times, s * times)
            np.testing.assert_allclose(nats, process.elbo(posterior, x, z, 0.4, 0.4 * s), rtol=1e-5)
    likeliest = process.evidence(x, 0.4, jnp.asarray(VALUES)).argmax(axis=-1)
    np.testing.assert_array_equal(VALUES[likeliest], x)


@each_keep
def test_what_is_replaced_stays_so_and_the_shares_are_the_matrices(keep):
    """z on a fine even grid: the law of x_t to the grid's width, with no chance in it."""
    process, count = made(keep), 400
    ranks, levels = (np.arange(count) + 0.5) / count, (np.arange(K) + 0.5) / K
    z = jnp.asarray(np.stack(np.meshgrid(ranks, levels, indexing="ij"), -1).reshape(1, -1, 2), jnp.float32)
    x = jnp.full((1, count * K), VALUES[1])
    gone = np.zeros(count * K, bool)
    for t in (0.1, 0.5, 0.9, 1.0):
        x_t = np.asarray(process.corrupt(x, z, t))[0]
        law = [(x_t == value).mean() for value in VALUES]
        np.testing.assert_allclose(law, between(keep, 0, t)[1], atol=1 / count)
        assert np.all((x_t != VALUES[1])[gone])
        gone = x_t != VALUES[1]


@each_keep
@pytest.mark.parametrize(("t", "s"), [(0.9, 0.2), (1.0, 0.6), (0.3, 0.1), (0.7, 0.0)])
def test_steps_back_and_on_have_the_laws_of_the_matrices(keep, t, s):
    process, rows = made(keep), 4000
    x, x_t = (jnp.asarray(VALUES[np.tile(part, (rows, 1))]) for part in PAIRS)
    x_s = np.asarray(jax.jit(process.reverse, static_argnums=5)(jax.random.key(1), x_t, x, t, s, 1.0))
    later = np.asarray(jax.jit(process.forward)(jax.random.key(2), x, s, t))
    laws = (back(keep, t, s), np.repeat(between(keep, s, t)[:, None], K, axis=1))
    for drawn, law in zip((x_s, later), laws, strict=True):
        counts = np.stack([(drawn == value).sum(axis=0) for value in VALUES], axis=-1)
        expected = rows * law.reshape(-1, K)
        assert not counts[expected < 1e-6].any()
        seen = expected > 1
        freedom = int(seen.sum()) - len(counts)
        statistic = ((counts - expected)[seen] ** 2 / expected[seen]).sum()
        assert freedom == 0 or stats.chi2.sf(statistic, freedom) > 1e-3


def test_a_step_back_is_the_chains_own():
    x = jnp.zeros((1, 2))
    with pytest.raises(ValueError, match="eta is 1"):
        made().reverse(jax.random.key(0), x, x, 0.5, 0.2, 0.0)


@each_keep
@pytest.mark.parametrize(("t", "s"), TIMES)
def test_the_bounds_interval_is_the_divergence_of_steps_by_the_matrices(keep, t, s):
    with jax.enable_x64(True):
        true = back(keep, t, s)
        model = np.einsum("tx,xts->ts", P, true)[None]
        expected = np.sum(true * np.log(true / model), axis=-1)
        np.testing.assert_allclose(elbo(made(keep), t, s), expected, rtol=1e-7, atol=1e-12)


def test_the_last_interval_is_the_decoders():
    expected = -np.log(P.T)
    np.testing.assert_allclose(elbo(made(), 0.3, 0.0, jnp.float32), expected, rtol=1e-5)


@each_keep
@pytest.mark.parametrize("time", [0.05, 0.5, 0.95])
def test_the_density_is_the_limit_of_intervals_and_a_divergence_of_rates(keep, time):
    """Of jumps at these rates the path measures diverge by sum of a log(a/b) - a + b a unit of time."""
    with jax.enable_x64(True):
        density = np.asarray(elbo(made(keep), time, time))
        np.testing.assert_allclose(elbo(made(keep), time, time - 1e-6) / 1e-6, density, rtol=1e-4)
        step = 1e-6
        on = (between(keep, time - step, time, 1) - np.eye(K)) / step  # [from, to], of the chain
        marginal = between(keep, 0, time)
        rates = on.T[None] * marginal[:, None, :] / marginal[:, :, None]  # [x, x_t, y], back in time
        model = np.einsum("tx,xty->ty", P, rates)[None]
        off = ~np.eye(K, dtype=bool)[None]
        parts = np.where(off, rates * np.log(np.where(off, rates / model, 1)) - rates + model, 0)
        np.testing.assert_allclose(density, parts.sum(axis=-1), rtol=1e-4)


@each_keep
def test_single_precision_is_enough_at_every_time(keep):
    """Near t = 0 the odds are large, at t = 1 they are 0, and short intervals are small differences."""
    times = [(1e-3, 1e-3), (0.5, 0.5), (0.9999, 0.9999), (1e-3, 0.0), (2e-3, 1e-3), (1.0, 0.999), (0.5, 0.4999)]
    for t, s in times:
        with jax.enable_x64(True):
            exact = np.asarray(elbo(made(keep), np.float32(t), np.float32(s)))
        single = np.asarray(elbo(made(keep), t, s, jnp.float32))
        np.testing.assert_allclose(single, exact, rtol=3e-3, atol=1e-6 if s < t else 1e-5)


@pytest.mark.parametrize("times", [(1.0, 1.0), (1e-3, 1e-3), (1e-3, 0.0), (1.0, 0.5), (0.6, 0.5)])
def test_the_bound_has_a_slope_everywhere(times):
    """Also where the model is certain, and wrong."""
    process = made(KEEPS["cosine"])
    logits = jnp.asarray(np.random.default_rng(1).normal(0, 30, (K, K)), jnp.float32)
    value, slope = jax.value_and_grad(lambda rows: elbo(process, *times, jnp.float32, rows).sum())(logits)
    assert np.isfinite(value) and value >= -1e-5 and np.isfinite(slope).all()
    assert times == (1.0, 1.0) or np.abs(slope).max() > 0


def test_at_the_end_the_density_vanishes_with_what_is_kept():
    assert np.abs(elbo(made(), 1.0, 1.0, jnp.float32)).max() < 1e-4


def test_the_priors_term_is_the_divergence_from_uniform():
    x = jnp.zeros((3, 2, 5, 1)) + VALUES[1]
    np.testing.assert_array_equal(made().prior_loss(x), np.zeros(3))
    law = np.full(K, 0.8 / K)
    law[1] += 0.2
    short = Uniform(lambda t: 1 - 0.8 * jnp.asarray(t), VALUES)
    np.testing.assert_allclose(short.prior_loss(x), np.full(3, 10 * np.sum(law * np.log(law * K))), rtol=1e-5)


def test_the_film_shows_what_there_is_and_what_is_expected():
    film = (jnp.zeros((2, 3, 4, 1)) + VALUES[0], jnp.zeros((2, 3, 4, 1)))

    def denoise(x_t, t, condition=None):
        return SimpleNamespace(mean=jnp.broadcast_to(t, x_t.shape))

    shown, means = made().film(denoise, film, jnp.array([0.8, 0.4]), jnp.array([0.4, 0.0]), None)
    np.testing.assert_array_equal(shown, film[0])
    np.testing.assert_allclose(means[:, 0, 0, 0], [0.8, 0.4])
