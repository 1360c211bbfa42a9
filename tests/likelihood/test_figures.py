"""Figures worked out by hand."""

import math

import numpy as np
import pytest

from ddpm_jax.likelihood import bits_per_dimension


def test_a_figure_by_hand():
    """6 nats over 3 dimensions are 2 / log 2 bits each; values 1, 2, 6 have the standard error sqrt(7/3)."""
    nats = np.array([1.0, 2.0, 6.0]) * 3 * math.log(2)
    figure = bits_per_dimension(nats, 3, "bound")
    assert figure.value == pytest.approx(3)
    assert figure.standard_error == pytest.approx(math.sqrt(7 / 3))
    assert (figure.kind, figure.images, figure.dimensions) == ("bound", 3, 3)
    assert (figure.dequantisation, figure.draws) == ("none", 1)


def test_uniform_pixels_cost_their_number_of_bits():
    assert bits_per_dimension(np.full(2, 64 * math.log(256)), 64, "exact").value == pytest.approx(8)


def test_the_mean_of_many_float32_images_keeps_its_digits():
    nats = np.full(200_000, 2.1, np.float32)
    assert bits_per_dimension(nats, 1, "exact").value == pytest.approx(float(np.float32(2.1)) / math.log(2), rel=1e-10)


def test_one_image_has_no_standard_error():
    figure = bits_per_dimension(np.array([1.0]), 1, "exact")
    assert math.isnan(figure.standard_error)
