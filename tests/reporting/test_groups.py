"""Groups: who is in one, what it is called, and that its interval is Student's."""

import math

import numpy as np
import pytest
from scipy import stats

from ddpm_jax.reporting.groups import estimate, group, line
from ddpm_jax.reporting.ledger import Figure, read


def grouped(*folders):
    return group([read(folder) for folder in folders])


def test_the_interval_is_student_s():
    values = np.random.default_rng(0).normal(3, 2, 5)
    found = estimate([Figure(value, 9.0) for value in values])
    assert found is not None and found.count == 5
    low, high = stats.t.interval(0.95, 4, loc=values.mean(), scale=stats.sem(values))
    np.testing.assert_allclose([found.low, found.high], [low, high], rtol=1e-10)
    by_hand = estimate([Figure(1.0), Figure(3.0)])  # deviation sqrt 2, over sqrt 2, times 12.7062
    assert by_hand is not None and by_hand.value == 2
    assert by_hand.half_width == pytest.approx(12.7062, abs=1e-4)


def test_it_covers_the_truth_as_often_as_it_says():
    draws = np.random.default_rng(1).normal(0, 1, (4000, 3))
    found = [estimate([Figure(value) for value in row]) for row in draws]
    share = np.mean([one.low <= 0 <= one.high for one in found if one])
    assert abs(share - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 4000)


def test_one_seed_has_its_own_standard_error_and_no_band():
    alone = estimate([Figure(2.0, 0.1)])
    assert alone is not None
    assert (alone.value, alone.half_width, alone.count, alone.low) == (2.0, 0.1, 1, 2.0)
    assert estimate([Figure(2.0)]).half_width is None
    assert estimate([]) is None


def test_seeds_are_one_group_and_other_keys_are_not(tmp_path, fabricate):
    rate = "optimizer.learning_rate"
    folders = [fabricate(tmp_path / f"a{seed}", seed=seed, overrides={rate: 1e-3}) for seed in (2, 0, 1)]
    folders += [fabricate(tmp_path / "b", overrides={rate: 1e-4, "evaluation.curve": (4, 8)}, bits=1.0)]
    groups, notes = grouped(*folders)
    assert [one.label for one in groups] == ["learning_rate 0.0001", "learning_rate 0.001"]  # best first
    assert [one.seeds for one in groups] == [[0], [0, 1, 2]]
    assert notes == []
    groups, _ = grouped(
        *folders[:3], fabricate(tmp_path / "c", overrides={rate: 1e-3, "evaluation.curve": (4,)}, seed=7)
    )
    assert [one.seeds for one in groups] == [[0, 1, 2, 7]]  # where the curve is measured changes no other figure


def test_own_pictures_of_two_folders_are_two_data_sets(tmp_path, fabricate):
    places = {"one": "flowers", "two": "elsewhere/birds", "three": "moved/birds/"}
    folders = [
        fabricate(tmp_path / name, overrides={"data.name": "folder", "data.dir": place}, seed=len(name))
        for name, place in places.items()
    ]
    groups, notes = grouped(*folders)
    assert {one.data: one.seeds for one in groups} == {"flowers": [3], "birds": [3, 5]}
    assert notes == []


def test_names_come_first_and_one_name_for_two_configs_is_said(tmp_path, fabricate):
    a = [fabricate(tmp_path / f"a{seed}", seed=seed, name="raster") for seed in (0, 1)]
    b = fabricate(tmp_path / "b", name="raster", overrides={"process.chunk": 4}, bits=3.0)
    c = fabricate(tmp_path / "digits_masked_seed3-0123abcd", overrides={"data.batch": 8, "process.chunk": 2}, bits=4.0)
    groups, notes = grouped(*a, b, c)
    assert [one.label for one in groups] == ["raster (chunk 1)", "raster (chunk 4)", "masked"]
    assert notes == ["raster: 2 configs, kept apart; they differ in process.chunk"]


def test_the_same_seed_twice_counts_once(tmp_path, fabricate):
    a = fabricate(tmp_path / "a", bits=2.0)
    b = fabricate(tmp_path / "b", bits=3.0)
    groups, notes = grouped(a, b)
    assert [len(one.runs) for one in groups] == [1]
    assert groups[0].figure("bits_per_dimension").value == 2
    assert notes == [f"{b} has the config and the seed of {a}; only the latter counts"]


def test_kinds_of_likelihood_are_not_mixed_in_a_ranking(tmp_path, fabricate):
    made = {
        "worst": ("bound", 9.0),
        "good": ("bound", 1.0),
        "none": (None, 0.0),
        "e2": ("exact", 3.0),
        "e1": ("exact", 2.5),
    }
    folders = [fabricate(tmp_path / name, name=name, kind=kind, bits=bits) for name, (kind, bits) in made.items()]
    folders.append(fabricate(tmp_path / "other", name="other", bits=0.1, overrides={"data.name": "mnist"}))
    groups, _ = grouped(*folders)
    assert [one.label for one in groups] == ["e1", "e2", "good", "worst", "none", "other"]
    assert [one.data for one in groups] == ["digits"] * 5 + ["mnist"]


def test_a_line_is_means_where_seeds_agree_on_what_is_the_same(tmp_path, fabricate):
    groups, _ = grouped(*[fabricate(tmp_path / f"a{seed}", seed=seed, name="a") for seed in (0, 1)])
    rows = {0: [(8, 15.0, 2.0), (4, 7.0, 5.0)], 1: [(4, 8.0, 7.0), (8, 16.0, None), (2, 1.0, math.inf)]}
    points = line(groups[0], lambda run: rows[run.seed])
    assert [(point.x, point.y.value, point.y.count) for point in points] == [(7.5, 6.0, 2), (15.0, 2.0, 1)]
    assert points[0].y.spread == pytest.approx(12.7062, abs=1e-4) and points[1].y.spread == 0
