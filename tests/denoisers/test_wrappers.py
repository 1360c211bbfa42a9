"""Wrappers, on a denoiser whose mean is its condition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.denoisers import Clipped, Guided, Normal, Pointed, Tempered, Thresholded
from ddpm_jax.denoisers.posteriors import Output

LABELS = jnp.array([2.0, -3.0, 5.0])
NULL = {"label": jnp.full(3, 10.0)}


class Told:
    """A denoiser that says its condition at every site, and remembers its calls."""

    def __init__(self):
        self.calls = []

    def __call__(self, x_t, t, condition):
        self.calls.append((x_t, t, condition))
        mean = jnp.broadcast_to(condition["label"][:, None], x_t.shape)
        ones = jnp.ones_like(mean)
        return Normal(mean, (0.1 * t)[:, None], Output(mean, ones, 0 * ones, ones))


@pytest.mark.parametrize(("weight", "expected"), [(0.0, [10, 10, 10]), (1.0, [2, -3, 5]), (3.0, [-14, -29, -5])])
@pytest.mark.parametrize("each", [True, False])
def test_guidance_moves_from_none_to_the_condition_and_beyond(weight, expected, each):
    denoise = Told()
    x_t = jnp.arange(6.0).reshape(3, 2)
    t = jnp.array([0.2, 0.4, 0.6]) if each else jnp.float32(0.4)
    posterior = Guided(denoise, weight, NULL)(x_t, t, {"label": LABELS})
    np.testing.assert_allclose(posterior.mean, np.repeat(np.reshape(expected, (3, 1)), 2, axis=1), rtol=1e-6)
    np.testing.assert_allclose(np.ravel(posterior.variance), 0.1 * np.broadcast_to(t, 3), rtol=1e-6)

    [(inputs, times, condition)] = denoise.calls  # one call, on both
    np.testing.assert_array_equal(inputs, np.concatenate([x_t, x_t]))
    np.testing.assert_allclose(times, np.tile(np.broadcast_to(t, 3), 2))
    np.testing.assert_array_equal(condition["label"], [*LABELS, 10, 10, 10])


def test_what_guidance_and_clipping_change_forgets_the_networks_output():
    """Errors must be those of the new mean, not of the raw output that the old one came from."""
    x = jnp.zeros((3, 2))
    t = jnp.full(3, 0.5)
    guided = Guided(Told(), 3.0, NULL)(x, t, {"label": LABELS})
    np.testing.assert_allclose(guided.squared_error(x, x)[:, 0], [14**2, 29**2, 5**2], rtol=1e-6)
    clipped = Clipped(Told())(x, t, {"label": LABELS})
    np.testing.assert_allclose(clipped.squared_error(x, x), 1.0)


def test_clip_keeps_the_mean_in_range_and_the_variance():
    x = jnp.zeros((3, 2))
    t = jnp.array([0.2, 0.4, 0.6])
    condition = {"label": jnp.array([0.25, -3.0, 5.0])}
    for limits, expected in (((), [0.25, -1, 1]), ((-4.0, 0.0), [0, -3, 0])):
        posterior = Clipped(Told(), *limits)(x, t, condition)
        np.testing.assert_array_equal(posterior.mean[:, 0], expected)
        np.testing.assert_allclose(posterior.variance[:, 0], 0.1 * t)


def test_a_point_keeps_the_mean_and_drops_the_spread():
    x = jnp.zeros((3, 2))
    t = jnp.array([0.2, 0.4, 0.6])
    condition = {"label": LABELS}
    point = Pointed(Told())(x, t, condition)
    np.testing.assert_array_equal(point.mean, Told()(x, t, condition).mean)
    np.testing.assert_array_equal(point.sample(jax.random.key(0)), point.mean)


def test_dynamic_thresholding_is_clipping_for_small_images_and_shrinks_large_ones():
    """Saharia et al. 2022, by hand: 5 values, quantile 0.75 is the second largest size."""
    x = jnp.array([[0.1, -0.5, 0.2, 0.9, -1.0], [1.0, -2.0, 4.0, 8.0, 0.0]])
    denoise = Thresholded(lambda x_t, t, condition: Normal(x_t, 0.1 * jnp.ones_like(x_t)), 0.75)
    posterior = denoise(x, jnp.full(2, 0.5), None)
    np.testing.assert_allclose(posterior.mean, [[0.1, -0.5, 0.2, 0.9, -1.0], [0.25, -0.5, 1.0, 1.0, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(posterior.variance, 0.1)


def test_temperature_changes_every_posterior_and_that_of_one_none():
    denoise = Told()
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
