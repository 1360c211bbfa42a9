"""Shares kept: their ends, their values where trigonometry is known, float32's digits at both ends, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.schedules.keeping import KEEPS, keep_rate

each = pytest.mark.parametrize("keep", KEEPS.values(), ids=KEEPS)


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
