"""Layers against plain NumPy, and the promises of dropout with a key an example."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from ddpm_jax.models import layers


def test_time_embedding_has_ddpm_end_points():
    time = jnp.array([0.0, 1.0, 999.0, 0.5])
    embedding = np.asarray(layers.time_embedding(time, 8))
    assert embedding.shape == (4, 8)
    np.testing.assert_allclose(embedding[0], [0, 0, 0, 0, 1, 1, 1, 1])
    # Four frequencies in geometric progression from 1 to 1/10000, both included.
    for row, t in enumerate(np.asarray(time, np.float64)):
        angles = t * np.geomspace(1, 1e-4, 4)
        np.testing.assert_allclose(embedding[row], [*np.sin(angles), *np.cos(angles)], atol=2e-4)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_upsample_repeats_the_nearest(axes):
    x = np.random.RandomState(0).randn(2, *(2, 3, 4)[:axes], 5).astype(np.float32)
    expected = np.kron(x, np.ones((1, *(2,) * axes, 1), np.float32))
    np.testing.assert_array_equal(layers.upsample(jnp.asarray(x)), expected)


def test_convolution_at_stride_two_pads_the_end():
    x = np.arange(1.0, 5.0, dtype=np.float32).reshape(1, 4, 1)
    params = {"kernel": jnp.array([1.0, 10.0, 100.0]).reshape(3, 1, 1), "bias": jnp.zeros(1)}
    output = layers.convolution(1, axes=1, stride=2).apply({"params": params}, x)
    np.testing.assert_array_equal(np.ravel(output), [321, 43])


def test_initialiser_variance():
    kernel = layers.initialiser()(jax.random.key(0), (3, 3, 32, 96), jnp.float32)
    variance = 1 / (9 * (32 + 96) / 2)
    assert np.var(kernel) == pytest.approx(variance, rel=0.02)
    assert np.abs(kernel).max() == pytest.approx(np.sqrt(3 * variance), rel=0.01)  # the bound of a uniform
    assert 0 < np.std(layers.initialiser(0.0)(jax.random.key(0), (3, 3, 8, 8), jnp.float32)) < 2e-6


def test_attention_equals_a_loop_over_sites():
    random = np.random.RandomState(1)
    x = random.randn(2, 2, 3, 4)
    attention = layers.Attention(groups=2)
    shapes = jax.eval_shape(attention.init, jax.random.key(0), jnp.zeros((2, 2, 3, 4)))
    params = jax.tree.map(lambda shape: random.randn(*shape.shape), shapes)["params"]
    output = attention.apply({"params": jax.tree.map(jnp.float32, params)}, jnp.float32(x))

    def affine(name, h):
        return h @ params[name]["kernel"] + params[name]["bias"]

    for image, got in zip(x, np.asarray(output), strict=True):
        halves = np.split(image.reshape(6, 4), 2, axis=1)
        h = np.concatenate([(half - half.mean()) / half.std() for half in halves], axis=1)
        h = h * params["norm"]["scale"] + params["norm"]["bias"]
        query, key, value = (affine(name, h) for name in ("query", "key", "value"))
        rows = []
        for site in range(6):
            weights = np.exp([query[site] @ key[other] / 2 for other in range(6)])  # 2 = sqrt(4 channels)
            rows.append(weights @ value / weights.sum())
        np.testing.assert_allclose(got, image + affine("projection", np.array(rows)).reshape(2, 3, 4), atol=1e-4)


class Two(nn.Module):
    """Two dropouts one after the other would hide which mask is whose: give them side by side."""

    @nn.compact
    def __call__(self, x, keys):
        return layers.Dropout(0.25, name="a")(x, keys), layers.Dropout(0.25, name="b")(x, keys)


def test_dropout_keeps_its_share_and_its_mean():
    x = jnp.full((64, 500), 3.0)
    keys = jax.random.split(jax.random.key(0), 64)
    output = np.asarray(layers.Dropout(0.25).apply({}, x, keys))
    assert set(np.unique(output)) == {0.0, 4.0}
    share = (output == 0).mean()
    assert abs(share - 0.25) < 4 * np.sqrt(0.25 * 0.75 / output.size)


def test_dropout_is_the_identity_in_evaluation_and_at_rate_zero():
    x = jax.random.normal(jax.random.key(0), (3, 5))
    keys = jax.random.split(jax.random.key(1), 3)
    assert layers.Dropout(0.25).apply({}, x, None) is x
    assert layers.Dropout(0.0).apply({}, x, keys) is x


def test_dropout_mask_depends_on_the_example_s_key_and_the_path():
    x = jnp.ones((4, 200))
    keys = jax.random.split(jax.random.key(2), 4)
    a, b = (np.asarray(part) for part in Two().apply({}, x, keys))
    masks = np.concatenate([a, b]) > 0
    agreement = (masks[:, None] == masks).mean(-1)[~np.eye(8, dtype=bool)]
    assert agreement.max() < 0.85  # 0.625 if independent, 1 if shared
    order = np.array([2, 0])
    again, _ = Two().apply({}, x[order], keys[order])
    np.testing.assert_array_equal(again, a[order])
    # Pinned: a run that resumes in another process must meet the same masks.
    assert np.flatnonzero(~masks[0])[:6].tolist() == [2, 3, 8, 10, 14, 19]
