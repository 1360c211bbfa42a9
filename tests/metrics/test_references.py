import numpy as np
import pytest

from ddpm_jax.metrics import references
from ddpm_jax.metrics.references import reference_samples


@pytest.fixture(scope="module")
def samples(digits):
    return reference_samples(digits["train"][0], 17, 2000, seed=0)


def test_shapes_levels_and_determinism(digits, samples):
    assert set(samples) == {"gaussian_mixture_30", "independent_pixels", "noise"}
    again = reference_samples(digits["train"][0], 17, 2000, seed=0)
    for name, images in samples.items():
        assert images.shape == (2000, 8, 8, 1)
        assert images.dtype == np.uint8
        assert images.max() <= 16
        np.testing.assert_array_equal(images, again[name])
    other = reference_samples(digits["train"][0], 17, 10, seed=1)
    assert all(np.any(other[name] != images[:10]) for name, images in samples.items())


def test_independent_pixels_keep_histograms_and_lose_correlation(digits, samples):
    train, drawn = digits["train"][0], samples["independent_pixels"]
    for row, column in [(0, 0), (3, 4), (6, 2)]:
        expected, found = (np.bincount(x[:, row, column, 0], minlength=17) / len(x) for x in (train, drawn))
        np.testing.assert_allclose(found, expected, atol=0.05)

    def correlation(x):
        return np.corrcoef(x[:, 2, 2, 0], x[:, 3, 2, 0])[0, 1]

    assert abs(correlation(drawn)) < 0.1
    assert abs(correlation(train)) > 0.3


def test_noise_is_uniform(samples):
    counts = np.bincount(samples["noise"].ravel(), minlength=17)
    np.testing.assert_allclose(counts / counts.sum(), 1 / 17, atol=0.003)


def test_the_mixture_keeps_means_and_covariances_in_any_slice(digits, samples):
    train = digits["train"][0].reshape(1000, -1).astype(float)
    for part in (samples["gaussian_mixture_30"], samples["gaussian_mixture_30"][:1000]):
        drawn = part.reshape(len(part), -1).astype(float)
        assert np.abs(drawn.mean(0) - train.mean(0)).max() < 0.7
        assert np.corrcoef(np.cov(drawn.T).ravel(), np.cov(train.T).ravel())[0, 1] > 0.98


def test_large_images_go_through_principal_components(monkeypatch):
    """Images of two patterns plus slight noise, in 192 dimensions and more images than are fitted."""
    monkeypatch.setattr(references, "MOST_IMAGES", 150)
    monkeypatch.setattr(references, "LARGEST", 10)
    rng = np.random.default_rng(0)
    patterns = rng.integers(60, 200, size=(2, 8, 8, 3))
    which = rng.integers(2, size=400)
    train = (patterns[which] + rng.integers(-3, 4, size=(400, 8, 8, 3))).astype(np.uint8)
    mixture = reference_samples(train, 256, 50, seed=0)["gaussian_mixture_30"].astype(int)
    distance = np.abs(mixture[:, None] - patterns).mean((2, 3, 4)).min(1)
    assert mixture.shape == (50, 8, 8, 3)
    assert distance.max() < 20
