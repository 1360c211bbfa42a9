"""Time grids: counts, ends and spacing for every small case, and the published examples."""

import jax
import numpy as np
import pytest
from scipy import stats

from ddpm_jax.schedules import (
    EDM,
    VE,
    VP,
    Cosine,
    Flow,
    Table,
    ddpm_cosine,
    ddpm_linear,
    ddpm_scaled_linear,
    interpolated,
)
from ddpm_jax.schedules.grids import OF_TABLES, SPACINGS, grid_of_levels, grid_of_times, make_grid, table_grid


def test_published_examples():
    np.testing.assert_allclose(table_grid(1000, 10, "trailing") * 1000, [*range(1000, 0, -100), 0], atol=1e-9)
    np.testing.assert_allclose(table_grid(1000, 10, "leading") * 1000, [*range(901, 0, -100), 0], atol=1e-9)
    assert table_grid(1000, 10).tolist() == table_grid(1000, 10, "trailing").tolist()


@pytest.mark.parametrize("spacing", OF_TABLES)
def test_every_small_grid(spacing):
    for total in range(1, 31):
        for steps in range(1, total + 1):
            grid = table_grid(total, steps, spacing)
            indices = np.round(grid * total)
            np.testing.assert_allclose(grid * total, indices, atol=1e-12)  # times of the table, no others
            gaps = -np.diff(indices)
            assert len(grid) == steps + 1
            assert grid[-1] == 0
            assert np.all(gaps >= 1)
            if spacing == "trailing":
                assert grid[0] == 1
                assert np.all(np.abs(gaps - total / steps) <= 1)
            else:
                assert indices[-2] == 1
                assert np.all(gaps[:-1] == total // steps)
                assert indices[0] <= total
        np.testing.assert_allclose(table_grid(total, total, spacing) * total, np.arange(total, -1, -1), atol=1e-12)


@pytest.mark.parametrize("steps", [0, 11])
def test_more_steps_than_the_table_has_are_refused(steps):
    with pytest.raises(ValueError, match="does not fit"):
        table_grid(10, steps)


def test_an_unknown_spacing_is_refused():
    with pytest.raises(ValueError, match="trailing"):
        table_grid(10, 5, "even")


@pytest.mark.parametrize("spacing", SPACINGS)
def test_every_grid_falls_from_one_to_t_min_and_then_zero(each, spacing):
    _, schedule = each
    table = not schedule.continuous
    for steps in (1, 2, 20):
        if spacing in OF_TABLES and not table:
            with pytest.raises(ValueError, match="for tables"):
                make_grid(schedule, steps, spacing, schedule.t_min)
            continue
        grid = make_grid(schedule, steps, spacing, schedule.t_min)
        assert grid.shape == (steps + 1,)
        assert grid.dtype == np.float64
        assert np.all(np.diff(grid) < 0)
        assert grid[-1] == 0
        if spacing != "leading":
            assert grid[0] == 1
        if spacing != "trailing" and steps > 1:
            assert grid[-2] == pytest.approx(schedule.t_min, rel=1e-12)
        if table:
            np.testing.assert_allclose(grid * 200, np.round(grid * 200), atol=1e-9)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_table_can_be_used_up_and_no_entry_comes_twice(spacing):
    table = ddpm_cosine(40)
    np.testing.assert_allclose(make_grid(table, 40, spacing, 1 / 40) * 40, np.arange(40, -1, -1), atol=1e-9)
    for steps in (30, 37):
        assert len(np.unique(np.round(make_grid(table, steps, spacing, 1 / 40) * 40))) == steps + 1


def test_edm_levels_are_the_published_ones_by_two_ways():
    """Karras et al. 2022, eq. 5, N = 18: uniform in t on their schedule, and karras spacing on another."""
    i = np.arange(18)
    root_max, root_min = 80 ** (1 / 7), 0.002 ** (1 / 7)
    levels = (root_max + i / 17 * (root_min - root_max)) ** 7
    for spacing in ("uniform", "karras"):
        grid = make_grid(EDM(), 18, spacing, 1e-12)
        with jax.enable_x64(True):
            np.testing.assert_allclose(jax.jit(EDM())(grid[:-1])[1], levels, rtol=1e-9)
    other = VE(0.002, 80.0)
    grid = make_grid(other, 18, "karras", 1e-12, rho=7.0)
    with jax.enable_x64(True):
        np.testing.assert_allclose(jax.jit(other)(grid[:-1])[1], levels, rtol=1e-9)


@pytest.mark.parametrize("schedule", [VP(), Flow(), Cosine(0.5)], ids=repr)
def test_spacings_are_even_in_what_they_are_named_after(schedule):
    inner = slice(0 if schedule == VP() else 1, 20)  # where alpha(1) = 0 the first point was moved to 1
    even = {
        "uniform": lambda t, value: t,
        "quadratic": lambda t, value: np.sqrt(t),
        "karras": lambda t, value: np.exp(-value / 2) ** (1 / 5),
        "log_snr": lambda t, value: value,
    }
    for spacing, measure in even.items():
        t = make_grid(schedule, 20, spacing, 0.01, rho=5.0)[:-1]
        with jax.enable_x64(True):
            alpha, sigma = (np.asarray(part) for part in jax.jit(schedule)(t))
        gaps = np.diff(measure(t[inner], 2 * np.log(alpha[inner] / sigma[inner])))
        np.testing.assert_allclose(gaps, gaps[0], rtol=1e-7)


@pytest.mark.parametrize("schedule", [Flow(), Cosine()], ids=repr)
def test_with_a_pure_noise_end_log_snr_starts_a_thousandth_before_it(schedule):
    t = make_grid(schedule, 11, "log_snr", 0.01)
    with jax.enable_x64(True):
        alpha, sigma = (np.asarray(part) for part in jax.jit(schedule)(np.array([0.999, *t[1:-1]])))
    np.testing.assert_allclose(np.diff(np.log(alpha / sigma), 2), 0, atol=1e-9)


def test_a_table_that_ends_in_pure_noise_has_all_grids_too():
    table = Table(np.cos(np.arange(51) / 50 * np.pi / 2), np.sin(np.arange(51) / 50 * np.pi / 2))
    table.alphas[-1] = 0
    for spacing in SPACINGS:
        grid = make_grid(table, 10, spacing, 1 / 50)
        assert len(grid) == 11
        assert np.all(np.diff(grid) < 0)


def test_a_grid_is_numbers_even_in_a_traced_function():
    kept = []
    for schedule in (VP(), ddpm_linear(100)):
        jax.jit(lambda x, schedule=schedule: kept.append(make_grid(schedule, 5, "log_snr", 0.01)) or x)(1.0)
        np.testing.assert_array_equal(kept[-1], make_grid(schedule, 5, "log_snr", 0.01))


def test_impossible_grids_are_refused_in_one_line():
    table = ddpm_linear(100)
    cases = (
        ((table, 101, "uniform", 0.01), "does not fit a table"),
        ((table, 100, "karras", 0.05), "does not fit a table"),
        ((table, 101, "trailing", 0.01), "does not fit a table"),
        ((VP(), 0, "uniform", 0.01), "at least 1 step"),
        ((VP(), 5, "even", 0.01), "unknown spacing"),
        ((VP(), 5, "uniform", 0.0), "t_min"),
        ((VP(), 5, "uniform", 1.0), "t_min"),
        ((VP(), 5, "uniform", 0.01, 7.0, 0.1, 1.0), "no noise levels"),
        ((VP(), 5, "karras", 0.01, 7.0, 0.0, 1e4), "not within"),
        ((VP(), 5, "karras", 0.01, 7.0, 1e-4, 1.0), "not within"),
        ((VP(), 5, "karras", 0.01, 7.0, 2.0, 1.0), "not below"),
        ((VP(), 5, "beta", 0.01, 7.0, 0.0, 0.0, (0.0, 1.0)), "must be above 0"),
        ((table, 50, "karras", 0.01, 7.0, 0.1, 0.5), "does not fit a table"),
    )
    for arguments, words in cases:
        with pytest.raises(ValueError, match=words) as caught:
            make_grid(*arguments)
        assert "\n" not in str(caught.value)


def levels_of(schedule, grid):
    """sigma/alpha at the times of a grid but the last."""
    with jax.enable_x64(True):
        alpha, sigma = (np.asarray(part) for part in jax.jit(schedule)(grid[:-1]))
    return sigma / alpha


KARRAS = np.linspace(14.6 ** (1 / 5), 0.03 ** (1 / 5), 10) ** 5
GEOMETRIC = 14.6 * (0.03 / 14.6) ** (np.arange(10) / 9)


@pytest.mark.parametrize(
    "schedule",
    [VP(), Flow(), Flow(3.0), Cosine(), interpolated(ddpm_scaled_linear(1000))],
    ids=lambda one: type(one).__name__,
)
def test_levels_go_from_any_to_any_other_and_then_to_0(schedule):
    for spacing, expected in (("karras", KARRAS), ("log_snr", GEOMETRIC)):
        grid = make_grid(schedule, 10, spacing, 1e-3, 5.0, 0.03, 14.6)
        np.testing.assert_allclose(levels_of(schedule, grid), expected, rtol=1e-8)
        assert (grid[-1], len(grid)) == (0, 11)
    np.testing.assert_allclose(levels_of(schedule, make_grid(schedule, 1, "karras", 1e-3, 7.0, 0.0, 5.0)), 5, rtol=1e-8)


def test_a_largest_level_that_is_the_schedules_own_but_for_rounding_is_at_1():
    for schedule in (ddpm_scaled_linear(1000), interpolated(ddpm_scaled_linear(1000))):
        for level in (14.61, 14.6146, 14.62):
            assert make_grid(schedule, 5, "karras", 1e-3, 7.0, 0.0, level)[0] == 1
            assert grid_of_levels(schedule, (level, 1.0, 0.0), 1e-3)[0] == 1
        assert make_grid(schedule, 5, "karras", 1e-3, 7.0, 0.0, 10.0)[0] < 1


def test_levels_on_a_table_are_moved_to_entries_that_are_nearest():
    table = ddpm_scaled_linear(1000)
    grid = make_grid(table, 10, "karras", 1e-3, 5.0, 0.03, 14.6)
    np.testing.assert_allclose(grid * 1000, np.round(grid * 1000), atol=1e-9)
    exact = make_grid(interpolated(table), 10, "karras", 1e-3, 5.0, 0.03, 14.6)
    assert np.abs(grid - exact).max() <= 0.51e-3


def test_beta_is_the_arcsine_law_of_one_half_and_uniform_for_one():
    """The quantiles of Beta(1/2, 1/2) are sin^2(pi u/2); those of Beta(1, 2) are 1 - sqrt(1 - u)."""
    u = np.linspace(1, 0, 11)
    for beta, quantiles in (
        ((0.5, 0.5), np.sin(np.pi * u / 2) ** 2),
        ((1.0, 1.0), u),
        ((1.0, 2.0), 1 - np.sqrt(1 - u)),
    ):
        grid = make_grid(VP(), 11, "beta", 0.01, beta=beta)
        np.testing.assert_allclose(grid[:-1], 0.01 + 0.99 * quantiles, rtol=1e-9)


def test_beta_is_by_default_that_of_the_paper():
    u = np.linspace(1, 0, 20)
    expected = 1e-3 + (1 - 1e-3) * stats.beta.ppf(u, 0.6, 0.6)
    np.testing.assert_allclose(make_grid(Flow(), 20, "beta", 1e-3)[:-1], expected, rtol=1e-9)


def test_times_by_hand_are_themselves_and_at_entries_where_there_are_some():
    times = (1.0, 0.7004, 0.2, 0.0)
    np.testing.assert_array_equal(grid_of_times(VP(), times, 1e-5), times)
    np.testing.assert_array_equal(grid_of_times(interpolated(ddpm_linear(1000)), times, 1e-3), times)
    for schedule, steps in ((ddpm_linear(1000), 0), (VP(), 1000)):
        np.testing.assert_allclose(grid_of_times(schedule, times, 1e-3, steps), [1, 0.7, 0.2, 0], atol=1e-12)
    np.testing.assert_array_equal(grid_of_times(VP(), (1.0, 0.0), 0.5), [1, 0])


def test_levels_by_hand_are_those_of_the_times():
    published = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.0)  # any that fall
    schedule = interpolated(ddpm_scaled_linear(1000))
    grid = grid_of_levels(schedule, published, 1e-3)
    assert grid[0] == 1
    np.testing.assert_allclose(levels_of(schedule, grid)[1:], published[1:-1], rtol=1e-8)
    low = grid_of_levels(Flow(), (3.0, 1.0, 0.25, 0.0), 1e-3)  # sigma/alpha = t/(1 - t)
    np.testing.assert_allclose(low, [0.75, 0.5, 0.2, 0], rtol=1e-9)


def test_times_and_levels_that_cannot_be_are_refused_in_one_line():
    cases = (
        (lambda: grid_of_times(VP(), (0.9, 0.0), 0.01), "from 1 to 0"),
        (lambda: grid_of_times(VP(), (1.0, 0.5, 0.5, 0.0), 0.01), "from 1 to 0"),
        (lambda: grid_of_times(VP(), (1.0, 0.5), 0.01), "from 1 to 0"),
        (lambda: grid_of_times(VP(), (1.0, 0.001, 0.0), 0.01), "below 0.01"),
        (lambda: grid_of_times(ddpm_linear(100), (1.0, 0.501, 0.5, 0.0), 0.01), "the same"),
        (lambda: grid_of_levels(VP(), (3.0, 1.0), 0.01), "fall to 0"),
        (lambda: grid_of_levels(VP(), (1.0, 3.0, 0.0), 0.01), "fall to 0"),
        (lambda: grid_of_levels(VP(), (1e3, 3.0, 0.0), 0.01), "1000 is not within"),
        (lambda: grid_of_levels(VP(), (3.0, 1e-4, 0.0), 0.01), "0.0001 is not within"),
        (lambda: grid_of_levels(ddpm_linear(100), (3.0, 2.99, 0.0), 0.01), "the same"),
        (lambda: grid_of_levels(ddpm_linear(100, zero_terminal=True), (1e9, 3.0, 0.0), 0.01), "within"),
    )
    for request, words in cases:
        with pytest.raises(ValueError, match=words) as caught:
            request()
        assert "\n" not in str(caught.value)
