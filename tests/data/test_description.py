import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.conditions import labels
from ddpm_jax.data import Description


@pytest.mark.parametrize("levels", [2, 5, 17, 255, 256])
@pytest.mark.parametrize("compile", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_every_level_comes_back_and_lies_on_the_grid(levels, compile):
    description = Description("any", "1.0.0", (levels, 1), levels)
    images = np.arange(levels, dtype=np.uint8)[:, None]
    x = compile(description.encode)(images)
    assert x.dtype == jnp.float32
    np.testing.assert_array_equal(x[:, 0], description.values)  # the same float32, not one beside it
    back = compile(description.decode)(x)
    assert back.dtype == jnp.uint8
    np.testing.assert_array_equal(back, images)
    # As fractions: the ends, the symmetry and the equal steps settle the grid.
    values = description.values.astype(np.float64)
    assert (values[0], values[-1]) == (-1, 1)
    np.testing.assert_array_equal(values, -values[::-1])
    np.testing.assert_allclose(np.diff(values), 2 / (levels - 1), atol=1.2e-7)


def test_decode_takes_the_nearest_level_and_clips():
    description = Description("any", "1.0.0", (1, 1), 5)  # levels at -1, -0.5, 0, 0.5, 1
    x = jnp.array([-7.0, -1.0, -0.76, -0.74, 0.2, 0.3, 1.0, 9.0])
    np.testing.assert_array_equal(description.decode(x), [0, 0, 0, 1, 2, 3, 4, 4])


def test_encode_takes_integers_of_any_type_and_shape():
    description = Description("any", "1.0.0", (2, 2, 1), 256)
    images = np.array([[0, 255], [51, 204]])
    expected = np.float32([[-1, 1], [-0.6, 0.6]])
    for dtype in (np.uint8, np.int32, np.int16):
        np.testing.assert_array_equal(description.encode(images.astype(dtype)), expected)


def test_facts_of_a_shape():
    description = Description("video", "1.0.0", (4, 32, 16, 3), 256, labels(7))
    assert description.space == (4, 32, 16)
    assert description.channels == 3
    assert description.dimensions == 6144
    assert description.labels == 7


def test_real_valued_images_pass_through_and_have_no_levels():
    description = Description("real", "1.0.0", (3, 1), None)
    x = np.array([-1.0, 0.123, 1.0])
    np.testing.assert_allclose(description.decode(description.encode(x)), x, rtol=1e-6)
    with pytest.raises(ValueError, match="no levels"):
        _ = description.values


@pytest.mark.parametrize("shape, levels", [((8,), 17), ((0, 1), 17), ((8, 1), 1), ((8, 1), 257)])
def test_nonsense_is_refused(shape, levels):
    with pytest.raises(ValueError):
        Description("any", "1.0.0", shape, levels)
