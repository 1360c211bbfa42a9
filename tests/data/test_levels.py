import numpy as np
import pytest

from ddpm_jax import data
from ddpm_jax.conditions import labels
from ddpm_jax.data import Description
from ddpm_jax.data.still_lifes import COLUMNS
from ddpm_jax.errors import UserError


@pytest.fixture(scope="module")
def still_lifes():
    return data.load("still_lifes", splits={"train": "train[:64]", "test": "test[:64]"})


@pytest.mark.parametrize(("before", "after"), [(256, 16), (256, 2), (256, 255), (17, 5), (3, 2)])
def test_each_level_becomes_the_nearest_one(before, after):
    fine = data.from_arrays({"train": np.arange(before, dtype=np.uint8).reshape(-1, 1, 1)}, levels=before)
    coarse = data.coarser(fine, after)
    found = coarse.split("train").arrays()[0].ravel()
    x, grid = np.linspace(-1, 1, before), coarse.description.values
    nearest = np.abs(x[:, None] - grid).min(1)
    np.testing.assert_allclose(np.abs(x - grid[found]), nearest, atol=1e-6)
    assert (found[0], found[-1]) == (0, after - 1)
    assert set(found) == set(range(after))
    assert np.all(np.diff(found.astype(int)) >= 0)


def test_what_stands_beside_the_images_stays(still_lifes):
    coarse = data.coarser(still_lifes, 16)
    assert coarse.sizes == still_lifes.sizes
    assert coarse.description.levels == 16
    assert coarse.description.shape == still_lifes.description.shape
    rows = [3, 1]
    before, after = still_lifes.split("test").rows(rows), coarse.split("test").rows(rows)
    np.testing.assert_array_equal(before["condition"]["text"], after["condition"]["text"])
    np.testing.assert_array_equal(after["row"], rows)
    assert after["image"].max() < 16


def test_its_decoded_copy_is_not_taken_for_that_of_all_levels(still_lifes):
    fine, coarse = still_lifes.split("test"), data.coarser(still_lifes, 16).split("test")
    fine.arrays()
    assert coarse.arrays()[0].max() < 16
    again = data.coarser(data.load("still_lifes", splits={"test": "test[:64]"}), 16).split("test")
    np.testing.assert_array_equal(again.arrays()[0], coarse.arrays()[0])
    assert data.coarser(still_lifes, 8).split("test").arrays()[0].max() < 8


def test_the_oracle_reads_the_pictures_that_the_levels_stand_for(still_lifes):
    coarse = data.coarser(still_lifes, 16)
    rows = coarse.split("train").rows(range(64))
    said = coarse.description.conditions["text"]
    captions = [said.words(row) for row in rows["condition"]["text"]]
    found = coarse.oracle.agreement(rows["image"], captions)
    assert set(COLUMNS) <= set(found) and found["all"] > 0.95
    turned = coarse.oracle.agreement(rows["image"], captions[::-1])
    assert turned["all"] < 0.3


def test_it_is_other_data(still_lifes):
    before, after = (data.fingerprint(one) for one in (still_lifes, data.coarser(still_lifes, 16)))
    assert data.difference(before, after) == "description.levels is 16, was 256"


@pytest.mark.parametrize("levels", [-1, 0, 1, 17, 18, 256])
def test_only_fewer_levels_are_given(levels):
    with pytest.raises(UserError, match="levels"):
        data.coarser(data.load("digits"), levels)


def test_real_values_have_none():
    real = data.Dataset(Description("real", "1", (2, 2, 1), None, labels(2)), {})
    with pytest.raises(UserError, match="real"):
        data.coarser(real, 2)
