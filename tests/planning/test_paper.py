"""Data sets on paper: the sizes and shapes of the real ones, without an image."""

import jax
import pytest

from ddpm_jax import data
from ddpm_jax.config.base import base, cifar10, digits
from ddpm_jax.errors import UserError
from ddpm_jax.planning import paper


@pytest.fixture(autouse=True)
def _no_data(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))


def test_a_known_set_need_not_be_there():
    found = paper.dataset_of(cifar10())
    assert found.description.shape == (32, 32, 3) and found.description.labels == 10
    assert found.sizes == {"train": 50_000, "validation": 5_000, "test": 10_000}
    images, told = found.split("train").arrays()
    assert images.shape == (50_000, 32, 32, 3) and told["label"].shape == (50_000,)


def test_without_splits_the_last_tenth_is_held_out():
    config = base()
    config.data.name = "cifar10"
    assert paper.dataset_of(config).sizes == {"train": 45_000, "validation": 5_000, "test": 10_000}
    config.data.name = "imagenet_resized/64x64"
    assert paper.dataset_of(config).sizes["train"] == 1_281_167


def test_a_set_that_is_there_has_its_own_facts():
    found, real = paper.dataset_of(digits()), data.load("digits")
    assert found.description == real.description and found.sizes == real.sizes
    shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), found.split("test").arrays())
    assert shapes == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), real.split("test").arrays())


def test_what_is_neither_there_nor_known_is_refused():
    config = base()
    config.data.name = "svhn"
    with pytest.raises(UserError, match="svhn"):
        paper.dataset_of(config)
    config.data.name, config.data.splits.train = "cifar10", "train[:50%]"
    with pytest.raises(UserError, match=r"config\.data\.splits"):
        paper.dataset_of(config)
