"""Editing measured: holes are where they are said to be, figures tell the right from the wrong, a run is measured."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from ddpm_jax.data import still_lifes

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "editing"


@pytest.fixture
def halves(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import halves

    yield halves
    sys.modules.pop("halves")


@pytest.fixture
def painted(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    sys.modules.pop("still_lifes", None)
    import still_lifes as painted

    yield painted
    sys.modules.pop("still_lifes")


def test_a_distance_is_that_of_the_known_half_and_of_pairs(halves):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(500, 2, 4, 1))
    assert abs(halves.distance(images) - np.sqrt(2)) < 0.05
    images[:, :, :2] *= 100  # what is known does not count
    assert abs(halves.distance(images) - np.sqrt(2)) < 0.05
    assert halves.distance(images[:1].repeat(3, 0)) == 0
    assert halves.known_half(images).mean() == 0.5


@pytest.mark.slow
def test_a_folder_of_runs_is_measured(halves, trained, tmp_path, capsys):
    halves.main([f"--runs={trained.parent}", f"--output={tmp_path / 'found.json'}"])
    rows = json.loads((tmp_path / "found.json").read_text())
    assert {row["method"] for row in rows} >= {"replacement", "tmpd"}
    measured = [row for row in rows if "frechet" in row]
    assert measured and all(0 <= row["class"] <= 1 and row["diversity"] > 0 for row in measured)
    assert "Frechet" in capsys.readouterr().out


def test_a_square_hides_its_thing_and_little_else(painted):
    made = painted.scenes(40, 2, np.random.default_rng(0))
    assert all(len(scene.groups) == 2 and not still_lifes.held_out(scene) for scene in made)
    images = still_lifes.draw_scene(made, 0, range(40), 16)
    readings = still_lifes.read(images)
    last = [reading.things[-1] for reading in readings]
    known = painted.about(last, images.shape)
    hidden = np.where(known, images, still_lifes.draw_scene(made, 0, range(40), 16)[:, :1, :1])  # the ground
    left = [len(reading.things) for reading in still_lifes.read(hidden.astype(np.uint8))]
    assert np.mean(np.array(left) < [len(reading.things) for reading in readings]) > 0.9
    assert 0.5 < known.mean() < 0.85


def test_readings_are_alike_to_themselves_and_not_to_others(painted):
    made = painted.scenes(60, 1, np.random.default_rng(1))
    readings = still_lifes.read(still_lifes.draw_scene(made, 0, range(60), 16))
    assert all(painted.alike(one, one) == (True, True) for one in readings)
    others = [painted.alike(one, other) for one, other in zip(readings, readings[1:] + readings[:1], strict=True)]
    kind, place = np.mean(others, axis=0)
    assert kind < 0.4 and place < 0.5
