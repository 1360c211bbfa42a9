"""The normal posterior against scipy, and guidance against densities multiplied on a grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Normal
from ddpm_jax.denoisers.posteriors import log_interval


def test_draws_have_the_normals_law_and_belong_to_their_rows():
    mean = jnp.broadcast_to(jnp.array([0.3, -2.0]), (10_000, 2))
    variance = jnp.broadcast_to(jnp.array([0.04, 9.0]), (10_000, 2))
    keys = random.per_example(jax.random.key(0), jnp.arange(10_000))
    draws = Normal(mean, variance).sample(keys)
    for column, (centre, deviation) in enumerate([(0.3, 0.2), (-2.0, 3.0)]):
        assert stats.kstest(draws[:, column], stats.norm(centre, deviation).cdf).pvalue > 1e-3
    part = Normal(mean[40:42], variance[40:42]).sample(keys[40:42])
    np.testing.assert_array_equal(part, draws[40:42])


def test_a_point_has_no_spread():
    mean = jnp.array([[0.3, -2.0]])
    np.testing.assert_array_equal(Normal(mean).sample(jax.random.key(0)), mean)
    np.testing.assert_allclose(Normal(mean).loss(mean + 2), 2.0, rtol=1e-6)
    np.testing.assert_allclose(Normal(mean).squared_error(mean + 3, mean), 9.0, rtol=1e-6)


def test_loss_is_minus_the_log_density():
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    got = Normal(jnp.full((4, 3), 0.2), jnp.full((4, 1), 0.09)).loss(jnp.asarray(x))
    np.testing.assert_allclose(got, -stats.norm(0.2, 0.3).logpdf(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0, 3.0])
def test_guidance_is_the_normalised_product_of_densities(weight):
    conditional, unconditional = Normal(jnp.full((1, 1), 0.5), jnp.full((1, 1), 0.3)), Normal(jnp.zeros((1, 1)), None)
    guided = conditional.guide(unconditional, weight)
    u = np.linspace(-12, 12, 4001)
    deviation = np.sqrt(0.3)
    logs = (1 - weight) * stats.norm(0, deviation).logpdf(u) + weight * stats.norm(0.5, deviation).logpdf(u)
    density = np.exp(logs - logs.max())
    density /= np.trapezoid(density, u)
    got = stats.norm(float(guided.mean[0, 0]), np.sqrt(float(guided.variance[0, 0]))).pdf(u)
    np.testing.assert_allclose(got, density, atol=1e-5)


def test_log_interval_against_scipy_in_both_tails():
    lower = np.array([-np.inf, -1.0, -0.2, 2.0, 8.0, -9.0, 5.0, -30.0, 29.0])
    upper = np.array([-7.0, 1.5, 0.1, 2.5, np.inf, -8.0, np.inf, -29.0, 30.0])
    mirrored = np.where(lower > 0, -1, 1)  # sf(a) = cdf(-a), so that scipy subtracts small numbers too
    low, high = np.minimum(mirrored * lower, mirrored * upper), np.maximum(mirrored * lower, mirrored * upper)
    below, above = stats.norm.logcdf(low), stats.norm.logcdf(high)
    expected = above + np.log1p(-np.exp(below - above))
    got = jax.jit(log_interval)(jnp.asarray(lower, jnp.float32), jnp.asarray(upper, jnp.float32))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_tempering_is_a_power_of_the_density_and_leaves_a_point():
    u = np.linspace(-12, 12, 4001)
    density = stats.norm(0.5, np.sqrt(0.3)).pdf(u) ** (1 / 0.7)
    tempered = Normal(jnp.full((1, 1), 0.5), jnp.full((1, 1), 0.3)).tempered(0.7)
    got = stats.norm(float(tempered.mean[0, 0]), np.sqrt(float(tempered.variance[0, 0]))).pdf(u)
    np.testing.assert_allclose(got, density / np.trapezoid(density, u), atol=1e-5)
    assert Normal(jnp.zeros((1, 1))).tempered(0.7).variance is None
    with pytest.raises(ValueError, match="levels"):
        tempered.tempered(top_k=2)
    with pytest.raises(ValueError, match="temperature"):
        tempered.tempered(0.0)


def test_a_point_has_the_same_value_whatever_its_number():
    mean = jnp.array([[0.3, -2.0]])
    np.testing.assert_array_equal(Normal(mean).sample(jax.random.key(0), jnp.array([7, 3])), mean)
    with pytest.raises(ValueError, match="whole images"):
        Normal(mean, jnp.ones((1, 2))).sample(jax.random.key(0), jnp.array([7, 3]))
