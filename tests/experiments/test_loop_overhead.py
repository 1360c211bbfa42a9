"""The measurement runs and counts what it says it counts; its figure is for a quiet machine."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = {
    "model.channels": 8,
    "model.multipliers": "(1,)",
    "model.blocks": 1,
    "model.attention_resolutions": "()",
    "model.groups": 4,
    "data.batch": 8,
    "evaluation.validation_images": 8,
    "training.dispatch": 2,
    "training.save_every": 8,
    "logging.wandb": "off",
}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("loop_overhead", ROOT / "experiments" / "speed" / "loop_overhead.py")
    assert spec and spec.loader
    module = sys.modules["loop_overhead"] = importlib.util.module_from_spec(
        spec
    )  # where dataclasses look themselves up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["loop_overhead"]


def test_only_checkpoints_that_are_due_count_and_validation_does_not(script):
    pair = script.Pair("AB", bare=10.0, loop=14.0, validation=2.0, checkpoints=1.5, saves=3, saves_due=1.0)
    assert pair.ratio == pytest.approx(1.1)  # 10.5 s of loop and one checkpoint of 0.5 s


@pytest.mark.slow
def test_pairs_alternate_and_their_parts_are_told(script, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(script.starting, "start_jax", lambda: None)
    overrides = [f"--config.{key}={value}" for key, value in SMALL.items()]
    script.main(["--steps=4", "--pairs=2", f"--output={tmp_path / 'out.json'}", *overrides])
    result = json.loads((tmp_path / "out.json").read_text())
    assert [pair["order"] for pair in result["pairs"]] == ["BA", "AB"]
    for pair in result["pairs"]:
        assert pair["saves"] == 2
        assert pair["saves_due"] == 0.5
        assert 0 < pair["validation"] + pair["checkpoints"] < pair["loop"]
        assert pair["bare"] > 0
    said = capsys.readouterr().out
    assert "median ratio" in said
    assert "target at most 1.03" in said
    assert result["device"]["kind"] in said


def test_no_pairs_is_an_error_in_one_line(script):
    with pytest.raises(script.UserError, match="--pairs: 0"):
        script.main(["--pairs=0"])
