"""The exact mixture against brute-force integration, Tweedie's identity and the law of its draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ddpm_jax import keys as random
from ddpm_jax.oracles import GaussianMixture
from ddpm_jax.processes import Gaussian
from ddpm_jax.schedules import Table

PROCESSES = {
    "cosine": Gaussian(lambda t: (jnp.cos(jnp.pi * t / 2), jnp.sin(jnp.pi * t / 2))),
    "exploding": Gaussian(lambda t: (jnp.ones_like(t), 0.02 + 50 * t**2)),
}
LINE = GaussianMixture(jnp.array([0.3, 0.7]), jnp.array([[-1.0], [0.8]]), jnp.array([[[0.04]], [[0.25]]]))
PLANE = GaussianMixture(
    jnp.array([0.2, 0.5, 0.3]),
    jnp.array([[-1.0, 0.2], [0.8, -0.5], [0.1, 1.0]]),
    jnp.array([[[0.1, 0.05], [0.05, 0.2]], [[0.3, -0.1], [-0.1, 0.1]], [[0.05, 0.0], [0.0, 0.4]]]),
)


def prior_density(mixture, points):
    """p(x) at `points [..., D]`, by scipy."""
    parts = zip(np.asarray(mixture.weights), np.asarray(mixture.means), np.asarray(mixture.covariances), strict=True)
    return sum(weight * stats.multivariate_normal(mean, covariance).pdf(points) for weight, mean, covariance in parts)


def lattice(mixture):
    """Points that cover the mixture, `[points, D]`, and the area of one."""
    line = np.linspace(-5, 5, 20_001 if mixture is LINE else 501)
    axes = [line] * mixture.means.shape[1]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes)), (line[1] - line[0]) ** len(axes)


@pytest.mark.parametrize(
    ("process", "mixture"),
    [(PROCESSES["cosine"], LINE), (PROCESSES["cosine"], PLANE), (PROCESSES["exploding"], PLANE)],
    ids=["cosine-line", "cosine-plane", "exploding-plane"],
)
def test_posterior_by_brute_force(mixture, process):
    """Mean and covariance of p(x | x_t), proportional to p(x) N(x_t; alpha x, sigma^2), by summing over a lattice."""
    points, _ = lattice(mixture)
    prior = prior_density(mixture, points)
    dimensions = mixture.means.shape[1]
    times, x_t = [0.15, 0.5, 0.9], np.array([[0.3, -0.4], [-0.8, 0.6], [0.2, 0.1]])[:, :dimensions]
    posterior = jax.jit(mixture.denoiser(process))(jnp.asarray(x_t, jnp.float32), jnp.array(times))
    weights = jax.nn.softmax(posterior.logits)
    second = jnp.einsum("bkij,bklj->bkil", posterior.factors, posterior.factors)
    second += jnp.einsum("bki,bkj->bkij", posterior.means, posterior.means)
    second = jnp.einsum("bk,bkij->bij", weights, second)
    for i, time in enumerate(times):
        alpha, sigma = (float(level) for level in process.schedule(jnp.float32(time)))
        mass = prior * np.exp(-0.5 * np.sum((x_t[i] - alpha * points) ** 2, axis=1) / sigma**2)
        mass /= mass.sum()
        np.testing.assert_allclose(posterior.mean[i], mass @ points, atol=2e-4)
        np.testing.assert_allclose(second[i], (points * mass[:, None]).T @ points, atol=5e-4)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_tweedie(process):
    """(alpha E[x | x_t] - x_t)/sigma^2 is the gradient of log p_t, the noisy density written out by determinants."""

    def log_marginal(x_t, alpha, sigma):
        total = 0.0
        for weight, mean, covariance in zip(plane.weights, plane.means, plane.covariances, strict=True):
            (a, b), (_, c) = alpha**2 * covariance + sigma**2 * jnp.eye(2)
            u, v = x_t - alpha * mean
            determinant = a * c - b * b
            total += (
                weight * jnp.exp(-(c * u * u - 2 * b * u * v + a * v * v) / (2 * determinant)) / jnp.sqrt(determinant)
            )
        return jnp.log(total)

    with jax.enable_x64(True):
        times = jnp.array([0.05, 0.3, 0.6, 1.0])
        x_t = jnp.array([[0.3, -0.4], [-0.8, 0.6], [0.2, 0.1], [1.5, -2.0]])
        alpha, sigma = process.schedule(times)
        plane = GaussianMixture(*(jnp.float64(field) for field in (PLANE.weights, PLANE.means, PLANE.covariances)))
        mean = jax.jit(plane.denoiser(process))(x_t, times).mean
        density, score = jax.jit(jax.vmap(jax.value_and_grad(log_marginal)))(x_t, alpha, sigma)
        np.testing.assert_allclose((alpha[:, None] * mean - x_t) / sigma[:, None] ** 2, score, rtol=1e-7, atol=1e-9)
        by_mixture = jax.jit(lambda x_t, t: (plane.log_density_at(process, x_t, t), plane.score(process, x_t, t)))
        at, slope = by_mixture(x_t, times)
        np.testing.assert_allclose(at, density - np.log(2 * np.pi), rtol=1e-9)
        np.testing.assert_allclose(slope, score, rtol=1e-9)


def test_draws_have_the_posteriors_law():
    process, time = PROCESSES["cosine"], 0.6
    keys = random.per_example(jax.random.key(0), jnp.arange(5000))
    x_t = jnp.full((5000, 1), -0.1)
    draws = np.ravel(jax.jit(LINE.denoiser(process))(x_t, jnp.float32(time)).sample(keys))
    points, _ = lattice(LINE)
    alpha, sigma = np.cos(np.pi * time / 2), np.sin(np.pi * time / 2)
    mass = prior_density(LINE, points) * np.exp(-0.5 * (-0.1 - alpha * points[:, 0]) ** 2 / sigma**2)
    cumulated = np.cumsum(mass) / mass.sum()
    assert stats.kstest(draws, lambda u: np.interp(u, points[:, 0], cumulated)).pvalue > 1e-3


def test_its_own_draws_and_density():
    draws = np.asarray(PLANE.sample(jax.random.key(1), 5000), np.float64)
    mean = np.asarray(PLANE.weights) @ np.asarray(PLANE.means)
    points, area = lattice(PLANE)
    density = np.exp(np.asarray(jax.jit(PLANE.log_density)(jnp.asarray(points, jnp.float32)), np.float64))
    assert density.sum() * area == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(density, prior_density(PLANE, points), rtol=1e-3, atol=1e-6)
    second = (points * (density * area)[:, None]).T @ points
    error = 4 * np.sqrt(np.var(draws[:, :, None] * draws[:, None], axis=0) / len(draws))
    np.testing.assert_array_less(np.abs(np.mean(draws[:, :, None] * draws[:, None], axis=0) - second), error)
    np.testing.assert_array_less(np.abs(draws.mean(axis=0) - mean), 4 * draws.std(axis=0) / np.sqrt(len(draws)))
    line = np.ravel(LINE.sample(jax.random.key(2), 5000))
    law = lambda u: 0.3 * stats.norm(-1, 0.2).cdf(u) + 0.7 * stats.norm(0.8, 0.5).cdf(u)  # noqa: E731
    assert stats.kstest(line, law).pvalue > 1e-3


@pytest.mark.parametrize("sigma", [0.1, 1e-3, 1e-5])
def test_a_posterior_almost_without_noise_keeps_its_digits(sigma):
    """With little noise x | x_t is normal with the variance (1/C + alpha^2/sigma^2)^-1, about sigma^2/alpha^2."""
    process = Gaussian(Table.from_betas(np.array([sigma**2, 0.5])))
    posterior = jax.jit(PLANE.denoiser(process))(jnp.array([[0.8, -0.5]]), jnp.float32(0.5))
    alpha = np.sqrt(1 - sigma**2)
    for factor, covariance in zip(posterior.factors[0], np.asarray(PLANE.covariances, np.float64), strict=True):
        expected = np.linalg.inv(np.linalg.inv(covariance) + alpha**2 / sigma**2 * np.eye(2))
        np.testing.assert_allclose(factor @ factor.T, expected, rtol=1e-3, atol=1e-3 * sigma**2)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_score_is_the_gradient_of_the_density(process):
    """Of the code's own log-density, in float32, with a time an image or one for all; exact where sigma is small."""
    x_t = jnp.array([[0.8, -0.5], [-0.8, 0.6], [0.2, 0.1]])
    for t in (jnp.float32(1e-3), jnp.array([0.1, 0.5, 1.0])):
        found = jax.jit(lambda x_t, t: PLANE.score(process, x_t, t))(x_t, t)
        slope = jax.jit(jax.grad(lambda x_t, t: PLANE.log_density_at(process, x_t, t).sum()))(x_t, t)
        np.testing.assert_allclose(found, slope, rtol=1e-4, atol=1e-5)


def test_a_measured_mixture_is_bayes_rule():
    """log p(x | y) is log p(x) + log N(y; A x, s^2) but for one number, whatever x."""
    rng = np.random.default_rng(3)
    means, noise, matrix = rng.normal(size=(3, 4)), 0.3, rng.normal(size=(2, 4))
    factors = 0.5 * rng.normal(size=(3, 4, 4)) + np.eye(4)
    law = GaussianMixture(
        *map(jnp.asarray, (np.array([0.2, 0.5, 0.3]), means, factors @ factors.swapaxes(1, 2) + 0.1 * np.eye(4)))
    )
    y, x = np.array([0.4, -0.7]), rng.normal(size=(50, 4))
    after = law.measured(jnp.asarray(matrix), jnp.asarray(y), noise)
    said = stats.norm.logpdf(y, x @ matrix.T, noise).sum(1)
    evidence = np.asarray(law.log_density(jnp.asarray(x))) + said - np.asarray(after.log_density(jnp.asarray(x)))
    np.testing.assert_allclose(evidence, evidence[0], atol=1e-3)
    assert float(after.weights.sum()) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(law.shares(jnp.asarray(x)).sum(1), 1, atol=1e-6)
