"""The categorical posterior, against Bayes' rule summed out in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.denoisers import Categorical, gaussian_denoiser, guide
from ddpm_jax.processes import Gaussian
from ddpm_jax.schedules import VE, VP

VALUES = np.linspace(-1, 1, 5).astype(np.float32)
LOGITS = np.random.default_rng(0).normal(size=(3, 4, 2, 5)).astype(np.float32)


def table(logits=LOGITS):
    weights = np.exp(np.asarray(logits, np.float64))
    return weights / weights.sum(axis=-1, keepdims=True)


def test_mean_error_and_loss_are_sums_over_the_levels():
    posterior = Categorical(jnp.asarray(LOGITS), jnp.asarray(VALUES))
    level = np.random.default_rng(1).integers(0, 5, (3, 4, 2))
    x = jnp.asarray(VALUES[level])
    p = table()
    np.testing.assert_allclose(posterior.mean, (p * VALUES).sum(axis=-1), atol=1e-6)
    np.testing.assert_allclose(posterior.squared_error(x, x), (VALUES[level] - (p * VALUES).sum(-1)) ** 2, atol=1e-6)
    expected = -np.log(np.take_along_axis(p, level[..., None], axis=-1)[..., 0])
    np.testing.assert_allclose(posterior.loss(x), expected, rtol=1e-5)
    np.testing.assert_allclose(posterior.discretise(jnp.asarray(VALUES), jnp.ones(1)).loss(x), expected, rtol=1e-5)


def test_draws_come_as_often_as_the_table_says():
    logits = jnp.broadcast_to(jnp.asarray(LOGITS[:1]), (4000, 4, 2, 5))
    draws = Categorical(logits, jnp.asarray(VALUES)).sample(jax.random.key(0))
    p = table()[0]
    for level, value in enumerate(VALUES):
        share = np.mean(np.asarray(draws) == value, axis=0)
        np.testing.assert_array_less(np.abs(share - p[..., level]), 4 * np.sqrt(p[..., level] / 4000))


@pytest.mark.parametrize("schedule", [VP(), VE()], ids=["vp", "ve"])
@pytest.mark.parametrize("t", [0.001, 0.3, 1.0])
def test_the_networks_logits_are_a_prior_for_the_level_and_x_t_its_evidence(schedule, t):
    """Bayes' rule for one site: p(level | x_t) is proportional to exp(logit) N(x_t; alpha v, sigma^2)."""
    process = Gaussian(schedule, VALUES)
    x = jnp.asarray(VALUES[np.random.default_rng(2).integers(0, 5, (3, 4, 2))])
    x_t = process.corrupt(x, jax.random.normal(jax.random.key(3), x.shape), jnp.float32(t))
    raw = jnp.asarray(LOGITS).reshape(3, 4, 10)
    posterior = gaussian_denoiser(lambda *_: raw, process, "categorical", time="thousand")(x_t, jnp.float32(t), None)
    alpha, sigma = (float(level) for level in schedule(jnp.float32(t)))
    evidence = -((np.asarray(x_t, np.float64)[..., None] - alpha * VALUES) ** 2) / (2 * sigma**2)
    np.testing.assert_allclose(jax.nn.softmax(posterior.logits), table(LOGITS + evidence), atol=1e-4)


def test_guidance_is_a_product_of_powers():
    """p_u^(1 - w) p_c^w at each site, from one call on both; the levels' values are not split with the batch."""
    other = np.random.default_rng(4).normal(size=LOGITS.shape).astype(np.float32)

    def denoise(x_t, t, condition):
        return Categorical(jnp.where(condition[:, None, None, None] > 0, LOGITS[0], other[0]), jnp.asarray(VALUES))

    posterior = guide(denoise, 3.0, jnp.zeros(3))(jnp.zeros((3, 4, 2)), jnp.float32(0.5), jnp.ones(3))
    product = table(LOGITS[0]) ** 3 * table(other[0]) ** -2
    np.testing.assert_allclose(
        jax.nn.softmax(posterior.logits)[1], product / product.sum(axis=-1, keepdims=True), atol=1e-5
    )
