"""Floor lines are proper distributions, exact, and as good as they are known to be on real digits."""

import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from sklearn.datasets import load_digits

from ddpm_jax.errors import Unavailable
from ddpm_jax.likelihood.baselines import floor_lines, independent_pixels, raster_logistic_regression

LINES = [independent_pixels, raster_logistic_regression]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the test's own."""
    monkeypatch.setenv("DDPM_JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def digits():
    images = load_digits().images.astype(np.uint8)[..., None]
    return images[:1000], images[1350:]


def probability(line, train, image, levels):
    """p(x), from the figure for one image."""
    figure = line(train, image[None], levels)
    return 2 ** (-figure.value * figure.dimensions)


@pytest.mark.parametrize("levels", [2, 3])
@pytest.mark.parametrize("line", LINES)
def test_probabilities_of_all_images_sum_to_one(line, levels):
    train = np.random.default_rng(0).integers(levels, size=(20, 3, 1)).astype(np.uint8)
    train[:, 2] = train[:, 0]  # something to regress on
    train[:, 1] = 0  # a value that never changes
    every = np.array(list(itertools.product(range(levels), repeat=3)), np.uint8)[..., None]
    assert sum(probability(line, train, image, levels) for image in every) == pytest.approx(1, abs=1e-12)


def test_independent_pixels_count():
    rng = np.random.default_rng(1)
    train = rng.integers(4, size=(11, 2, 2, 1)).astype(np.uint8)
    test = rng.integers(5, size=(7, 2, 2, 1)).astype(np.uint8)  # level 4 is never seen
    bits = []
    for image in test:
        p = Fraction(1)
        for place in itertools.product(range(2), range(2)):
            count = Counter(int(other[place][0]) for other in train)[int(image[place][0])]
            p *= Fraction(2 * count + 1, 2 * 11 + 5)
        bits.append(-math.log2(p) / 4)
    figure = independent_pixels(train, test, 5)
    assert figure.value == pytest.approx(np.mean(bits))
    assert figure.standard_error == pytest.approx(np.std(bits, ddof=1) / math.sqrt(7))
    assert (figure.kind, figure.images, figure.dimensions, figure.dequantisation) == ("exact", 7, 4, "none")


def test_the_regression_learns_what_follows_from_the_values_before():
    first = np.random.default_rng(2).integers(2, size=(500, 1)).astype(np.uint8)
    train, test = np.hstack([first, 1 - first])[:400], np.hstack([first, 1 - first])[400:]
    assert independent_pixels(train, test, 2).value == pytest.approx(1, abs=0.01)
    figure = raster_logistic_regression(train, test, 2)
    assert 0.5 < figure.value < 0.6  # one bit for the first of two values, little for the second


@pytest.mark.parametrize("line", LINES)
def test_levels_that_training_never_shows_are_possible(line):
    train = np.random.default_rng(3).integers(2, size=(50, 4, 1)).astype(np.uint8)
    train[:, 1] = 1
    figure = line(train, np.full((2, 4, 1), 7, np.uint8), 8)
    assert 4 < figure.value < 20


@pytest.mark.parametrize("line", LINES)
def test_values_above_the_levels_are_an_error(line):
    with pytest.raises(ValueError, match="hold a 3"):
        line(np.zeros((4, 2), np.uint8), np.full((2, 2), 3, np.uint8), 3)


@pytest.mark.slow
def test_lines_of_the_digits(digits):
    lines = floor_lines(*digits, 17, progress=False)
    assert list(lines) == ["independent_pixels", "raster_logistic_regression"]
    assert lines["independent_pixels"].value == pytest.approx(2.397, abs=0.005)
    assert lines["raster_logistic_regression"].value == pytest.approx(2.024, abs=0.02)
    assert all(0 < line.standard_error < 0.03 and line.kind == "exact" for line in lines.values())
    assert {(line.images, line.dimensions) for line in lines.values()} == {(447, 64)}


def test_lines_come_from_the_cache_for_the_same_data_only(cache):
    rng = np.random.default_rng(4)
    train, test = (rng.integers(3, size=(size, 2, 2)).astype(np.uint8) for size in (30, 10))
    lines = floor_lines(train, test, 3, progress=False)
    (path,) = (cache / "floors").iterdir()
    stamp, content = path.stat().st_mtime_ns, path.read_bytes()
    assert floor_lines(train, test, 3, progress=False) == lines
    assert path.stat().st_mtime_ns == stamp
    path.write_bytes(content.replace(b"0.", b"1."))  # other figures: measured again
    assert floor_lines(train, test, 3, progress=False) == lines
    assert path.read_bytes() == content
    assert floor_lines(train, test[:5], 3, progress=False) != lines
    assert len(list((cache / "floors").iterdir())) == 2


def test_one_image_is_enough_and_none_is_said(cache):
    images = np.random.default_rng(6).integers(3, size=(4, 2, 2)).astype(np.uint8)
    for train, test in ((images[:1], images), (images, images[:1]), (images[:1], images[:1])):
        lines = floor_lines(train, test, 3, progress=False)
        assert all(0 < line.value < 10 for line in lines.values())
        again = floor_lines(train, test, 3, progress=False)
        np.testing.assert_equal(
            {name: vars(line) for name, line in again.items()}, {n: vars(x) for n, x in lines.items()}
        )
    with pytest.raises(Unavailable, match="no training images"):
        floor_lines(images[:0], images, 3, progress=False)
    with pytest.raises(Unavailable, match="no test images"):
        floor_lines(images, images[:0], 3, progress=False)


@pytest.mark.parametrize(("shape", "levels"), [((129,), 4), ((4,), 33)])
def test_the_regression_is_offered_for_small_images_of_few_levels(shape, levels):
    images = np.random.default_rng(5).integers(4, size=(6, *shape)).astype(np.uint8)
    assert list(floor_lines(images, images, levels, progress=False)) == ["independent_pixels"]
