"""What the progress bar and the rows of a log say of the speed."""

import json
from pathlib import Path
from urllib.parse import unquote

import pytest

from ddpm_jax.pipeline.screen import Screen, linked, speed
from ddpm_jax.training.logging import Log
from ddpm_jax.training.loop import Interval, Progress


def test_speed():
    assert speed(0.0, 1e12, 5, 1.0) == {}
    assert speed(2e9, None, 5, 2.0) == {"flops_per_second": 5e9}
    assert speed(2e9, 1e10, 5, 2.0) == {"flops_per_second": 5e9, "model_flops_utilisation": 0.5}


@pytest.mark.parametrize(
    ("known", "row", "words"),
    [
        ({}, {}, "loss 1.0000, 16 images/s"),
        ({"flops": lambda: 1e9}, {"flops_per_second": 2e9}, "loss 1.0000, 16 images/s"),
        (
            {"flops": lambda: 1e9, "peak": 8e9},
            {"flops_per_second": 2e9, "model_flops_utilisation": 0.25},
            "loss 1.0000, 16 images/s, 25.0 % of peak FLOP/s",
        ),
    ],
)
def test_rows_and_bar(tmp_path, known, row, words):
    log = Log(tmp_path, {})
    display = Screen(log, 8, 10, 0, **known)
    display.report(Interval(4, 1.0, 1.0, 0.1, 2.0, 4), Progress(4, 2.0, 0.4))
    assert display._bar.text.startswith("step 4 of 10 (40 %), ")
    assert display._bar.text.endswith(f" left, {words}")
    display.flush(None, Progress(4, 2.0, 0.4))
    display.close()
    log.close()
    (logged,) = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert logged["images_per_second"] == 16
    assert {key: value for key, value in logged.items() if "flops" in key} == row


@pytest.mark.parametrize("terminal", [True, False])
def test_a_picture_is_a_link_for_a_person_and_a_path_for_a_log(tmp_path, monkeypatch, terminal):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    path = Path("a run/samples.png")
    told = linked(path)
    if not terminal:
        assert told == "a run/samples.png"
        return
    scheme, place = told.split("://")
    assert scheme == "file" and " " not in told
    assert Path(unquote(place)) == tmp_path / path
