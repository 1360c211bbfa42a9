"""The table of all members: what it shows is what the runs' results hold, and what is missing is told."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddpm_jax.errors import UserError

FILE = Path(__file__).parents[2] / "experiments" / "families" / "table.py"
spec = importlib.util.spec_from_file_location("families_table", FILE)
assert spec is not None and spec.loader is not None
table = importlib.util.module_from_spec(spec)
spec.loader.exec_module(table)


def figure(value, kind, **more):
    return {
        "value": value,
        "standard_error": 0.01,
        "kind": kind,
        "images": 447,
        "dequantisation": "none",
        "draws": 1,
        **more,
    }


def result(bits, ode=None):
    quality = {"frechet": 12.5, "precision": 0.7, "recall": 0.8, "copies": 0.0, "variance": 0.95}
    return {
        "config": {"sampler": {"name": "heun"}},
        "seed": 0,
        "steps": 3000,
        "parameters": 252545,
        "git_commit": "abc",
        "evaluated": {"git_commit": "def"},
        "device": {"kind": "cpu"},
        "likelihood": {
            "test": figure(bits, "bound"),
            **({"ode": figure(ode, "ode", dequantisation="uniform")} if ode else {}),
            "floors": {"independent_pixels": figure(2.398, "exact")},
        },
        "quality": {"samples": quality, "references": {"train": {**quality, "frechet": 12.8}}},
        "sampling": {"network_evaluations_per_sample": 35.0, "weights": "ema 0.995"},
    }


@pytest.fixture
def runs(tmp_path):
    configs = tmp_path / "digits"
    configs.mkdir()
    (configs / "sweep_rates.py").write_text("")  # many runs, and no member
    for name, content in {"b": result(3.1, 4.2), "a": result(1.9), "c": None}.items():
        (configs / f"{name}.py").write_text("")
        folder = tmp_path / "runs" / f"digits_{name}"
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(content or {"steps": 3000}))
    return tmp_path


def run(runs, *more):
    table.main([f"--configs={runs / 'digits'}", f"--runs={runs / 'runs'}", *more])


def test_the_best_bound_comes_first_and_every_figure_is_there(runs, capsys):
    run(runs)
    lines = capsys.readouterr().out.splitlines()
    members = [line.split("|")[1].strip() for line in lines if line.startswith("|")]
    assert members == ["member", members[1], "a", "b", "*independent pixels*", "*train*"]
    cells = [cell.strip() for cell in lines[2].split("|")]
    assert cells[2:5] == ["1.900 +- 0.010", "bound", "-"]
    for cell in ("3.100 +- 0.010", "4.200 +- 0.010", "12.50", "0.700", "0.800", "0.000", "35", "3,000", "252,545"):
        assert cell in lines[3]
    assert lines[-1] == "no figures yet: c"
    assert len({len(line) for line in lines if line.startswith("|")}) == 1  # columns line up


def test_what_is_kept_is_data_with_its_kind(runs, monkeypatch):
    monkeypatch.setattr(table, "HERE", runs)
    run(runs, "--keep", "--only=b")
    kept = json.loads((runs / "digits.json").read_text())["b"]
    assert kept["likelihood"]["kind"] == "bound" and kept["ode"]["dequantisation"] == "uniform"
    assert kept["evaluations"] == 35 and (kept["trained_at_commit"], kept["evaluated_at_commit"]) == ("abc", "def")
    assert (runs / "digits.md").read_text().startswith("| member")
    assert not (runs / "digits.png").exists()  # nobody has drawn samples yet
    for name, level in (("a", 16), ("b", 0)):
        folder = runs / "runs" / f"digits_{name}" / "samples"
        folder.mkdir()
        np.savez(folder / "seed0.npz", images=np.full((30, 8, 8, 1), level, np.uint8))
    run(runs, "--keep")
    drawn = np.asarray(Image.open(runs / "digits.png"))
    assert drawn.shape == (2 * 34 + 2, 20 * 34 + 2)
    assert (drawn[10, 10], drawn[44, 10]) == (255, 0)  # the best member's row is the first


@pytest.mark.parametrize(
    ("words", "line"), [("--only=d", "--only: there is no d"), ("--only=c", "--runs: no member"), ("--oly=a", "--oly")]
)
def test_wrong_input_is_one_line(runs, words, line):
    with pytest.raises(UserError) as caught:
        run(runs, words)
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_a_model_without_a_likelihood_comes_last(runs, capsys):
    point = result(0.0)
    del point["likelihood"]["test"]
    del point["quality"]["samples"]["variance"]
    (runs / "runs" / "digits_a" / "result.json").write_text(json.dumps(point))
    run(runs)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert lines[2].split("|")[1].strip() == "b"
    assert [cell.strip() for cell in lines[3].split("|")][1:5] == ["a", "-", "-", "-"]
    assert [cell.strip() for cell in lines[3].split("|")][9] == "-"
