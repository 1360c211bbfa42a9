"""Real digits (8x8, 17 levels), split in file order, and the features trained on them: once a test run."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from ddpm_jax.metrics.features import load_features


@pytest.fixture(scope="session")
def digits():
    data = load_digits()
    images, labels = data.images.astype(np.uint8)[..., None], data.target
    return {"train": (images[:1000], labels[:1000]), "test": (images[1350:], labels[1350:])}


@pytest.fixture(scope="session")
def digit_features(digits):
    return load_features(*digits["train"], 17, 10, *digits["test"], progress=False)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the test's own."""
    monkeypatch.setenv("DDPM_JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
