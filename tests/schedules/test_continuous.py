"""Formula schedules against their papers' equations, written out here from the papers, and float32 against float64."""

import math

import jax
import numpy as np
import pytest

from ddpm_jax.schedules import EDM, VE, VP, Cosine, Flow, SubVP, drift_diffusion, log_snr, rates, shift_of_size

# Times on which float32 and float64 agree exactly, close to both ends too.
TIMES = np.array([1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.3, 0.499, 0.5, 0.501, 0.7, 0.9, 0.99, 0.999, 1 - 1e-5], np.float32)
OPTIONS = [
    VP(),
    VP(0.3, 9.0),
    SubVP(),
    Cosine(),
    SubVP(0.3, 9.0),
    VE(0.01, 50.0),
    EDM(0.01, 20.0, 3.0),
    Cosine(0.25),
    Cosine(8.0),
    Flow(3.0),
    Flow(0.05),
    Flow(50.0),
]


def moments_by_the_sde(name, t, beta_min, beta_max):
    """(f, g^2) of Song et al. 2021b, eq. 11 (VP) and 12 (sub-VP), beta(t) being linear (their eq. 32)."""
    beta = beta_min + t * (beta_max - beta_min)
    total = beta_min * t + 0.5 * t**2 * (beta_max - beta_min)
    return -beta / 2, {"vp": beta, "subvp": beta * (1 - np.exp(-2 * total))}[name]


@pytest.mark.parametrize(("name", "schedule"), [("vp", VP), ("subvp", SubVP)])
@pytest.mark.parametrize("ends", [(0.1, 20.0), (0.5, 3.0)])
def test_drift_and_diffusion_are_those_of_the_sdes(name, schedule, ends):
    with jax.enable_x64(True):
        t = np.linspace(0.001, 1, 50)
        f, g_squared = jax.jit(lambda t: drift_diffusion(schedule(*ends), t))(t)
    expected_f, expected_g_squared = moments_by_the_sde(name, t, *ends)
    np.testing.assert_allclose(f, expected_f, rtol=1e-9)
    np.testing.assert_allclose(g_squared, expected_g_squared, rtol=1e-9)


def test_drift_and_diffusion_of_the_exploding_sde():
    """dx = sigma(t) sqrt(2 log(sigma_max/sigma_min)) dw (Song et al. 2021b, eq. 30)."""
    with jax.enable_x64(True):
        t = np.linspace(0, 1, 50)
        f, g_squared = drift_diffusion(VE(0.01, 50.0), t)
    np.testing.assert_array_equal(f, 0)
    np.testing.assert_allclose(g_squared, (0.01 * 5000**t) ** 2 * 2 * math.log(5000), rtol=1e-10)


def test_edm_noise_levels_are_the_published_ones():
    """The 18 levels of Karras et al. 2022, eq. 5, at even times."""
    i = np.arange(18)
    root_max, root_min = 80 ** (1 / 7), 0.002 ** (1 / 7)
    levels = (root_max + i / 17 * (root_min - root_max)) ** 7
    with jax.enable_x64(True):
        alpha, sigma = EDM()(1 - i / 17)
    np.testing.assert_array_equal(alpha, 1)
    np.testing.assert_allclose(sigma, levels, rtol=1e-11)


@pytest.mark.parametrize(
    ("schedule", "low", "high"), [(VE(), 0.02, 100), (EDM(), 0.002, 80), (EDM(0.1, 7.0, 2.0), 0.1, 7)]
)
def test_sigmas_are_exact_at_both_ends(schedule, low, high):
    _, sigma = schedule(np.array([0, 1], np.float32))
    np.testing.assert_array_equal(sigma, np.array([low, high], np.float32))


def test_flow_is_the_straight_line():
    alpha, sigma = Flow()(TIMES)
    np.testing.assert_array_equal(sigma, TIMES)
    np.testing.assert_array_equal(alpha, 1 - TIMES)


@pytest.mark.parametrize("shift", [0.05, 0.5, 3.0, 50.0])
def test_a_shift_of_flow_is_the_line_at_a_later_time(shift):
    """sigma/alpha is `shift` times what it was, and the path is as straight: alpha + sigma = 1."""
    t = np.linspace(0.01, 0.99, 99)
    with jax.enable_x64(True):
        alpha, sigma = (np.asarray(part) for part in jax.jit(Flow(shift))(t))
    np.testing.assert_allclose(sigma / alpha, shift * t / (1 - t), rtol=1e-12)
    np.testing.assert_allclose(alpha + sigma, 1, rtol=1e-15)


def test_flow_is_exact_at_both_ends_whatever_its_shift():
    for shift in (0.05, 1.0, 3.0, 50.0):
        for dtype in (np.float32, np.float16):
            np.testing.assert_array_equal(Flow(shift)(np.array([0, 1], dtype)), [[1, 0], [0, 1]])
        (alpha_rate, sigma_rate) = rates(Flow(shift), np.array([0, 1], np.float32))
        np.testing.assert_allclose(sigma_rate, [shift, 1 / shift], rtol=1e-6)  # s/(1 + (s - 1) t)^2
        np.testing.assert_allclose(alpha_rate, [-shift, -1 / shift], rtol=1e-6)


def test_the_shift_of_a_size_is_the_ratio_of_the_sides_of_squares():
    assert shift_of_size(1024 * 1024, 256 * 256) == 4
    assert shift_of_size(32 * 32, 64 * 64) == 0.5


def test_cosine_is_the_quarter_circle_and_a_shift_moves_log_snr_by_twice_its_logarithm():
    with jax.enable_x64(True):
        t = np.linspace(1e-4, 1 - 1e-4, 99)
        alpha, sigma = jax.jit(Cosine())(t)
        np.testing.assert_allclose(alpha, np.cos(np.pi * t / 2), rtol=1e-11)
        np.testing.assert_allclose(sigma, np.sin(np.pi * t / 2), rtol=1e-11)
        for shift in (0.25, 3.0):
            values = jax.jit(lambda t, at=shift: (log_snr(Cosine(at), t), *Cosine(at)(t)))(t)
            value, alpha, sigma = (np.asarray(part) for part in values)
            np.testing.assert_allclose(value + 2 * np.log(np.tan(np.pi * t / 2)), 2 * math.log(shift), atol=1e-10)
            np.testing.assert_allclose(alpha**2 + sigma**2, 1, rtol=1e-12)
    for schedule in (Cosine(), Cosine(0.25), Flow()):
        alpha, sigma = schedule(np.ones(1, np.float32))
        assert (float(alpha[0]), float(sigma[0])) == (0, 1)


@pytest.mark.parametrize("schedule", OPTIONS, ids=repr)
def test_float32_keeps_its_digits_in_value_and_derivative_near_both_ends(schedule):
    """Against float64 at the same times; 3e-6 is some 50 roundings."""
    values = jax.jit(lambda t: (*schedule(t), *rates(schedule, t)))
    short = values(TIMES)
    with jax.enable_x64(True):
        exact = values(TIMES.astype(np.float64))
    for got, expected in zip(short, exact, strict=True):
        assert (got.dtype, expected.dtype) == (np.float32, np.float64)
        np.testing.assert_allclose(got, expected, rtol=3e-6)
    lengths = np.square(exact[0]) + np.square(exact[1])
    assert np.all(lengths <= 1 + 1e-12) or schedule.__class__ in (VE, EDM)


def test_derivatives_are_those_of_finite_differences(continuous):
    _, schedule = continuous
    with jax.enable_x64(True):
        t, h = np.linspace(0.01, 0.99, 40), 1e-5
        called = jax.jit(schedule)
        after, before = np.array(called(t + h)), np.array(called(t - h))
        got = np.array(jax.jit(lambda t: rates(schedule, t))(t))
    scale = np.abs(got).max(axis=1, keepdims=True)
    np.testing.assert_allclose(
        got / np.maximum(scale, 1e-30), (after - before) / (2 * h * scale.clip(1e-30)), atol=2e-7
    )


def test_options_out_of_range_are_refused():
    for schedule, options, words in (
        (VP, {"beta_min": -1.0}, "beta_min"),
        (SubVP, {"beta_min": 30.0}, "beta_min"),
        (VE, {"sigma_min": 200.0}, "sigma_min"),
        (EDM, {"sigma_min": 0.0}, "sigma_min"),
        (EDM, {"rho": 0.0}, "rho"),
        (Cosine, {"shift": 0.0}, "shift"),
        (Flow, {"shift": -1.0}, "shift"),
    ):
        with pytest.raises(ValueError, match=words):
            schedule(**options)


def test_equal_options_are_equal_schedules():
    assert hash(EDM()) == hash(EDM(0.002, 80.0, 7.0))
    assert EDM() != EDM(rho=3.0)
