"""Parameterisations: each published identity, exact round trips, and float32 where the noise is nearly nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.denoisers import PREDICTIONS, gaussian_denoiser
from ddpm_jax.denoisers.parameterisation import table_index
from ddpm_jax.processes import Gaussian
from ddpm_jax.schedules import Table, ddpm_linear

DDPM = Gaussian(ddpm_linear(100))
FLOW = Gaussian(lambda t: (1 - t, t))  # alpha^2 + sigma^2 is not 1
SHAPE = (3, 4, 2)
T = jnp.array([0.03, 0.5, 0.97])


def arrays(count, shape=SHAPE):
    return [jax.random.normal(key, shape) for key in jax.random.split(jax.random.key(0), count)]


def denoiser(output, process, prediction, variance="fixed_small"):
    """A denoiser whose network says `output` whatever it is given."""
    return gaussian_denoiser(lambda x_t, time, condition: output, process, prediction, variance, lambda t: t)


def levels(process, t=T):
    """(alpha, sigma) in float64, with axes for the sites."""
    return (np.asarray(level, np.float64).reshape(-1, 1, 1) for level in process.schedule(t))


@pytest.mark.parametrize("process", [DDPM, FLOW], ids=["ddpm", "flow"])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_network_without_error_gives_back_x(prediction, process):
    x, z = arrays(2)
    alpha, sigma = levels(process)
    exact = {"x0": x, "epsilon": z, "v": alpha * z - sigma * x}[prediction]
    posterior = denoiser(jnp.asarray(exact, jnp.float32), process, prediction)(process.corrupt(x, z, T), T, None)
    np.testing.assert_allclose(posterior.mean, x, atol=2e-5 / float(alpha.min()))
    np.testing.assert_allclose(posterior.squared_error(x, z), 0, atol=1e-9 / float(alpha.min()) ** 2)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_published_identities_for_any_output(prediction):
    """x0: the output itself; epsilon: DDPM's eq. 15; v: alpha x_t - sigma v (Salimans and Ho 2022, appendix D)."""
    x_t, raw = arrays(2)
    alpha, sigma = levels(DDPM)
    expected = {"x0": raw, "epsilon": (x_t - sigma * raw) / alpha, "v": alpha * x_t - sigma * raw}[prediction]
    mean = denoiser(raw, DDPM, prediction)(x_t, T, None).mean
    np.testing.assert_allclose(mean, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("process", [DDPM, FLOW], ids=["ddpm", "flow"])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_errors_in_the_networks_space_are_errors_of_the_mean(prediction, process):
    x, z, raw = arrays(3)
    posterior = denoiser(raw, process, prediction)(process.corrupt(x, z, T), T, None)
    naive = np.square(np.asarray(x, np.float64) - np.asarray(posterior.mean, np.float64))
    np.testing.assert_allclose(posterior.squared_error(x, z), naive, rtol=2e-3, atol=1e-4)


def test_squared_error_keeps_its_digits_where_the_noise_is_nearly_nothing():
    """sigma = 1e-3, an output wrong by 0.01: the mean is wrong by 1e-5, of which float32 keeps two digits."""
    process = Gaussian(Table.from_betas(np.array([1e-6, 1e-6])))
    x, z = arrays(2, (1, 1000))
    t = jnp.array([0.5])
    error = 0.01 * jnp.sign(z)
    posterior = denoiser(z + error, process, "epsilon")(process.corrupt(x, z, t), t, None)
    true = 1e-6 / (1 - 1e-6) * 1e-4
    np.testing.assert_allclose(posterior.squared_error(x, z), true, rtol=1e-3)
    naive = np.square(x - posterior.mean)
    assert np.abs(naive / true - 1).max() > 0.01  # or this test would show nothing


def test_variances():
    x_t, raw = arrays(2)
    _, sigma = levels(DDPM)
    assert denoiser(raw, DDPM, "epsilon", "fixed_small")(x_t, T, None).variance is None
    large = denoiser(raw, DDPM, "epsilon", "fixed_large")(x_t, T, None).variance
    np.testing.assert_allclose(np.broadcast_to(large, SHAPE), np.broadcast_to(sigma**2, SHAPE), rtol=1e-5)


@pytest.mark.parametrize("t", [jnp.float32(0.5), jnp.full(3, 0.5)], ids=["one", "each"])
def test_the_network_hears_the_told_time_and_the_condition(t):
    heard = []

    def network(x_t, time, condition):
        heard.append((time, condition))
        return x_t

    x_t = arrays(1)[0]
    gaussian_denoiser(network, DDPM, "x0", "fixed_small", lambda t: 10 * t + 1)(x_t, t, "condition")
    [(time, condition)] = heard
    np.testing.assert_allclose(time, [6, 6, 6])
    assert condition == "condition"


@pytest.mark.parametrize("steps", [1, 50, 1000, 4000])
def test_published_networks_hear_zero_to_one_less_than_the_steps(steps):
    t = jnp.asarray(np.arange(1, steps + 1) / steps, jnp.float32)
    np.testing.assert_array_equal(table_index(steps)(t), np.arange(steps))
