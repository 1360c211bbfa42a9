"""The whole path of a run in little: trained, told to make room, gone on with, sampled, evaluated, reported on."""

import json

import numpy as np
import pytest

from ddpm_jax import evaluate, report, runs
from ddpm_jax.commands.preemption import Notice
from ddpm_jax.errors import Preempted
from ddpm_jax.sample import main as sample
from ddpm_jax.train import train
from ddpm_jax.training.lines import read_lines


class AfterTwoDispatches(Notice):
    def wanted(self):
        self.asked += 1
        return self.asked > 1


def test_a_run_is_trained_gone_on_with_sampled_evaluated_and_reported_on(tmp_path, tiny_config):
    folder = tmp_path / "runs" / "run"
    tiny_config.training.steps, tiny_config.training.dispatch = 6, 2
    with pytest.raises(Preempted):
        train(tiny_config, folder, notice=AfterTwoDispatches())
    saved = runs.latest_checkpoint(folder)
    assert 0 < saved < 6
    train(tiny_config, folder)
    assert [row["step"] for row in read_lines(folder / "metrics.jsonl") if "loss" in row][-1] == 6
    assert runs.latest_checkpoint(folder) == 6

    sample([f"--workdir={folder}", "--count=4", "--seed=1"])
    assert np.load(folder / "samples" / "seed1.npz")["images"].shape == (4, 8, 8, 1)

    few = ("samples=8", "likelihood_images=4", "likelihood_groups=2")
    evaluate.main([f"--workdir={folder}", *(f"--config.evaluation.{words}" for words in few)])
    result = json.loads((folder / "result.json").read_text())
    assert (result["finished"], result["evaluated"]["step"], result["not_computed"]) == (True, 6, {})
    assert np.isfinite(result["likelihood"]["test"]["value"])
    assert np.isfinite(result["quality"]["samples"]["frechet"])

    report.main([str(tmp_path / "runs")])
    table = (tmp_path / "runs" / "report" / "table.csv").read_text()
    assert f"{result['likelihood']['test']['value']:.3f}" in table
