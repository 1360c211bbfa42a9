"""Wrappers, on a denoiser whose mean is its condition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.denoisers import Clipped, Normal, Pointed, Tempered, Thresholded
from ddpm_jax.denoisers.posteriors import Output

LABELS = jnp.array([2.0, -3.0, 5.0])


class Says:
    """A denoiser that says its condition at every site."""

    def __call__(self, x_t, t, condition):
        mean = jnp.broadcast_to(condition["label"][:, None], x_t.shape)
        ones = jnp.ones_like(mean)
        return Normal(mean, (0.1 * t)[:, None], Output(mean, ones, 0 * ones, ones))


def test_what_clipping_changes_forgets_the_networks_output():
    """Errors must be those of the new mean, not of the raw output that the old one came from."""
    x = jnp.zeros((3, 2))
    clipped = Clipped(Says())(x, jnp.full(3, 0.5), {"label": LABELS})
    np.testing.assert_allclose(clipped.squared_error(x, x), 1.0)


def test_clip_keeps_the_mean_in_range_and_the_variance():
    x = jnp.zeros((3, 2))
    t = jnp.array([0.2, 0.4, 0.6])
    condition = {"label": jnp.array([0.25, -3.0, 5.0])}
    for limits, expected in (((), [0.25, -1, 1]), ((-4.0, 0.0), [0, -3, 0])):
        posterior = Clipped(Says(), *limits)(x, t, condition)
        np.testing.assert_array_equal(posterior.mean[:, 0], expected)
        np.testing.assert_allclose(posterior.variance[:, 0], 0.1 * t)


def test_a_point_keeps_the_mean_and_drops_the_spread():
    x = jnp.zeros((3, 2))
    t = jnp.array([0.2, 0.4, 0.6])
    condition = {"label": LABELS}
    point = Pointed(Says())(x, t, condition)
    np.testing.assert_array_equal(point.mean, Says()(x, t, condition).mean)
    np.testing.assert_array_equal(point.sample(jax.random.key(0)), point.mean)


def test_dynamic_thresholding_is_clipping_for_small_images_and_shrinks_large_ones():
    """Saharia et al. 2022, by hand: 5 values, quantile 0.75 is the second largest size."""
    x = jnp.array([[0.1, -0.5, 0.2, 0.9, -1.0], [1.0, -2.0, 4.0, 8.0, 0.0]])
    denoise = Thresholded(lambda x_t, t, condition: Normal(x_t, 0.1 * jnp.ones_like(x_t)), 0.75)
    posterior = denoise(x, jnp.full(2, 0.5), None)
    np.testing.assert_allclose(posterior.mean, [[0.1, -0.5, 0.2, 0.9, -1.0], [0.25, -0.5, 1.0, 1.0, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(posterior.variance, 0.1)


def test_temperature_changes_every_posterior_and_that_of_one_none():
    denoise = Says()
    x = jnp.zeros((3, 2))
    t = jnp.array([0.2, 0.4, 0.6])
    posterior = Tempered(denoise, 0.5)(x, t, {"label": LABELS})
    np.testing.assert_allclose(posterior.variance, 0.05 * t[:, None], rtol=1e-6)
    plain, same = (one(x, t, {"label": LABELS}) for one in (denoise, Tempered(denoise)))
    np.testing.assert_array_equal(same.mean, plain.mean)
    np.testing.assert_array_equal(same.variance, plain.variance)
    for wrong in ({"temperature": -1.0}, {"top_k": -1}, {"nucleus": 2.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Tempered(denoise, **wrong)
