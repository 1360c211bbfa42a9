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


def test_fourier_features_tell_neighbouring_levels_apart():
    levels = (np.arange(256) / 127.5 - 1).astype(np.float32).reshape(1, 256, 1)
    features = np.asarray(layers.fourier_features(jnp.asarray(levels), (7, 8)))
    assert features.shape == (1, 256, 5)
    np.testing.assert_array_equal(features[..., :1], levels)
    # 2^7 pi times 2/255 is pi and a little: the cosine alternates. 2^8 pi: nearly 2 pi, so that it creeps.
    angle = 128 * np.pi * levels[0, :, 0].astype(np.float64)
    for i, wave in enumerate((np.sin(angle), np.sin(2 * angle), np.cos(angle), np.cos(2 * angle))):
        np.testing.assert_allclose(features[0, :, 1 + i], wave, atol=1e-4)
    steps = np.abs(np.diff(features[0, :, 1:], axis=0))
    assert np.hypot(steps[:, 0], steps[:, 2]).min() > 1.99
    assert np.abs(np.diff(levels[0], axis=0)).max() < 0.008
    x = jnp.ones((2, 3, 1))
    np.testing.assert_array_equal(layers.fourier_features(x, ()), x)
    volume = layers.fourier_features(jnp.ones((1, 2, 2, 2, 3)), (0,))
    np.testing.assert_allclose(volume[0, 0, 0, 0], [1, 1, 1, 0, 0, 0, -1, -1, -1], atol=1e-6)


@pytest.mark.parametrize("heads", [1, 2])
def test_attention_equals_a_loop_over_sites(heads):
    random = np.random.RandomState(1)
    x = random.randn(2, 2, 3, 4)
    attention = layers.Attention(groups=2, heads=heads)
    shapes = jax.eval_shape(attention.init, jax.random.key(0), jnp.zeros((2, 2, 3, 4)))
    params = jax.tree.map(lambda shape: random.randn(*shape.shape), shapes)["params"]
    output = jax.jit(attention.apply)({"params": jax.tree.map(jnp.float32, params)}, jnp.float32(x))

    def affine(name, h):
        return h @ params[name]["kernel"] + params[name]["bias"]

    for image, got in zip(x, np.asarray(output), strict=True):
        halves = np.split(image.reshape(6, 4), 2, axis=1)
        h = np.concatenate([(half - half.mean()) / half.std() for half in halves], axis=1)
        h = h * params["norm"]["scale"] + params["norm"]["bias"]
        query, key, value = (affine(name, h) for name in ("query", "key", "value"))
        rows = np.zeros((6, 4))
        for site in range(6):
            for part in np.split(np.arange(4), heads):
                logits = np.array([query[site, part] @ key[other, part] for other in range(6)])
                weights = np.exp(logits / np.sqrt(4 / heads))
                rows[site, part] = weights @ value[:, part] / weights.sum()
        np.testing.assert_allclose(got, image + affine("projection", rows).reshape(2, 3, 4), atol=1e-4)


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
