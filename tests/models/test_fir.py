"""Filters that halve and double, against plain convolutions in NumPy and the laws they obey."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.models import fir

halve = jax.jit(fir.halve, static_argnames=("taps", "pad"))
double = jax.jit(fir.double, static_argnames="taps")
TAPS = [(1, 1), (1, 3, 3, 1), (1, 2, 5, 5, 2, 1)]
SHAPES = [(8,), (4, 6), (2, 4, 6)]


def along(function, x):
    """`function` of one row, along every spatial axis in turn."""
    for axis in range(1, x.ndim - 1):
        x = np.apply_along_axis(function, axis, x)
    return x


def image(shape):
    return np.random.RandomState(0).randn(2, *shape, 3).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("taps", TAPS)
def test_halving_is_a_convolution_of_which_every_second_value_is_kept(taps, shape):
    window, x = np.array(taps) / np.sum(taps), image(shape)
    start = len(taps) // 2  # of the full convolution: the outputs centred between values 2i and 2i + 1
    expected = along(lambda row: np.convolve(row, window)[start : start + len(row) : 2], x)
    output = halve(jnp.asarray(x), taps)
    assert output.shape == (2, *(n // 2 for n in shape), 3)
    np.testing.assert_allclose(output, expected, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("taps", TAPS)
def test_doubling_is_a_convolution_of_values_with_zeros_between(taps, shape):
    window, x = 2 * np.array(taps) / np.sum(taps), image(shape)
    start = len(taps) // 2 - 1

    def doubled(row):
        spread = np.zeros(2 * len(row))
        spread[::2] = row
        return np.convolve(spread, window)[start : start + 2 * len(row)]

    output = double(jnp.asarray(x), taps)
    assert output.shape == (2, *(2 * n for n in shape), 3)
    np.testing.assert_allclose(output, along(doubled, x), atol=1e-6)


def test_the_pair_filter_averages_and_repeats():
    x = image((4, 6))
    np.testing.assert_allclose(halve(jnp.asarray(x), (1, 1)), x.reshape(2, 2, 2, 3, 2, 3).mean((2, 4)), atol=1e-6)
    np.testing.assert_array_equal(double(jnp.asarray(x), (1, 1)), np.kron(x, np.ones((1, 2, 2, 1))))


@pytest.mark.parametrize("taps", TAPS)
def test_doubling_is_the_transpose_of_halving(taps):
    x = jnp.asarray(image((8, 4)))

    @jax.jit
    def both(x):
        half, transpose = jax.vjp(lambda x: halve(x, taps), x)
        return double(half, taps), transpose(half)[0]

    twice, back = both(x)
    np.testing.assert_allclose(twice, 4 * back, atol=1e-5)


def test_without_padding_a_constant_stays():
    x = jnp.full((1, 10, 1), 3.0)
    np.testing.assert_allclose(halve(x, (1, 3, 3, 1), pad=0), jnp.full((1, 4, 1), 3.0), rtol=1e-6)
    # With it the border sees one tap of 8 less.
    np.testing.assert_allclose(halve(x, (1, 3, 3, 1))[0, :, 0], [21 / 8, 3, 3, 3, 21 / 8], rtol=1e-6)


def test_type_is_kept():
    x = jnp.ones((1, 4, 1), jnp.bfloat16)
    assert halve(x, (1, 3, 3, 1)).dtype == double(x, (1, 3, 3, 1)).dtype == jnp.bfloat16
