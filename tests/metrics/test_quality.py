import dataclasses
import json

import numpy as np
import pytest

from ddpm_jax.errors import Unavailable
from ddpm_jax.metrics.features import Features
from ddpm_jax.metrics.quality import quality, reference_lines, subset, variance_ratio


@pytest.fixture(scope="module")
def lines(digits, digit_features):
    return reference_lines(digits["train"][0], digits["test"][0], 17, digit_features, progress=False)


def test_reference_lines_are_in_the_order_of_what_they_know(lines):
    names = ["train", "gaussian_mixture_30", "independent_pixels", "noise"]
    assert list(lines.lines) == names
    assert {line.count for line in lines.lines.values()} == {447}
    best, *others = (lines.lines[name] for name in names)
    for worse in others:  # by more than chance
        assert worse.frechet > best.frechet + 2 * (worse.frechet_deviation + best.frechet_deviation)
    assert np.all(np.diff([lines.lines[name].frechet for name in names]) > 0)
    assert np.all(np.diff([lines.lines[name].precision for name in names]) < 0)
    assert best.recall > max(line.recall for line in others)


def test_copies_beside_the_lines(lines):
    assert lines.lines["train"].copies == 1
    assert lines.test_copies == lines.lines["noise"].copies == lines.lines["gaussian_mixture_30"].copies == 0
    assert 0 < lines.test_median_distance < lines.lines["noise"].median_distance


def test_the_training_images_as_samples_score_as_the_line_says(digits, digit_features, lines):
    train, test = digits["train"][0], digits["test"][0]
    result = quality(subset(train, 447, 0), train, test, 17, digit_features)
    line = lines.lines["train"]
    assert (result.precision, result.recall, result.copies) == (line.precision, line.recall, 1)
    assert abs(result.frechet - line.frechet) < 4 * line.frechet_deviation
    assert (result.features, result.features_hash) == (digit_features.name, digit_features.hash)


def test_test_images_as_samples_are_perfect(digits, digit_features):
    train, test = digits["train"][0], digits["test"][0]
    result = quality(test, train, test, 17, digit_features)
    assert (result.precision, result.recall, result.copies) == (1, 1, 0)
    assert result.frechet == pytest.approx(0, abs=1e-3)


def test_counts_are_equal_and_subsets_seeded(digits, digit_features):
    train, test = digits["train"][0], digits["test"][0]
    assert quality(train, train, test, 17, digit_features).count == 447
    assert quality(train[:300], train, test, 17, digit_features).count == 300
    first = quality(train, train, test, 17, digit_features, count=100, seed=1)
    assert first.count == 100
    assert first == quality(train, train, test, 17, digit_features, count=100, seed=1)
    assert first.frechet != quality(train, train, test, 17, digit_features, count=100, seed=2).frechet
    with pytest.raises(Unavailable, match="too few"):
        quality(train[:3], train, test, 17, digit_features)


def test_a_subset_has_no_image_twice():
    images = np.arange(200, dtype=np.uint8).reshape(200, 1)
    drawn = subset(images, 50, 3)
    assert len(set(drawn.ravel().tolist())) == 50
    np.testing.assert_array_equal(subset(images, 200, 3), images)


def pixels(hash: str = "0" * 16) -> Features:
    """Any embedding will do: here the pixels themselves."""
    return Features("pixels", hash, 64, None, lambda images: images.reshape(len(images), -1).astype(np.float64), None)


def test_lines_are_cached_by_what_they_depend_on(digits, cache, monkeypatch):
    train, test = digits["train"][0][:100], digits["test"][0]
    drawn = []

    def only_noise(train, levels, count, seed):  # in an instant
        drawn.append(count)
        images = np.random.default_rng(seed).integers(levels, size=(count, 8, 8, 1))
        return {"noise": images.astype(np.uint8)}

    def measured(features=None, **changes):
        options = {"count": 60, "draws": 2, "progress": False} | changes
        return reference_lines(train, test, 17, features or pixels(), **options)

    monkeypatch.setattr("ddpm_jax.metrics.quality.reference_samples", only_noise)
    first = measured()
    others = [measured(seed=1), measured(neighbours=2), measured(pixels("1" * 16))]
    assert first not in others
    assert drawn == [120] * 4
    for path in (cache / "reference_lines").iterdir():
        path.write_bytes(path.read_bytes()[:-20])
    assert measured() == first  # a damaged file is measured again
    assert measured() == first
    assert len(drawn) == 5


def test_figures_go_into_json(digits, lines):
    train, test = digits["train"][0], digits["test"][0]
    result = quality(train[:50], train, test, 17, pixels())
    assert json.loads(json.dumps(result.to_dict())) == dataclasses.asdict(result)
    content = json.loads(json.dumps(lines.to_dict()))
    assert content["lines"]["train"]["features"] == "digits"


def test_variance_tells_how_far_samples_are_an_average(digits):
    test = digits["test"][0]
    average = np.broadcast_to(test.mean(axis=0).round().astype(np.uint8), test.shape)
    assert variance_ratio(test, test) == 1
    assert variance_ratio(average, test) == 0
    half = np.random.default_rng(0).permutation(len(test))[: len(test) // 2 * 2].reshape(2, -1)
    pairs = test[half].astype(float).mean(axis=0)  # of independent images: half the variance
    assert variance_ratio(pairs.round().astype(np.uint8), test) == pytest.approx(0.5, abs=0.08)
