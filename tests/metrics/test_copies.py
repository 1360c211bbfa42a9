import numpy as np
import pytest

from ddpm_jax.metrics.copies import find_copies


def random_images(seed, count, levels=256, shape=(6, 5, 3)):
    return np.random.default_rng(seed).integers(levels, size=(count, *shape)).astype(np.uint8)


def test_planted_copies_are_found_and_noise_is_not():
    train, samples = random_images(0, 200), random_images(1, 50)
    samples[3] = train[17]
    samples[40] = np.clip(train[150].astype(int) + 2, 0, 255)  # slightly brighter
    result = find_copies(samples, train, 256)
    assert np.flatnonzero(result.ratio < 1 / 3).tolist() == [3, 40]
    assert (result.count, result.fraction) == (2, 0.04)
    assert (result.nearest[3], result.nearest[40]) == (17, 150)
    assert find_copies(random_images(2, 50), train, 256).count == 0


def test_the_threshold_is_a_third_of_the_second_distance():
    """One pixel, training values 0 and 80: 20 is a third as far from 0 as from 80, 60 the other way round."""
    train = np.array([0, 80], np.uint8).reshape(2, 1, 1, 1)
    samples = np.array([19, 21, 40, 59, 61], np.uint8).reshape(5, 1, 1, 1)
    result = find_copies(samples, train, 256)
    assert (result.ratio < 1 / 3).tolist() == [True, False, False, False, True]
    assert result.count == 2
    assert result.nearest[[0, 1, 3, 4]].tolist() == [0, 0, 1, 1]


def test_exact_duplicates_of_a_twin_count():
    train = random_images(3, 20)
    train[1] = train[0]
    result = find_copies(train[:1], train, 256)
    assert (result.count, result.ratio[0], result.median_distance) == (1, 0, 0)


def test_distances_agree_with_loops_in_the_scale_of_x():
    train, samples = random_images(4, 30, 17), random_images(5, 7, 17)
    result = find_copies(samples, train, 17)

    def scaled(u):
        return u.astype(np.float64) / 8 - 1

    distances = np.array([[np.sqrt(((scaled(s) - scaled(t)) ** 2).sum()) for t in train] for s in samples])
    np.testing.assert_array_equal(result.nearest, distances.argmin(1))
    assert result.median_distance == pytest.approx(np.median(distances.min(1)), rel=1e-6)
    ordered = np.sort(distances, 1)
    np.testing.assert_allclose(result.ratio, ordered[:, 0] / ordered[:, 1], rtol=1e-6)


def test_large_images_keep_duplicates_at_distance_zero():
    train = random_images(6, 300, shape=(64, 64, 3))
    result = find_copies(train[::-1].copy(), train, 256)
    assert (result.fraction, result.median_distance) == (1, 0)
    assert result.nearest.tolist() == list(range(300))[::-1]


def test_one_training_image_has_no_second():
    with pytest.raises(ValueError, match="two training images"):
        find_copies(random_images(0, 2), random_images(0, 1), 256)


def test_blocks_find_what_all_at_once_find(monkeypatch):
    train, samples = random_images(6, 101, 4), random_images(7, 20, 4)
    train[70] = train[3]
    samples[:3] = train[[3, 99, 100]]
    whole = find_copies(samples, train, 4)
    for images in (1, 7, 50):
        monkeypatch.setattr("ddpm_jax.metrics.copies.BLOCK", 4 * 90 * images)
        found = find_copies(samples, train, 4)
        np.testing.assert_array_equal(found.ratio, whole.ratio)
        assert (found.median_distance, found.count) == (whole.median_distance, whole.count)
        distances = [np.linalg.norm(train[one.nearest] - samples.astype(float), axis=(1, 2)) for one in (found, whole)]
        np.testing.assert_array_equal(*distances)
