"""The measurement runs and counts what it says it counts."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = {"causal_transformer": {"channels": 32, "depth": 1, "heads": 2}}


@pytest.fixture
def script(monkeypatch):
    path = ROOT / "experiments" / "speed" / "sampling_cost.py"
    spec = importlib.util.spec_from_file_location("sampling_cost", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "sampling_cost", module)  # where dataclasses look themselves up
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "NETWORKS", TINY)
    monkeypatch.setattr(module.starting, "start_jax", lambda: None)
    return module


def test_growth_of_powers_is_their_exponent(script):
    sites = [16, 64, 144, 256]
    assert script.growth(sites, [7 * n**1.5 for n in sites]) == pytest.approx((1.5, 1.5))
    fitted, last = script.growth(sites, [100 * n + n**2 for n in sites])
    assert 1 < fitted < last < 2


@pytest.mark.slow
def test_a_step_counts_the_products_of_its_matrices(script):
    """Of one token: qkv, projection, MLP and output by hand; the rest (norms, softmax, draws) is some more."""
    case = script.Case("causal_transformer", "cached", 4, 1)
    channels, sites = 32, 16
    products = 2 * (channels * (3 + 1 + 4 + 4) * channels + channels * 16 + 2 * sites * channels)
    assert products < case.step_flops(3) < 1.5 * products
    assert case.flops() == sites * case.step_flops(0)
    whole = script.Case("causal_transformer", "naive", 4, 1)
    assert sites * products < whole.step_flops(3) < 1.5 * sites * products


def test_kinds_of_pixels_come_as_often_as_they_do(script):
    # (row, column) = (0, 0), (0, 1), (0, 2) and (1, 0), (1, 1), (1, 2)
    assert script.kinds_of_steps(4, 1) == {0: 2, 1: 4, 2: 2, 4: 2, 5: 4, 6: 2}
    assert script.kinds_of_steps(4, 0) == {0: 4, 1: 12}
    assert script.kinds_of_steps(4, -1) == {0: 16}
    assert sum(script.kinds_of_steps(12, 2).values()) == 144


@pytest.mark.slow
def test_figures_are_printed_and_written(script, tmp_path, capsys):
    output = tmp_path / "out.json"
    script.main(["--sides=2,4", "--repeats=1", "--networks=causal_transformer", f"--output={output}"])
    result = json.loads(output.read_text())
    assert [(cost["network"], cost["sampler"], cost["side"]) for cost in result["costs"]] == [
        (network, sampler, side) for network in TINY for sampler in ("cached", "naive") for side in (2, 4)
    ]
    assert all(cost["flops"] > 0 and cost["seconds"] > 0 for cost in result["costs"])
    growth = {(row["network"], row["sampler"]): row["flops"] for row in result["growth"]}
    assert growth["causal_transformer", "naive"] > growth["causal_transformer", "cached"] + 0.7
    said = capsys.readouterr().out
    assert "cost ~ sites^p" in said
    assert result["device"]["kind"] in said


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--sides=4", "two even sides"),
        ("--sides=4,7", "two even sides"),
        ("--sides=4,x", "whole numbers"),
        ("--networks=unet", "not one of"),
        ("--repeats=0", "less than 1"),
    ],
)
def test_wrong_options_are_refused_in_one_line(script, option, words):
    with pytest.raises(script.UserError, match=words):
        script.main([option])
