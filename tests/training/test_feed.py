"""The set on the devices: as it lies there, and as a step draws from it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.conditions import Conditions, Label, Picture
from ddpm_jax.data import draw, from_arrays
from ddpm_jax.devices.plan import Plan
from ddpm_jax.training.feed import Resident

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 6, 5, 3), np.uint8)
SKETCHES = np.random.default_rng(1).integers(0, 256, (20, 4, 4, 1), np.uint8)
LABELS = np.arange(20, dtype=np.int32) % 4


@pytest.fixture
def source():
    told = Conditions((("label", Label(4)), ("sketch", Picture((4, 4, 1)))))
    return from_arrays({"train": (IMAGES, {"label": LABELS, "sketch": SKETCHES})}, conditions=told).split("train")


@pytest.mark.parametrize("flip", [False, True])
def test_rows_drawn_from_flat_pictures_are_those_of_the_pictures(source, flip):
    keys = jax.random.split(jax.random.key(0), 16)
    feed = Resident(source, Plan(), flip)
    with feed.data(0) as steps:
        data = steps(0, 1)
        rows = jax.jit(lambda data, keys: feed.draw(data, keys, 0))(data, keys)
    expected = draw(*jax.tree.map(jnp.asarray, source.arrays()), keys, flip)
    for got, due in zip(jax.tree.leaves(rows), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(got, due)
    assert rows["image"].shape == (16, 6, 5, 3) and rows["condition"]["sketch"].shape == (16, 4, 4, 2)


def test_pictures_lie_there_flat(source):
    feed = Resident(source, Plan(), flip=False)
    assert sorted(leaf.shape for leaf in jax.tree.leaves(feed.example)) == [(20,), (20, 32), (20, 90)]
    assert jax.tree.map(jnp.shape, feed.arrays) == jax.tree.map(lambda leaf: leaf.shape, feed.example)
