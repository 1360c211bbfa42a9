"""Half a U-Net: one answer for an image, of a network that knows the time and no condition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import models
from ddpm_jax.conditions import labels
from ddpm_jax.errors import UserError
from ddpm_jax.models import Conditioning

SMALL = {"channels": 8, "multipliers": (1, 2), "blocks": 1, "attention_resolutions": (), "groups": 4, "dropout": 0.5}


def drawn(network, seed=0):
    """Parameters none of which is nearly zero, as the last layer's are at first."""
    params = network.init(jax.random.key(seed))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
    return tree.unflatten(
        [leaf + 0.1 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    )


@pytest.mark.slow
def test_it_answers_once_for_an_image_whatever_stands_beside_it():
    network = models.make("half_unet", (8, 4, 2), 3, Conditioning(labels(3)), **SMALL)
    params, x = drawn(network), jnp.asarray(np.random.default_rng(0).normal(size=(3, 8, 4, 2)), jnp.float32)
    time = jnp.array([1.0, 500.0, 20.0])
    run = jax.jit(lambda x, time, label, keys=None: network.apply(params, x, time, {"label": label}, keys))
    whole = run(x, time, jnp.array([0, 1, 2]))
    assert whole.shape == (3, 3) and whole.dtype == jnp.float32
    np.testing.assert_allclose(run(x[::-1], time[::-1], jnp.array([2, 1, 0]))[::-1], whole, atol=1e-5)
    np.testing.assert_array_equal(run(x, time, jnp.array([2, 2, 0])), whole)  # the label is not seen
    assert np.abs(run(x, time[::-1], jnp.array([0, 1, 2]))[0] - whole[0]).max() > 1e-4
    keys = jax.random.split(jax.random.key(0), 3)
    trained = run(x, time, jnp.array([0, 1, 2]), keys)
    np.testing.assert_allclose(run(x[::-1], time[::-1], jnp.array([0, 1, 2]), keys[::-1])[::-1], trained, atol=1e-5)
    assert np.abs(trained - whole).max() > 1e-4


def test_what_it_cannot_be():
    for options, key in (
        ({"groups": 3}, "groups"),
        ({"multipliers": (1, 1, 1, 1, 1)}, "multipliers"),
        ({"path": 2}, "path"),
    ):
        with pytest.raises(UserError, match=f"^config.model.{key}: "):
            models.check("half_unet", (8, 8, 1), **{**SMALL, **options})
    assert set(models.options("half_unet")) <= set(models.options("unet"))
