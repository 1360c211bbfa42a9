"""Real digits (8x8, 17 levels), split in file order, and the kept features of them."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from ddpm_jax.metrics.kept import load_kept


@pytest.fixture(scope="session")
def digits():
    data = load_digits()
    images, labels = data.images.astype(np.uint8)[..., None], data.target
    return {"train": (images[:1000], labels[:1000]), "test": (images[1350:], labels[1350:])}


@pytest.fixture(scope="session")
def digit_features():
    return load_kept("digits", 17)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the test's own."""
    monkeypatch.setenv("DDPM_JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
