"""Shares kept: their ends, their values where trigonometry is known, float32's digits at both ends, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.schedules.keeping import KEEPS, Polynomial, keep_rate, make_keep

each = pytest.mark.parametrize("keep", [*KEEPS.values(), Polynomial(3.0)], ids=[*KEEPS, "cubic"])


@each
def test_ends_are_exact_and_it_falls_between_them(keep):
    for dtype in (jnp.float32, jnp.float16):
        np.testing.assert_array_equal(keep(jnp.array([0, 1], dtype)), [1, 0])
    t = jnp.linspace(0, 1, 2001)
    assert np.all(np.diff(keep(t)) < 0)


def test_known_values():
    t = jnp.array([1 / 3, 0.5, 2 / 3])
    np.testing.assert_allclose(KEEPS["linear"](t), [2 / 3, 1 / 2, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(KEEPS["cosine"](t), [1 / 2, 1 - np.sqrt(1 / 2), 1 - np.sqrt(3 / 4)], rtol=1e-6)
    np.testing.assert_allclose(KEEPS["polynomial"](t), [4 / 9, 1 / 4, 1 / 9], rtol=1e-6)
    np.testing.assert_allclose(make_keep("polynomial", 3.0)(t), [8 / 27, 1 / 8, 1 / 27], rtol=1e-6)
    halves = jnp.array([1 - np.sqrt(3) / 2, 1 - np.sqrt(1 / 2), 1 / 2])  # arcsines of known angles
    np.testing.assert_allclose(KEEPS["arccos"](halves), [2 / 3, 1 / 2, 1 / 3], rtol=1e-6)


def test_cosine_keeps_its_digits_where_little_is_kept():
    """Near t = 1 the share is (pi (1 - t)/2)^2 / 2, far below float32's resolution of a sine near 1."""
    left = 2.0 ** -np.arange(8, 20)
    np.testing.assert_allclose(KEEPS["cosine"](jnp.float32(1 - left)), (np.pi * left / 2) ** 2 / 2, rtol=1e-5)


@each
def test_rate_is_the_slope(keep):
    t = np.array([0.01, 0.3, 0.49, 0.51, 0.8, 0.99])
    with jax.enable_x64(True):
        slope = (keep(jnp.asarray(t + 1e-5)) - keep(jnp.asarray(t - 1e-5))) / 2e-5
    np.testing.assert_allclose(keep_rate(keep, jnp.float32(t)), slope, rtol=1e-4)
    np.testing.assert_allclose(keep_rate(keep, jnp.float32(0.3)), slope[1], rtol=1e-4)


def test_arccos_undoes_cosine():
    """The share hidden by one is the inverse function of that hidden by the other, both in r = 1 - t."""
    r = jnp.linspace(0, 1, 101)
    hidden = 1 - KEEPS["cosine"](1 - r)
    np.testing.assert_allclose(1 - KEEPS["arccos"](1 - hidden), r, atol=1e-6)


def test_arccos_keeps_its_digits_at_both_ends():
    small = 2.0 ** -np.arange(10, 30)
    hidden = 2 / np.pi * np.arccos(1 - small)
    with jax.enable_x64(True):
        np.testing.assert_allclose(1 - KEEPS["arccos"](jnp.asarray(small)), hidden, rtol=1e-9)
    near = 2.0 ** -np.arange(8, 20)
    np.testing.assert_allclose(KEEPS["arccos"](jnp.float32(1 - near)), 2 / np.pi * np.arcsin(near), rtol=1e-6)


@each
def test_slopes_are_finite_wherever_training_looks(keep):
    assert np.all(np.isfinite(keep_rate(keep, jnp.array([1e-5, 0.5, 1.0]))))


def test_an_exponent_is_for_the_polynomial_and_at_least_1():
    assert make_keep("cosine") is KEEPS["cosine"]
    assert make_keep("polynomial", 1.0)(0.25) == KEEPS["linear"](0.25)
    for name, exponent in (("cosine", 2.0), ("polynomial", 0.5), ("polynomial", float("nan"))):
        with pytest.raises(ValueError, match="exponent"):
            make_keep(name, exponent)
