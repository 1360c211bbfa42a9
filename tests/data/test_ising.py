"""The known law: what is said of it is so, and the images are draws of it."""

import numpy as np
import pytest

from ddpm_jax.data import ising, load
from ddpm_jax.errors import UserError

LAW = ising.ising()
ROWS, COLUMNS = 3, 4


def around(row, column):
    near = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
    return [(r, c) for r, c in near if 0 <= r < ROWS and 0 <= c < COLUMNS]


def test_odds_of_one_site_are_those_of_its_neighbours():
    """p(x_i = 1 | rest)/p(x_i = -1 | rest) = exp(2 J sum of its neighbours): the definition, one site at a time."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        image = rng.integers(2, size=(ROWS, COLUMNS))
        row, column = rng.integers(ROWS), rng.integers(COLUMNS)
        up, down = image.copy(), image.copy()
        up[row, column], down[row, column] = 1, 0
        field = sum(2 * image[place] - 1 for place in around(row, column))
        odds = LAW[tuple(up.ravel())] / LAW[tuple(down.ravel())]
        np.testing.assert_allclose(odds, np.exp(2 * ising.COUPLING * field), rtol=1e-12)
    np.testing.assert_allclose(LAW.sum(), 1, rtol=1e-12)


def test_half_the_sites_are_independent_given_the_others():
    """Those of one colour of a chessboard: their joint conditional is the product of the single ones."""
    black = [row * COLUMNS + column for row in range(ROWS) for column in range(COLUMNS) if (row + column) % 2 == 0]
    joint = LAW / LAW.sum(axis=tuple(black), keepdims=True)
    product = np.ones_like(LAW)
    for site in black:
        others = tuple(set(black) - {site})
        product = product * LAW.sum(axis=others, keepdims=True) / LAW.sum(axis=tuple(black), keepdims=True)
    np.testing.assert_allclose(joint, product, rtol=1e-9)


def test_images_are_draws_of_the_law():
    """Means of sites and of products of neighbours are those of the table, within four standard errors."""
    images = load("ising").split("train").arrays()[0]
    assert images.shape == (2**20, ROWS, COLUMNS, 1)
    signs = images[..., 0].astype(float) * 2 - 1
    states = np.indices(LAW.shape).reshape(LAW.ndim, -1).T.reshape(-1, ROWS, COLUMNS) * 2.0 - 1

    def compare(of):
        exact = LAW.reshape(-1) @ of(states)
        spread = np.sqrt((LAW.reshape(-1) @ of(states) ** 2 - exact**2) / len(signs))
        assert np.all(np.abs(of(signs).mean(axis=0) - exact) < 4 * spread + 1e-12)

    compare(lambda x: x.reshape(len(x), -1))
    compare(lambda x: (x[:, :, 1:] * x[:, :, :-1]).reshape(len(x), -1))
    compare(lambda x: (x[:, 0] * x[:, 2]).reshape(len(x), -1))


def test_entropy_is_the_mean_information_of_the_draws():
    images = load("ising").split("test").arrays()[0]
    information = -np.log(LAW[tuple(images.reshape(len(images), -1).T)])
    assert abs(information.mean() - ising.entropy(LAW)) < 4 * information.std() / np.sqrt(len(images))


def test_splits_differ_and_are_the_same_for_everybody():
    first, again = load("ising"), load("ising", splits={"train": "train[:50]", "validation": "test", "test": "test"})
    images = first.split("train").arrays()[0]
    np.testing.assert_array_equal(again.split("train").arrays()[0], images[:50])
    np.testing.assert_array_equal(again.split("validation").arrays()[0], first.split("test").arrays()[0])
    assert not np.array_equal(images[:4096], first.split("validation").arrays()[0])
    assert first.description.known_law and first.law is LAW


@pytest.mark.parametrize("words", ["training", "train[5:]", "train[:0]", "train[:10%]", "test[:9999999]"])
def test_other_words_are_refused(words):
    with pytest.raises(UserError, match="give one of train of 1,048,576") as caught:
        load("ising", splits={"train": words, "validation": "validation", "test": "test"})
    assert "\n" not in str(caught.value)
