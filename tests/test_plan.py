"""The command that plans: its words, its file, and what cannot be, in one line."""

import json
from pathlib import Path

import pytest

from ddpm_jax import plan
from ddpm_jax.errors import UserError

ROOT = Path(__file__).parents[1]
CONFIG = f"--config={ROOT}/configs/digits/ddpm.py"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")


def test_an_instant_plan_is_words_and_a_file(capsys):
    plan.main([CONFIG, "--topology=v5litepod-8", "--instant", "--output=plans/a.json"])
    words = capsys.readouterr().out
    for part in ("v5e:2x4", "8 devices of 17.2 GB", "parameters", "moments", "FLOPs", "plans/a.json"):
        assert part in words
    kept = json.loads(Path("plans/a.json").read_text())
    assert kept["fits"] and kept["topology"]["devices"] == 8 and kept["parameters"] == 252_545


@pytest.mark.slow
def test_all_members_of_a_sweep(capsys):
    plan.main([f"--config={ROOT}/configs/digits/sweep_learning_rate.py", "--topology=h100:8", "--instant", "--sweep"])
    assert capsys.readouterr().out.count("devices of 80.0 GB") == 6
    assert len(json.loads(Path("plan.json").read_text())) == 6


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((CONFIG, "--topology=v5e"), "'v5e' is no hardware"),
        ((CONFIG, "--topology=v5e:2x2", "--what=trian"), "--what: 'trian' is none; did you mean 'train'"),
        ((CONFIG, "--topology=v5e:16x16", "--instant"), "config.data.batch: a global batch of 64 does not divide"),
        ((CONFIG, "--topology=v5e:2x2", "--output=."), "--output: . cannot be written"),
        (("--topology=v5e:2x2",), "--config is missing"),
        ((CONFIG, "--topology=l4:8"), "--topology: l4 is not compiled for, only a100, a100-80gb, h100, h200"),
        ((CONFIG, "--topology=cpu:none"), "'cpu:none' is no hardware"),
        ((CONFIG,), "the following arguments are required: --topology"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(words, line):
    with pytest.raises(UserError) as caught:
        plan.main(list(words))
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)
    assert not list(Path().iterdir())
