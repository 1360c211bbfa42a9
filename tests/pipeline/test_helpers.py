"""Other runs that a sampler asks: found by their folders, refused by name where they do not fit."""

import json
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import ddpm_jax as dj
from ddpm_jax import runs
from ddpm_jax.config.families import classifier
from ddpm_jax.denoisers import Labels
from ddpm_jax.errors import UserError
from ddpm_jax.pipeline.helpers import place
from ddpm_jax.sample import main as sample
from ddpm_jax.train import train
from tests.conftest import _tiny_config


@pytest.fixture(scope="module")
def folders(tmp_path_factory, trained):
    """A working folder with `run` (told the label), `other` (of another seed), `plain` (told nothing), `classifier`."""
    folder = tmp_path_factory.mktemp("helpers")
    shutil.copytree(trained, folder / "run")
    other = _tiny_config()
    other.seed, other.optimizer.warmup, other.optimizer.learning_rate = 1, 0, 0.1
    train(other, folder / "other")
    plain = _tiny_config()
    plain.model.conditions = ()
    train(plain, folder / "plain")
    tells = _tiny_config()
    classifier(tells)
    tells.model.groups, tells.model.multipliers, tells.model.blocks, tells.model.attention_resolutions = 4, (1,), 1, ()
    tells.optimizer.warmup, tells.optimizer.learning_rate, tells.evaluation.at_end = 0, 0.1, True
    train(tells, folder / "classifier")
    return folder


@pytest.fixture
def here(folders, monkeypatch):
    monkeypatch.chdir(folders)


def drawn(*words):
    sample([*words, "--count=3", "--output=drawn"])
    return np.load("drawn.npz")


def refused(*words):
    with pytest.raises(UserError) as caught:
        sample(list(words))
    (line,) = str(caught.value).split("\n")
    return line


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_a_classifier_measures_its_accuracy_and_draws_nothing():
    result = json.loads(Path("classifier/result.json").read_text())
    levels = result["accuracy"]["levels"]
    assert result["accuracy"]["images"] == 447 and result["finished"] is True
    assert [level["t"] for level in levels] == sorted(level["t"] for level in levels) and levels[-1]["t"] == 1
    assert all(0 <= level["value"] <= 1 for level in levels)
    assert "draws no images" in refused("--workdir=classifier")
    run = dj.load_run("classifier")
    with pytest.raises(UserError, match="draws no images"):
        run.sample(2)
    with pytest.raises(ValueError, match="no probability"):
        run.likelihood(np.zeros((1, 8, 8, 1), np.uint8))
    said = run.denoise(jnp.zeros((2, 8, 8, 1)), 0.5)
    assert isinstance(said, Labels) and said.logits.shape == (2, 10)


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_a_classifier_leads_a_model_that_is_told_nothing():
    alone = drawn("--workdir=plain")
    told = drawn("--workdir=plain", "--classifier=classifier", "--classifier_scale=30", "--label=7")
    assert told["labels"].tolist() == [7, 7, 7] and "labels" not in alone
    assert np.any(told["images"] != alone["images"])
    facts = json.loads(str(told["classifier"]))
    assert facts["run"] == "classifier" and facts["step"] == 2 and facts["checksum"] > 0
    quiet = drawn("--workdir=plain", "--classifier=classifier", "--classifier_scale=0")
    assert np.abs(quiet["images"].astype(int) - alone["images"].astype(int)).max() <= 1  # to rounding
    run = dj.load_run("plain")
    with pytest.raises(UserError, match="label"):
        run.sample(2, label=7)


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_a_run_guided_away_from_itself_is_itself():
    alone = drawn("--workdir=run")["images"]
    for words in ("run", "run:2", ":2"):
        same = drawn("--workdir=run", f"--weak={words}", "--guidance=3")
        np.testing.assert_array_equal(same["images"], alone)
    other = drawn("--workdir=run", "--weak=other", "--guidance=3")
    assert np.any(other["images"] != alone)
    known, theirs = (json.loads(str(one["weak"])) for one in (same, other))
    assert known["checksum"] != theirs["checksum"] and theirs["run"] == "other"


def changed(name, **values):
    """A folder whose config differs from that of `run`: what differs is met before anything is read."""
    config = runs.read_config(Path("run"))
    config.update_from_flattened_dict({key.replace("__", "."): value for key, value in values.items()})
    Path(name).mkdir(exist_ok=True)
    Path(name, "config.json").write_text(json.dumps(config.to_dict()))
    return name


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_runs_that_do_not_fit_are_refused_by_name():
    vp = {"process__schedule": "vp", "process__steps": 0, "model__time": "thousand", "model__variance": "fixed_small"}
    changed("vp", **vp, sampler__spacing="uniform")
    for words, reason in (
        ("--weak=vp", "--weak: vp: config.process.schedule is 'vp' there, and here 'ddpm_linear'"),
        ("--weak=plain", "config.model.conditions is () there, and here ('label',)"),
        ("--weak=classifier", "it is a classifier"),
        ("--weak=missing", "--weak: missing holds no run"),
        ("--weak=:1", "step 1 is not kept there; choose from 2"),
        ("--classifier=other", "--classifier: other: it is no classifier"),
    ):
        assert reason in refused("--workdir=run", words, *(["--guidance=2"] if "weak" in words else []))
    assert "set a weight" in refused("--workdir=run", "--weak=other")
    assert "for several conditions" in refused("--workdir=run", "--guidance=label:2,text:3")


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_a_step_of_this_run_is_no_help_before_it_is_trained():
    config = _tiny_config()
    config.sampler.weak, config.sampler.guidance = ":1", 2.0
    with pytest.raises(UserError, match="give it to sample or evaluate"):
        train(config, Path("new"))
    assert not Path("new").exists()


def test_places():
    own = Path("own")
    assert place("runs/a", own) == (Path("runs/a"), None)
    assert place("runs/a:500", own) == (Path("runs/a"), 500)
    assert place(":500", own) == (own, 500)
    assert place("runs/a:b", own) == (Path("runs/a:b"), None)
