"""FLOPs of products, counted against what the shapes say."""

import math

import jax
import jax.numpy as jnp
import pytest

from ddpm_jax.devices import flops
from ddpm_jax.models.convolution import convolve


def shapes(*sizes):
    return [jax.ShapeDtypeStruct(size, jnp.float32) for size in sizes]


def test_products_and_convolutions_in_a_loop():
    def function(x, kernel, matrix):
        y = convolve(x, kernel) + jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jax.lax.scan(lambda h, _: (jax.nn.relu(h @ matrix), None), y, None, length=3)[0]

    places = 2 * 8 * 8
    count = flops.of_function(function, *shapes((2, 8, 8, 4), (3, 3, 4, 6), (6, 6)))
    assert count == 2 * places * (2 * 9 * 4 * 6 + 3 * 6 * 6)


def test_the_dearest_branch_counts():
    def function(x, flag):
        return jax.lax.cond(flag > 0, lambda h: (h @ h) @ h, lambda h: h @ h, x)

    assert flops.of_function(function, *shapes((5, 5), ())) == 2 * 2 * 5**3


@pytest.mark.parametrize(("body", "known"), [(lambda h: h @ h, False), (lambda h: h + 1, True)])
def test_a_loop_of_unknown_length_cannot_be_counted(body, known):
    def function(x):
        return jax.lax.while_loop(lambda h: jnp.sum(h) < 100, body, x)

    assert math.isnan(flops.of_function(function, *shapes((3, 3)))) != known
