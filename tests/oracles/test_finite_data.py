"""The posterior over a finite set of images against Bayes' rule in NumPy, and the law of its draws."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ddpm_jax import keys as random
from ddpm_jax.oracles import FiniteData
from ddpm_jax.processes import Gaussian

VALUES = np.linspace(-1, 1, 4)
RNG = np.random.default_rng(0)
IMAGES = VALUES[RNG.integers(0, 4, (70, 2, 3, 1))]  # more than are taken at once
WEIGHTS = RNG.dirichlet(np.ones(70))
PROCESSES = {
    "cosine": Gaussian(lambda t: (jnp.cos(jnp.pi * t / 2), jnp.sin(jnp.pi * t / 2))),
    "exploding": Gaussian(lambda t: (jnp.ones_like(t), 0.02 * 2500**t)),
}
each_process = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)


def noisy(process, t, seed=1):
    """x_t of the first images, `[batch, 2, 3, 1]` in float64, for times that broadcast to it; and (alpha, sigma)."""
    alpha, sigma = (np.asarray(level, np.float64) for level in process.at(jnp.float32(t), jnp.zeros((len(t), 2, 3, 1))))
    x = IMAGES[: len(t)]
    return alpha * x + sigma * np.random.default_rng(seed).normal(size=x.shape), alpha, sigma


def by_bayes(x_t, alpha, sigma, weights):
    """log w_n q(x_t | x_n), `[batch, N]`, with the density written by scipy."""
    alpha, sigma = (np.broadcast_to(level, x_t.shape)[:, None] for level in (alpha, sigma))
    logs = stats.norm(alpha * IMAGES, sigma).logpdf(x_t[:, None])
    return logs.sum(axis=(2, 3, 4)) + np.log(weights)


@each_process
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "weighted"])
def test_posterior_by_bayes_rule(process, weights):
    """Probabilities, mean, error, marginals and the density of x_t, in float64 on both sides."""
    t = np.array([0.003, 0.1, 0.3, 0.5, 0.7, 1.0])
    with jax.enable_x64(True):
        x_t, alpha, sigma = noisy(process, t)
        logs = by_bayes(x_t, alpha, sigma, np.full(70, 1 / 70) if weights is None else weights)
        expected = np.exp(logs - logs.max(axis=1, keepdims=True))
        expected /= expected.sum(axis=1, keepdims=True)
        data = FiniteData(IMAGES, weights)
        times = jnp.float64(np.float32(t))
        posterior = jax.jit(data.denoiser(process))(jnp.asarray(x_t), times)
        np.testing.assert_allclose(posterior.probabilities, expected, rtol=1e-4, atol=1e-12)
        mean = np.tensordot(expected, IMAGES, 1)
        np.testing.assert_allclose(posterior.mean, mean, atol=1e-5)
        error = posterior.squared_error(jnp.asarray(IMAGES[:6]), jnp.zeros((6, 2, 3, 1)))
        np.testing.assert_allclose(error, (IMAGES[:6] - mean) ** 2, atol=1e-5)
        density = jax.jit(lambda x_t, t: data.log_density_at(process, x_t, t))(jnp.asarray(x_t), times)
        np.testing.assert_allclose(density, np.log(np.exp(logs).sum(axis=1)), rtol=1e-4)

        categorical = posterior.discretise(jnp.asarray(VALUES), jnp.ones(()))
        for level, value in enumerate(VALUES):
            chances = np.tensordot(expected, np.equal(IMAGES, value), 1)
            np.testing.assert_allclose(jax.nn.softmax(categorical.logits)[..., level], chances, atol=1e-5)


@each_process
def test_float32_is_enough(process):
    t = np.array([0.003, 0.1, 0.3, 0.5, 0.7, 1.0])
    x_t, alpha, sigma = noisy(process, t)
    logs = by_bayes(x_t, alpha, sigma, np.full(70, 1 / 70))
    expected = np.exp(logs - logs.max(axis=1, keepdims=True))
    posterior = jax.jit(FiniteData(IMAGES).denoiser(process))(jnp.float32(x_t), jnp.float32(t))
    np.testing.assert_allclose(posterior.probabilities, expected / expected.sum(axis=1, keepdims=True), atol=1e-4)


def test_a_time_for_each_site():
    """Half of each image with much noise, half with little."""
    process = PROCESSES["cosine"]
    t = np.broadcast_to(np.array([0.9, 0.3])[:, None, None], (4, 2, 1, 1))
    x_t, alpha, sigma = noisy(process, t)
    logs = by_bayes(x_t, alpha, sigma, np.full(70, 1 / 70))
    expected = np.exp(logs - logs.max(axis=1, keepdims=True))
    posterior = jax.jit(FiniteData(IMAGES).denoiser(process))(jnp.float32(x_t), jnp.float32(t))
    np.testing.assert_allclose(posterior.probabilities, expected / expected.sum(axis=1, keepdims=True), atol=1e-4)


def test_draws_are_images_as_often_as_they_should_be():
    data, rows = FiniteData(IMAGES[:5], np.array([0.1, 0.3, 0.2, 0.25, 0.15])), 4000
    x_t = jnp.tile(jnp.full((1, 2, 3, 1), 0.1), (rows, 1, 1, 1))
    posterior = jax.jit(data.denoiser(PROCESSES["cosine"]))(x_t, jnp.float32(0.85))
    for draw, seed in ((posterior.sample, 2), (posterior.final, 3)):
        drawn = np.asarray(draw(random.per_example(jax.random.key(seed), jnp.arange(rows))))
        same = np.all(np.isclose(drawn[:, None], IMAGES[:5]), axis=(2, 3, 4))
        assert np.all(same.sum(axis=1) == 1)
        expected = rows * np.asarray(posterior.probabilities[0], np.float64)
        assert expected.min() > 50
        assert stats.chisquare(same.sum(axis=0), expected / expected.sum() * rows).pvalue > 1e-3


def test_entropy_in_bits_per_dimension():
    assert FiniteData(IMAGES[:8]).bits_per_dimension == pytest.approx(3 / 6)
    twice = np.concatenate([IMAGES[:8], IMAGES[:8]])  # no more to know than of the eight
    assert FiniteData(twice).bits_per_dimension == pytest.approx(3 / 6)
    weighted = FiniteData(IMAGES[:3], np.array([0.5, 0.25, 0.25]))
    assert weighted.bits_per_dimension == pytest.approx(1.5 / 6)
    assert FiniteData(IMAGES[:1]).bits_per_dimension == 0
    assert math.log2(70) / 6 == pytest.approx(FiniteData(IMAGES).bits_per_dimension)
