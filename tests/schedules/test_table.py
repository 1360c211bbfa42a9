"""Tables: their entries, and the lines that join them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.schedules import (
    VP,
    Table,
    ddpm_cosine,
    ddpm_linear,
    interpolated,
    log_snr,
    rates,
    time_of_log_snr,
    with_pure_noise,
)


@pytest.mark.parametrize("steps", [1, 17, 1000, 4000])
def test_a_float32_time_finds_its_own_entry(steps):
    index = np.arange(steps + 1)
    table = Table(alphas=index.astype(float), sigmas=-index.astype(float))
    alpha, sigma = table(jnp.asarray(index / steps, jnp.float32))
    np.testing.assert_array_equal(alpha, index)
    np.testing.assert_array_equal(sigma, -index)
    near, _ = table(jnp.asarray((index + 0.4) / steps, jnp.float32))  # between two entries: the nearest
    np.testing.assert_array_equal(near, index)


def test_a_call_keeps_the_shape_and_gives_alpha_before_sigma():
    table = ddpm_linear(100)
    alpha, sigma = table(jnp.asarray([[0.3], [1.0]]))
    np.testing.assert_allclose(alpha, table.alphas[[30, 100]][:, None], rtol=1e-6)
    np.testing.assert_allclose(sigma, table.sigmas[[30, 100]][:, None], rtol=1e-6)


def test_ddpm_linear_tends_to_the_vp_sde_at_first_order_in_one_over_steps():
    beta_min, beta_max = 0.3, 12.0
    t = np.array([0.1, 0.5, 1.0])
    with jax.enable_x64(True):
        limit = np.array(VP(beta_min, beta_max)(t))
        errors = [np.array(ddpm_linear(steps, beta_min, beta_max)(t)) - limit for steps in (1000, 2000, 4000)]
    for coarse, fine in itertools.pairwise(errors):
        np.testing.assert_allclose(coarse / fine, 2, rtol=0.02)
    assert np.abs(errors[0]).max() < 0.01


@pytest.mark.parametrize(
    "table",
    [ddpm_linear(40), ddpm_cosine(50), Table(np.linspace(1, 0.5, 11), 3 * np.linspace(0, 1, 11))],
    ids=["linear", "cosine", "no preserved variance"],
)
def test_interpolated_tables_keep_their_entries_and_join_log_snr_by_straight_lines(table):
    schedule = interpolated(table)
    assert schedule.continuous
    assert not table.continuous
    assert schedule.t_min == table.t_min == 1 / table.steps
    index = np.arange(1, table.steps + 1)
    called = jax.jit(schedule)
    for dtype, tolerance in ((np.float32, 2e-5), (np.float64, 1e-12)):
        with jax.enable_x64(True):
            alpha, sigma = called((index / table.steps).astype(dtype))
        assert alpha.dtype == dtype
        np.testing.assert_allclose(alpha, table.alphas[1:], rtol=tolerance)
        np.testing.assert_allclose(sigma, table.sigmas[1:], rtol=tolerance)
    with jax.enable_x64(True):
        t = np.append(index[:-1] + 0.25, 0.3) / table.steps
        values = jax.jit(lambda t: (*schedule(t), *rates(schedule, t)))(t)
    alpha, sigma, alpha_rate, sigma_rate = (np.asarray(value) for value in values)
    entries = 2 * np.log(table.alphas[1:] / table.sigmas[1:])
    value, slope = 2 * np.log(alpha / sigma), 2 * (alpha_rate / alpha - sigma_rate / sigma)
    np.testing.assert_allclose(value[:-1], 0.75 * entries[:-1] + 0.25 * entries[1:], atol=1e-10)
    np.testing.assert_allclose(slope[:-1], np.diff(entries) * table.steps, rtol=1e-9)
    assert slope[-1] == pytest.approx(slope[0], rel=1e-9)  # the first line goes on below 1/T
    assert value[-1] == pytest.approx(value[0] - 0.95 / table.steps * slope[0], rel=1e-9)


def test_interpolation_is_refused_where_no_line_can_go_and_leaves_other_schedules_alone():
    assert interpolated(VP()) == VP()
    for alphas in ([1.0, 0.5], [1.0, 0.5, 0.0], [1.0, 0.5, 0.2, 0.0, 0.0]):
        table = Table(np.array(alphas), 1 - np.array(alphas))
        with pytest.raises(ValueError, match="interpolated"):
            interpolated(table)


def test_pure_noise_keeps_the_first_entry_the_proportions_of_alpha_and_the_digits_of_sigma():
    for before in (ddpm_linear(1000), ddpm_cosine(50)):
        table = with_pure_noise(before)
        assert (table.alphas[0], table.sigmas[0], table.alphas[-1], table.sigmas[-1]) == (1, 0, 0, 1)
        assert (table.alphas[1], table.sigmas[1]) == (before.alphas[1], before.sigmas[1])
        kept = np.diff(table.alphas[1:]) / np.diff(before.alphas[1:])
        np.testing.assert_allclose(kept, kept[0], rtol=1e-9)  # shifted and scaled: steps are all scaled alike
        high = np.sqrt(1 - np.longdouble(table.alphas[2:]) ** 2)
        np.testing.assert_allclose(table.sigmas[2:], np.asarray(high, np.float64), rtol=1e-12)
    with pytest.raises(ValueError, match="1 step"):
        with_pure_noise(ddpm_linear(1, beta_max=0.5))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_table_with_pure_noise_at_its_end_is_interpolated_down_to_it(dtype):
    table = with_pure_noise(ddpm_linear(40))
    schedule = interpolated(table)
    t = np.array([38.0, 38.5, 39, 39.25, 39.5, 39.75, 40], dtype) / dtype(40)
    with jax.enable_x64(dtype == np.float64):
        values = jax.jit(lambda t: (*schedule(t), *rates(schedule, t)))(t)
        alpha, sigma, alpha_rate, sigma_rate = (np.asarray(value) for value in values)
        back = np.asarray(time_of_log_snr(schedule, log_snr(schedule, jnp.asarray(t[:-1]))))
    tolerance = 1e-4 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose([alpha[0], alpha[2]], table.alphas[38:40], rtol=tolerance)
    assert (alpha[-1], sigma[-1]) == (0, 1)
    ratio = alpha[2:] / sigma[2:]
    np.testing.assert_allclose(ratio / ratio[0], [1, 0.75, 0.5, 0.25, 0], rtol=tolerance)
    np.testing.assert_allclose(alpha**2 + sigma**2, 1, rtol=1e-6)
    assert np.all(np.isfinite(alpha_rate) & np.isfinite(sigma_rate))
    np.testing.assert_allclose(alpha_rate[-1], -40 * ratio[0], rtol=tolerance)  # sigma is flat there
    np.testing.assert_allclose(back, t[:-1], rtol=1e-5)
