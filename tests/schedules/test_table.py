"""Schedule tables against exact arithmetic and published numbers."""

import itertools
import math
from decimal import Decimal, localcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.schedules import VP, Table, ddpm_cosine, ddpm_linear, interpolated, rates


def exact_alpha_bars(betas):
    """prod (1 - beta), with 50 digits."""
    with localcontext() as context:
        context.prec = 50
        bars, product = [], Decimal(1)
        for beta in betas:
            product *= 1 - beta
            bars.append(product)
        return bars


def test_ddpm_linear_is_the_published_table():
    table = ddpm_linear(1000)
    with localcontext() as context:
        context.prec = 50
        slope = (Decimal("0.02") - Decimal("0.0001")) / 999
        bars = exact_alpha_bars([Decimal("0.0001") + i * slope for i in range(1000)])
    assert table.steps == 1000
    assert table.alphas[-1] ** 2 == pytest.approx(4.0358e-5, rel=1e-5)  # that of every published DDPM
    np.testing.assert_allclose(table.alphas[1:] ** 2, [float(bar) for bar in bars], rtol=1e-12)
    # 1 - alpha^2 keeps its digits even where it is 1e-4.
    np.testing.assert_allclose(table.sigmas[1:] ** 2, [float(1 - bar) for bar in bars], rtol=1e-12)


@pytest.mark.parametrize("table", [ddpm_linear(1000), ddpm_linear(50), ddpm_cosine(1000), ddpm_cosine(1)])
def test_tables_are_clean_at_zero_preserve_variance_and_lose_signal_steadily(table):
    assert (table.alphas[0], table.sigmas[0]) == (1, 0)
    assert len(table.alphas) == len(table.sigmas) == table.steps + 1
    np.testing.assert_allclose(table.alphas**2 + table.sigmas**2, 1, atol=1e-15)
    assert np.all(np.diff(table.alphas) < 0)


@pytest.mark.parametrize("steps", [25, 100, 250, 4000])
def test_ddpm_linear_keeps_the_total_noise_for_any_number_of_steps(steps):
    table = ddpm_linear(steps)
    betas = 1 - (table.alphas[1:] / table.alphas[:-1]) ** 2
    assert betas.sum() == pytest.approx(1000 * (1e-4 + 0.02) / 2)
    assert (betas[0], betas[-1]) == pytest.approx((0.1 / steps, 20 / steps), rel=1e-6)
    np.testing.assert_allclose(np.diff(betas, 2), 0, atol=1e-9)  # on a straight line


def test_betas_out_of_range_are_refused():
    with pytest.raises(ValueError, match="beta"):
        ddpm_linear(20)  # its last beta is 20/20
    with pytest.raises(ValueError, match="beta"):
        Table.from_betas(np.array([0.1, 0.0]))


def test_cosine_follows_its_definition_until_the_cap():
    table = ddpm_cosine(1000)

    def bar(i):
        angles = [(j / 1000 + 0.008) / 1.008 * math.pi / 2 for j in (i, 0)]
        return (math.cos(angles[0]) / math.cos(angles[1])) ** 2

    for i in (1, 2, 10, 500, 900, 990, 998, 999):
        assert table.alphas[i] ** 2 == pytest.approx(bar(i), rel=1e-9)
    assert table.sigmas[1] ** 2 == pytest.approx(4.1284e-5, rel=1e-4)  # the first beta of published cosine models
    assert bar(1000) < 1e-30  # the definition ends at nothing; the cap keeps a thousandth of the entry before
    assert table.alphas[1000] ** 2 == pytest.approx(1e-3 * bar(999), rel=1e-9)


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


@pytest.mark.parametrize("make", [ddpm_linear, ddpm_cosine])
def test_a_table_needs_a_step(make):
    with pytest.raises(ValueError, match="at least 1 step"):
        make(0)


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
    for alphas in ([1.0, 0.5], [1.0, 0.5, 0.0]):
        table = Table(np.array(alphas), 1 - np.array(alphas))
        with pytest.raises(ValueError, match="interpolated"):
            interpolated(table)
