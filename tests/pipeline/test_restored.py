"""Runs of an earlier version: sampled, evaluated and gone on with as if they were of this one."""

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from ddpm_jax import data, evaluate, runs
from ddpm_jax.config.identity import earlier_marks
from ddpm_jax.devices.plan import Plan
from ddpm_jax.errors import UserError
from ddpm_jax.experiment import make
from ddpm_jax.pipeline.job import abstract_state
from ddpm_jax.reporting import ledger
from ddpm_jax.sample import main as sample
from ddpm_jax.train import train
from ddpm_jax.training import names
from ddpm_jax.training.checkpoints import Checkpoints

EARLIER = "an earlier version of ddpm_jax saved checkpoints here"

LATER_KEYS = ("accumulate", "skip_bad", "save_minutes")


def of_then(config):
    """A kept config as versions had it in which the label was the one condition."""
    model = {key: value for key, value in config["model"].items() if not key.startswith(("conditions", "text_"))}
    return {**config, "model": {**model, "conditional": True}}


def rewritten(path, change):
    values = json.loads(path.read_text())
    del values["checksum"]
    path.write_text(json.dumps(change(values)))


@pytest.fixture
def earlier(trained, tmp_path, tiny_config, save_as_earlier, monkeypatch):
    """A working folder with the trained run in `run`, and in `old` as an earlier version would have left it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "run")
    old = tmp_path / "old"
    old.mkdir()
    experiment = make(tiny_config, data.load("digits").description)
    with Checkpoints(trained / runs.CHECKPOINTS, Plan(), read_only=True) as checkpoints:
        known = checkpoints.restore(abstract_state(experiment))
    facts = known.facts
    save_as_earlier(old / runs.CHECKPOINTS, names.before(known.state), facts.elapsed, facts.validation_loss)

    def earlier_config(config):
        training = {key: value for key, value in config["training"].items() if key not in LATER_KEYS}
        return of_then({**config, "training": training})

    for name in (runs.CONFIG, runs.RESULT, runs.METRICS):
        shutil.copy(trained / name, old)
    rewritten(old / runs.CONFIG, earlier_config)
    rewritten(old / runs.RESULT, lambda result: {**result, "config": earlier_config(result["config"])})
    return old


@pytest.mark.slow
@pytest.mark.usefixtures("earlier")
def test_samples_are_those_of_the_run():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        sample(["--workdir=run", "--count=4", "--output=new"])
    with pytest.warns(UserWarning, match=EARLIER):
        sample(["--workdir=old", "--count=4", "--output=old_too"])
    np.testing.assert_array_equal(*(np.load(f"{name}.npz")["images"] for name in ("new", "old_too")))


@pytest.mark.usefixtures("earlier")
def test_figures_come_into_its_result():
    few = ("samples=0", "likelihood_images=4", "likelihood_groups=2")
    with pytest.warns(UserWarning, match=EARLIER):
        evaluate.main(["--workdir=old", *(f"--config.evaluation.{word}" for word in few)])
    result = ledger.read(Path("old")).result
    assert result["likelihood"]["test"]["value"] > 0
    assert (result["steps"], result["finished"]) == (2, True)


def test_the_run_goes_on(earlier, tiny_config):
    rows = (earlier / runs.METRICS).read_text()
    with pytest.warns(UserWarning) as said:
        train(tiny_config, earlier)
    assert [str(one.message).count(EARLIER) for one in said] == [1]
    assert (earlier / runs.METRICS).read_text() == rows
    assert runs.finished(earlier, tiny_config)


def test_the_run_goes_on_only_where_its_config_is_known(earlier, tiny_config):
    """Its checkpoints do not tell it, as those of this version do."""
    (earlier / runs.CONFIG).write_text("{")
    with (
        pytest.warns(UserWarning, match="is damaged and will be written anew"),
        pytest.raises(UserError, match="checkpoints of an earlier version do not tell their config; put a copy"),
    ):
        train(tiny_config, earlier)
    assert (earlier / runs.CONFIG).read_text() == "{"


@pytest.mark.slow
def test_a_conditional_run_of_then_goes_on_as_it_would_have(tmp_path, tiny_config):
    """From the middle, bit for bit; its checkpoint knows its config by the keys of then."""
    tiny_config.training.save_every = 1
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(tiny_config, whole)
    abstract = abstract_state(make(tiny_config, data.load("digits").description))
    with Checkpoints(whole / runs.CHECKPOINTS, Plan(), read_only=True) as checkpoints:
        half, end = (checkpoints.restore(abstract, step) for step in (1, 2))
    parts.mkdir()
    for name in (runs.CONFIG, "data.json", runs.METRICS):
        shutil.copy(whole / name, parts)
    rewritten(parts / runs.CONFIG, of_then)
    with Checkpoints(parts / runs.CHECKPOINTS, Plan()) as checkpoints:
        mark = earlier_marks(tiny_config)[-1]
        checkpoints.save(names.before(half.state), replace(half.facts, config=mark))
    with pytest.warns(UserWarning, match=EARLIER):
        train(tiny_config, parts)
    with Checkpoints(parts / runs.CHECKPOINTS, Plan(), read_only=True) as checkpoints:
        assert checkpoints.steps == [1, 2]
        ours = checkpoints.restore(abstract).state
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(end.state), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    assert (parts / runs.METRICS).read_text().count("\n") == (whole / runs.METRICS).read_text().count("\n")
