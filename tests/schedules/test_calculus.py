"""Log-SNR and its inverse, for every schedule and both precisions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.schedules import VP, Cosine, Table, ddpm_linear, drift_diffusion, log_snr, rates, time_of_log_snr

inverse = jax.jit(time_of_log_snr, static_argnums=0)


def test_schedules_keep_shape_and_dtype_and_lose_signal_steadily(each):
    _, schedule = each
    for dtype in (np.float32, np.float64):
        with jax.enable_x64(dtype == np.float64):
            for shape in ((), (3,), (2, 1, 1)):
                alpha, sigma = jax.eval_shape(schedule, jax.ShapeDtypeStruct(shape, dtype))
                assert alpha.shape == sigma.shape == shape
                assert alpha.dtype == sigma.dtype == dtype
            t = np.linspace(schedule.t_min, 1, 200, dtype=dtype)
            values = jax.jit(lambda t: (*schedule(t), log_snr(schedule, t)))(t)
        alpha, sigma, value = (np.asarray(value) for value in values)
        assert np.all((alpha >= 0) & (sigma > 0))
        assert np.all(np.isfinite(value[:-1]))
        assert np.all(np.diff(value) < 0)
        assert np.all(np.diff(sigma) >= 0)
        assert np.all(np.diff(alpha) <= 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inverse_log_snr_goes_round(continuous, dtype):
    """t comes back to the accuracy that its log-SNR has: an error of a few roundings of log-SNR, or of t."""
    _, schedule = continuous
    least = 1e-5 if dtype == np.float32 else 1e-9
    t = np.concatenate([np.geomspace(least, 0.1, 40), np.linspace(0.1, 0.999, 40), [1.0]]).astype(dtype)
    with jax.enable_x64(dtype == np.float64):
        both = jax.jit(lambda t: jax.jvp(lambda time: log_snr(schedule, time), (t,), (jnp.ones_like(t),)))
        value, slope = (np.asarray(part) for part in both(t))
        back = np.asarray(inverse(schedule, value))
    eps = float(np.finfo(dtype).eps)
    assert back.dtype == dtype
    allowed = 30 * eps * ((1 + np.abs(value[:-1])) / np.abs(slope[:-1]) + t[:-1])
    np.testing.assert_array_less(np.abs(back - t)[:-1], allowed)
    assert back[-1] == pytest.approx(1, rel=100 * eps)


def test_values_beyond_the_ends_give_the_ends(continuous):
    _, schedule = continuous
    back = inverse(schedule, jnp.array([-jnp.inf, -1e3, 1e3, jnp.inf]))
    np.testing.assert_array_equal(back[:2], 1)
    assert np.all((np.asarray(back[2:]) > 0) & (np.asarray(back[2:]) < 1e-8))


def test_a_function_of_any_name_can_be_inverted():
    value = jnp.float32(-1.5)
    assert log_snr(lambda t: (1 - t, t), time_of_log_snr(lambda t: (1 - t, t), value)) == pytest.approx(-1.5, rel=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 200])
def test_a_table_gives_its_nearest_entry(steps):
    table = Table.from_betas(np.linspace(0.01, 0.1, steps))
    t = np.arange(1, steps + 1) / steps
    value = np.asarray(log_snr(table, t), np.float64)
    asked = np.random.default_rng(0).uniform(value[-1] - 1, value[0] + 1, 300)
    nearest = t[np.abs(value[None] - asked[:, None]).argmin(axis=1)]
    np.testing.assert_allclose(inverse(table, asked.astype(np.float32)), nearest, rtol=1e-6)
    np.testing.assert_allclose(inverse(table, value.astype(np.float32)), t, rtol=1e-6)


def test_a_table_that_ends_in_pure_noise_has_its_end_at_minus_infinity():
    table = Table(np.array([1, 0.9, 0.5, 0]), np.array([0, 0.2, 0.8, 1]))
    np.testing.assert_allclose(inverse(table, jnp.array([-jnp.inf, -50.0, 50.0])), [1, 2 / 3, 1 / 3], rtol=1e-6)


def test_tables_have_no_derivatives():
    for function in (rates, drift_diffusion):
        with pytest.raises(ValueError, match="no derivative"):
            function(ddpm_linear(100), jnp.array([0.5]))


@pytest.mark.parametrize("schedule", [VP(), Cosine(0.5)], ids=repr)
def test_drift_and_diffusion_carry_the_moments_along(schedule):
    """dm/dt = f m and dv/dt = 2 f v + g^2, from t = 0.2 to 0.9 by Heun's method, end at the schedule's alpha, sigma."""
    with jax.enable_x64(True):
        t = np.linspace(0.2, 0.9, 4001)
        values = jax.jit(lambda t: (*drift_diffusion(schedule, t), *schedule(t)))(t)
    f, g_squared, alpha, sigma = (np.asarray(value) for value in values)
    mean, variance, h = alpha[0], sigma[0] ** 2, t[1] - t[0]
    for k in range(4000):
        slope = f[k] * mean
        mean += h / 2 * (slope + f[k + 1] * (mean + h * slope))
        slope = 2 * f[k] * variance + g_squared[k]
        variance += h / 2 * (slope + 2 * f[k + 1] * (variance + h * slope) + g_squared[k + 1])
    assert mean == pytest.approx(alpha[-1], rel=1e-6)
    assert variance == pytest.approx(sigma[-1] ** 2, rel=1e-6)
