"""Figures at a run's end: none is lost for a fault beside it, and what cannot be had says why."""

import functools
import shutil

import numpy as np
import pytest

from ddpm_jax import data, evaluate, runs
from ddpm_jax.data import Dataset, Source
from ddpm_jax.errors import Busy, Incomplete, UserError
from ddpm_jax.evaluation import drawing, figures
from ddpm_jax.files import read_record
from ddpm_jax.metrics.features import load_features
from ddpm_jax.metrics.quality import reference_lines
from ddpm_jax.runs import locks
from ddpm_jax.runs.book import Book
from ddpm_jax.train import train

FEW = [
    f"--config.evaluation.{words}"
    for words in ("samples=8", "likelihood_images=4", "likelihood_groups=2", "curve=(1,)")
]
"""What makes an evaluation short."""


@pytest.fixture
def config(tiny_config):
    tiny_config.evaluation.at_end = True
    tiny_config.evaluation.samples = 8
    tiny_config.evaluation.likelihood_images = 4
    tiny_config.evaluation.likelihood_groups = 2
    tiny_config.evaluation.curve = (1,)
    return tiny_config


def take(images, labels, indices):
    return images[indices], {"label": labels[indices]}


@pytest.fixture
def given(monkeypatch):
    """`given(train=40, test="train", ...)`: the digits with splits of so many images, or the same as another."""
    whole = data.load("digits")

    def make(labels=None, **sizes):
        arrays = {}
        for name, size in {"train": 40, "validation": 8, "test": 20, **sizes}.items():
            images, known = whole.split(name).arrays()
            arrays[name] = arrays[size] if isinstance(size, str) else (images[:size], known["label"][:size])
        if labels is not None:
            arrays = {name: (images, np.full_like(known, labels)) for name, (images, known) in arrays.items()}
        sources = {
            name: Source(whole.description, len(pair[1]), functools.partial(take, *pair))
            for name, pair in arrays.items()
        }
        monkeypatch.setattr(data, "load", lambda *_: Dataset(whole.description, sources))

    return make


def result_of(folder):
    return read_record(folder / "result.json")


@pytest.mark.slow
def test_a_test_split_equal_to_the_training_split(config, given, tmp_path, capsys):
    """There are no perfect samples to compare with, for all are test images: that line is null, the rest is there."""
    config.evaluation.samples = 1000
    given(test="train")
    train(config, tmp_path / "run")
    result = result_of(tmp_path / "run")
    assert result["finished"] is True
    assert result["quality"]["samples"]["frechet"] > 0
    assert result["quality"]["references"]["train"] is None
    assert result["quality"]["references"]["noise"]["frechet"] > 0
    assert result["quality"]["frechet_against_train_line"] is None
    assert "quality.references.train" in result["not_computed"]
    assert result["likelihood"]["test"]["value"] == pytest.approx(result["likelihood"]["train"]["value"])
    assert "quality.references.train is not computed: only 0 training images" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("conditions", [(), ("label",)])
def test_images_whose_labels_nobody_knows(config, given, tmp_path, conditions):
    config.model.conditions = conditions
    config.evaluation.features = "trained"
    given(labels=data.load("digits").description.labels)
    train(config, tmp_path / "run")
    result = result_of(tmp_path / "run")
    assert result["not_computed"] == {}
    assert result["quality"]["features"]["name"] == "random-cnn"


@pytest.mark.slow
@pytest.mark.parametrize(("split", "size"), [("test", 3), ("test", 1), ("train", 3)])
def test_too_few_images_are_refused_before_anything_is_written(config, given, tmp_path, split, size):
    given(**{split: size})
    with pytest.raises(UserError, match=rf"^config.evaluation.samples: it needs 4 images, and the split '{split}'"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    config.evaluation.samples = config.evaluation.likelihood_images = 0
    train(config, tmp_path / "run")
    assert result_of(tmp_path / "run")["finished"] is True
    assert not any((tmp_path / "run" / "samples").glob("*"))


@pytest.fixture(scope="module")
def evaluated(trained, tmp_path_factory):
    """A finished run with its figures."""
    folder = tmp_path_factory.mktemp("evaluated") / "run"
    shutil.copytree(trained, folder)
    evaluate.main([f"--workdir={folder}", *FEW])
    return folder


@pytest.mark.parametrize("broken", ["likelihood_of", "floor_lines", "quality", "sampler", "references"])
def test_a_figure_that_fails_takes_no_other_with_it(evaluated, tmp_path, monkeypatch, broken):
    shutil.copytree(evaluated, tmp_path / "run")
    keys = {
        "likelihood_of": {"likelihood.train", "likelihood.test"},
        "floor_lines": {"likelihood.floors"},
        "quality": {"quality", "curve.own.1"},
        "sampler": {"sampling", "quality", "curve.own.1"},
        "references": {"quality.references"},
    }[broken]

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(
        "ddpm_jax.evaluation.drawing.sampler" if broken == "sampler" else f"{figures.__name__}.{broken}", fail
    )
    if broken == "quality":
        monkeypatch.setattr("ddpm_jax.evaluation.curves.quality", fail)
    with pytest.raises(Incomplete, match=r"could not be computed.*out of memory.*the others are kept"):
        evaluate.main([f"--workdir={tmp_path / 'run'}", *FEW])
    result = result_of(tmp_path / "run")
    assert set(result["not_computed"]) == keys
    assert result["finished"] is False
    there = {
        "likelihood.test": result["likelihood"].get("test"),
        "likelihood.floors": result["likelihood"].get("floors"),
        "quality": (result["quality"] or {}).get("samples"),
        "quality.references": (result["quality"] or {}).get("references"),
        "sampling": result["sampling"],
    }
    lost = {key for key, value in there.items() if not value}
    assert lost == {key for key in there if any(key == name or key.startswith(f"{name}.") for name in keys)}
    (before,) = result["before"]
    whole = result_of(evaluated)
    assert {key: before[key] for key in ("likelihood", "quality", "curve")} == {
        key: whole[key] for key in ("likelihood", "quality", "curve")
    }


@pytest.mark.slow
def test_pictures_that_fail_are_drawn_by_the_same_command(config, given, tmp_path, monkeypatch):
    config.evaluation.pictures, config.evaluation.at_end = True, False
    given()

    def fail(*_, **__):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(drawing, "draw_pictures", fail)
        with pytest.raises(Incomplete, match=r"pictures could not be computed.*out of memory"):
            train(config, tmp_path / "run")
    assert result_of(tmp_path / "run")["finished"] is False
    train(config, tmp_path / "run")  # the fault has gone away
    result = result_of(tmp_path / "run")
    assert (result["not_computed"], result["finished"]) == ({}, True)
    assert (tmp_path / "run" / "film.png").is_file()


def test_two_do_not_evaluate_a_run_at_once(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    with locks.hold(tmp_path / "run"), pytest.raises(Busy, match="is in use by"):
        evaluate.main([f"--workdir={tmp_path / 'run'}", *FEW])
    assert "evaluated" not in result_of(tmp_path / "run")


def test_what_a_figure_is_refused_for_is_its_reason_and_no_fault():
    """A damaged checkpoint of a history, say, will not read the next time either."""

    def refuse():
        raise UserError("step 3: no checkpoint can be read")

    book = Book()
    assert book.attempt("history.3", refuse) is None
    assert book.reasons == {"history.3": "step 3: no checkpoint can be read"}
    book.check("again")


@pytest.mark.slow
def test_figures_are_written_as_they_come(config, given, tmp_path, monkeypatch):
    given()

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(figures, "quality", stop)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run")
    result = result_of(tmp_path / "run")
    assert result["likelihood"]["test"]["value"] > 0
    assert result["sampling"]["samples"] == 8


@pytest.mark.slow
def test_a_finished_run_is_evaluated_with_other_settings(trained, tmp_path, monkeypatch):
    """By `evaluate` with overrides, which training itself does not see."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "run")
    words = ["--workdir=run", "--config.evaluation.samples=6", "--config.evaluation.likelihood_images=2"]
    evaluate.main([*words, "--config.evaluation.likelihood_groups=2", "--config.sampler.steps=1"])
    result = result_of(tmp_path / "run")
    assert result["quality"]["count"] == 6
    assert result["likelihood"]["test"]["images"] == 2
    assert result["sampling"]["network_evaluations_per_sample"] == 1
    assert result["config"]["sampler"]["steps"] == 1
    assert runs.read_config(tmp_path / "run").sampler.steps == 2
    assert result["finished"] is True
    with pytest.raises(UserError, match=r"config.evaluation.raw: this is train's"):
        evaluate.main([*words, "--config.evaluation.raw=True"])
    with pytest.raises(UserError, match=r"config.data.batch: what the run was trained with is not changed"):
        evaluate.main([*words, "--config.data.batch=4"])
    with pytest.raises(UserError, match=r"config.sampler.step: no such key; did you mean 'sampler.steps'"):
        evaluate.main([*words, "--config.sampler.step=4"])


def test_the_line_of_training_images_is_drawn_apart_from_the_reference():
    """With a test split of the training images a draw of the same seed would be the reference itself, at distance 0."""
    images = data.load("digits").split("train").arrays()[0][:300]
    features = load_features(images, None, 17, 0)
    same = reference_lines(images, images, 17, features, count=40, draws=5, progress=False)
    other = reference_lines(images[:150], images[150:], 17, features, count=40, draws=5, progress=False)
    assert same.lines["train"].frechet > 0.7 * other.lines["train"].frechet
    none = reference_lines(images, images, 17, features, count=200, draws=2, progress=False)
    assert set(none.reasons) == {"train"}
    assert "train" not in none.lines
