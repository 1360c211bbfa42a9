"""Estimates: what they take from the posterior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ddpm_jax.denoisers import LogisticMixture, Normal
from ddpm_jax.denoisers.logistics import numbers_a_pixel
from ddpm_jax.processes import Ordered, make_order
from ddpm_jax.samplers import FirstOrder, Problem
from ddpm_jax.schedules.keeping import linear


def estimate(denoise, x_t, t, s, memory=None, condition=None):
    problem = Problem(None, denoise, condition)
    return FirstOrder().estimate(problem, jax.random.key(0), x_t, memory, jnp.float32(t), jnp.float32(s))


def test_first_order_draws_from_the_posterior_at_the_step_and_leaves_memory_alone():
    heard = []

    def denoise(x_t, t, condition):
        heard.append((float(t), condition))
        return Normal(2 * x_t, jnp.full_like(x_t, 0.09))

    x_t = jnp.full((5000, 1), 0.4)
    x_hat, memory = estimate(denoise, x_t, 0.7, 0.2, "memory", "a cat")
    assert heard == [(np.float32(0.7), "a cat")]
    assert memory == "memory"
    assert stats.kstest(np.ravel(x_hat), stats.norm(0.8, 0.3).cdf).pvalue > 1e-3


def test_first_order_takes_the_mean_of_a_point():
    x_t = jnp.arange(4.0).reshape(2, 2)
    x_hat, _ = estimate(lambda x_t, t, condition: Normal(2 * x_t), x_t, 0.7, 0.2)
    np.testing.assert_array_equal(x_hat, 2 * x_t)


def test_first_order_ends_with_the_mean():
    """DDPM shows the mean of its last step; x without its noise is no draw, but nothing comes after it."""
    x_t = jnp.arange(4.0).reshape(2, 2)
    x_hat, _ = estimate(lambda x_t, t, condition: Normal(2 * x_t, jnp.ones_like(x_t)), x_t, 0.1, 0.0)
    np.testing.assert_array_equal(x_hat, 2 * x_t)


@pytest.mark.slow
def test_first_order_draws_what_it_reveals_as_it_draws_the_whole():
    """Of a posterior that draws where it is wanted, x_s has the values of the estimate of all sites."""
    process = Ordered(make_order("independent", (6, 6)), linear)
    raw = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 6, 6, numbers_a_pixel(2, 3))), jnp.float32)
    strong, weak = (LogisticMixture.of(part, 2, jnp.linspace(-1, 1, 9)) for part in raw)
    problem = Problem(process, lambda x_t, t, condition: strong.guide(weak, 2.0))
    x_t = process.prior(jax.random.key(0), (4, 6, 6, 2))
    step = jax.jit(lambda key, t, s: FirstOrder().step(problem, key, x_t, None, t, s)[:2])
    x_s, x_hat = step(jax.random.key(1), 1.0, 0.6)
    shown = np.asarray(process.visible(x_s))
    np.testing.assert_array_equal(x_s[shown], x_hat[shown])
    assert process.visible(x_hat).all() and 0.2 < shown.mean() < 0.6
    np.testing.assert_array_equal(*step(jax.random.key(1), 0.1, 0.0))
