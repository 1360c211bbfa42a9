"""Linear measurements: on one Gaussian what is sampled is the posterior, whose mean and covariance are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.denoisers import Normal
from ddpm_jax.editing import Averages, Blur, Grey, Identity, Measured, Pixels, Projections
from ddpm_jax.editing.operators import adjoint
from ddpm_jax.processes import Gaussian
from ddpm_jax.samplers import DPM2M, Problem
from ddpm_jax.schedules import VE, VP

SHAPE = (4, 2, 2)
SIZE = 16
MASK = np.arange(SIZE).reshape(SHAPE) % 3 == 0
OPERATORS = {
    "pixels": Pixels(MASK),
    "averages": Averages(2),
    "grey": Grey((0.3, 0.7)),
    "blur": Blur(0.7),
    "projections": Projections(5),
    "noise": Identity(),
}


def correlated(seed=0):
    """A mean, and a covariance with eigenvalues from 0.05 to 1."""
    rng = np.random.default_rng(seed)
    vectors = np.linalg.qr(rng.normal(size=(SIZE, SIZE)))[0]
    return 0.3 * rng.normal(size=SIZE), (vectors * np.geomspace(0.05, 1, SIZE)) @ vectors.T


def exact(process, mean, covariance):
    """E[x | x_t] = m + alpha C (alpha^2 C + sigma^2 I)^-1 (x_t - alpha m)."""

    def denoise(x_t, t, condition=None):
        alpha, sigma = (level.ravel()[0] for level in process.at(t, x_t))
        gain = alpha * covariance @ jnp.linalg.inv(alpha**2 * covariance + sigma**2 * np.eye(SIZE))
        return Normal((mean + (x_t.reshape(-1, SIZE) - alpha * mean) @ gain.T).reshape(x_t.shape))

    return denoise


def matrix(operator):
    columns = jax.vmap(lambda column: operator(column.reshape(1, *SHAPE)).ravel())(jnp.eye(SIZE))
    return np.asarray(columns).T


def moments(process, denoise, operator, y, noise, covariance, steps=400):
    """Of what a deterministic sampler makes of the prior: an affine map of noise, read off its derivative."""
    grid = process.grid(steps, "log_snr", 1e-4)

    def end(z):
        start = process.at(1.0, z)[1] * z
        given = Measured(denoise, process, operator, y, noise, covariance, iterations=SIZE)
        solved = DPM2M().solve(Problem(process, given, grid=grid), jax.random.key(0), start)
        return solved[0].ravel()

    zero = jnp.zeros((1, *SHAPE))
    slope = np.asarray(jax.jit(jax.jacfwd(end))(zero)).reshape(SIZE, SIZE)
    return np.asarray(jax.jit(end)(zero)), slope @ slope.T


@pytest.mark.parametrize("name", OPERATORS)
def test_adjoints(name):
    operator = OPERATORS[name]
    x = jax.random.normal(jax.random.key(0), (3, *SHAPE))
    y = jax.random.normal(jax.random.key(1), operator(x).shape)
    pulled = adjoint(operator, y, x)
    np.testing.assert_allclose((operator(x) * y).sum(), (x * pulled).sum(), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("schedule", [VP(), VE(sigma_max=500.0)], ids=["vp", "ve"])
@pytest.mark.parametrize("name", OPERATORS)
def test_moment_matching_samples_the_posterior_of_one_gaussian(name, schedule):
    mean, covariance = correlated()
    operator, noise, process = OPERATORS[name], 0.1, Gaussian(schedule)
    a = matrix(operator)
    y = operator(jnp.asarray(np.random.default_rng(1).normal(size=(1, *SHAPE)), jnp.float32))
    gain = covariance @ a.T @ np.linalg.inv(a @ covariance @ a.T + noise**2 * np.eye(len(a)))
    got = moments(process, exact(process, mean, covariance), operator, y, noise, "tmpd")
    np.testing.assert_allclose(got[0], mean + gain @ (np.asarray(y).ravel() - a @ mean), atol=0.02)
    np.testing.assert_allclose(got[1], covariance - gain @ a @ covariance, atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pixels", "averages", "projections"])
def test_the_pseudo_inverse_is_exact_for_white_data_and_not_for_others(name):
    operator, noise, process = OPERATORS[name], 0.2, Gaussian(VP())
    a = matrix(operator)
    y = operator(jax.random.normal(jax.random.key(3), (1, *SHAPE)))
    errors = []
    for mean, covariance in ((np.zeros(SIZE), np.eye(SIZE)), correlated()):
        gain = covariance @ a.T @ np.linalg.inv(a @ covariance @ a.T + noise**2 * np.eye(len(a)))
        got = moments(process, exact(process, mean, covariance), operator, y, noise, "pigdm")
        errors.append(np.abs(got[1] - (covariance - gain @ a @ covariance)).max())
    assert errors[0] < 0.01 < errors[1]


def test_the_step_of_dps_does_not_grow_where_fewer_pixels_are_known():
    """Of a known pixel that is off by as much, whatever the number of known ones."""
    process, x = Gaussian(VP()), jnp.zeros((1, *SHAPE))
    moved = []
    for known in (SIZE, 4):
        mask = (np.arange(SIZE) < known).reshape(SHAPE)
        y = jnp.where(mask, 1.0, 0.0)[None]
        given = Measured(exact(process, np.zeros(SIZE), np.eye(SIZE)), process, Pixels(mask), y, 0.1, "dps")
        moved.append(float(given(x, 0.5).mean[0, 0, 0, 0]))
    assert moved[0] == pytest.approx(moved[1], rel=1e-5) and moved[0] > 0.1


def test_what_was_measured_without_noise_is_in_the_estimate_at_small_times():
    process, operator = Gaussian(VP()), Averages(2)
    mean, covariance = correlated()
    x = jax.random.normal(jax.random.key(0), (2, *SHAPE))
    for name in ("tmpd", "pigdm"):
        given = Measured(exact(process, mean, covariance), process, operator, operator(x), 1e-3, name, iterations=SIZE)
        error = np.abs(operator(given(jnp.zeros_like(x), 0.5).mean) - operator(x)).max()
        assert error < (0.01 if name == "tmpd" else 1.0)
    plain = exact(process, mean, covariance)(jnp.zeros_like(x), 0.5).mean
    assert np.abs(operator(plain) - operator(x)).max() > 0.3


def test_a_first_time_at_which_nothing_is_left_is_finite():
    from ddpm_jax.schedules import Flow

    process, mean = Gaussian(Flow()), np.zeros(SIZE)
    given = Measured(exact(process, mean, np.eye(SIZE)), process, Identity(), jnp.ones((1, *SHAPE)), 0.1)
    np.testing.assert_allclose(given(jnp.ones((1, *SHAPE)), 1.0).mean, 0.0, atol=1e-6)
