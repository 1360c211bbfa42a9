"""A stopped and resumed run equals an uninterrupted one bit for bit, and a finished one stays as it is."""

import json

import jax
import numpy as np
import pytest

from ddpm_jax import runs
from ddpm_jax.config.base import base
from ddpm_jax.devices.plan import Plan
from ddpm_jax.experiment import make
from ddpm_jax.pipeline import screen
from ddpm_jax.pipeline.job import abstract_state
from ddpm_jax.train import train
from ddpm_jax.training.checkpoints import Checkpoints


def tiny(placement):
    config = base()
    config.data.batch = 8
    config.data.placement = placement
    config.model.channels = 8
    if placement == "device":  # the U-Net's programs are the ones that are hard to repeat
        config.model.multipliers = (1,)
        config.model.blocks = 1
        config.model.attention_resolutions = ()
        config.model.groups = 4
    else:
        config.model.name = "dit"
        config.model.patch = 4
        config.model.depth = 1
        config.model.heads = 1
    config.sampler.steps = 2
    config.sampler.ema = 0.9
    config.optimizer.ema = (0.9, 0.99)
    config.optimizer.warmup = 3
    config.optimizer.schedule = "cosine"
    config.training.steps = 9
    config.training.dispatch = 3
    config.training.log_every = 2
    config.training.save_every = 4
    config.evaluation.at_end = False
    config.evaluation.validation_images = 8
    config.logging.wandb = "off"
    return config


def final_state(config, folder):
    from ddpm_jax.data import load

    experiment = make(config, load("digits").description)
    with Checkpoints(folder / runs.CHECKPOINTS, Plan(), read_only=True) as checkpoints:
        return checkpoints.restore(abstract_state(experiment)).state


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["device", "host"])
def test_resumed_equals_uninterrupted(tmp_path, monkeypatch, placement):
    config = tiny(placement)
    train(config, tmp_path / "whole")

    def stop(self, progress, loss):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(screen.Screen, "milestone", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "parts")
    assert int(final_state(config, tmp_path / "parts").step) == 4
    train(config, tmp_path / "parts")

    whole, parts = (final_state(config, tmp_path / name) for name in ("whole", "parts"))
    assert int(whole.step) == int(parts.step) == 9
    for (path, ours), (_, theirs) in zip(
        jax.tree.leaves_with_path(parts), jax.tree.leaves_with_path(whole), strict=True
    ):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs), err_msg=jax.tree_util.keystr(path))
    moved = [
        not np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (whole.params, whole.ema["0.99"])), strict=True)
    ]
    assert any(moved)  # the averages are not just copies

    rows = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "parts")
    ]
    steps = [[row["step"] for row in each if "loss" in row] for each in rows]
    assert steps[0] == steps[1] == [2, 4, 6, 8, 9]
    losses = [[row["loss"] for row in each if "loss" in row] for each in rows]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)
    assert (tmp_path / "parts" / "samples.png").read_bytes() == (tmp_path / "whole" / "samples.png").read_bytes()

    train(config, tmp_path / "parts")  # finished: nothing changes
    again = final_state(config, tmp_path / "parts")
    assert all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (parts, again)), strict=True))
