"""The commands to sample and evaluate: what they refuse, and what samples depend on."""

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddpm_jax import evaluate
from ddpm_jax.config.base import base
from ddpm_jax.data import load
from ddpm_jax.errors import UserError
from ddpm_jax.sample import forget_options
from ddpm_jax.sample import main as sample


@pytest.fixture
def copied(trained, tmp_path, monkeypatch):
    """A working folder with a copy of the trained run in `run`."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "run")


@pytest.fixture
def untrained(tmp_path, tiny_config, monkeypatch):
    """A working folder with, in `run`, the config of an unconditional model and no checkpoint."""
    tiny_config.model.conditions = ()
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("run/config.json").write_text(json.dumps(tiny_config.to_dict()))


@pytest.fixture(scope="module")
def captioned(tmp_path_factory, trained):
    """A working folder with a finished run on captions, `run`, and one on labels, `labelled`; files of prompts."""
    from ddpm_jax.train import train
    from tests.conftest import _tiny_config

    config, folder = _tiny_config(), tmp_path_factory.mktemp("captioned")
    config.data.name = "still_lifes"
    config.data.splits.train, config.data.splits.validation, config.data.splits.test = (
        "train[:24]",
        "train[:8]",
        "test[:8]",
    )
    config.model.conditions = ("text",)
    config.model.text_channels, config.model.text_depth = 8, 1
    config.optimizer.warmup, config.optimizer.learning_rate = 0, 0.1  # after two steps words make a difference
    train(config, folder / "run")
    shutil.copytree(trained, folder / "labelled")
    (folder / "good.txt").write_text("a red apple\n\n  a green pear on the left  \n")
    (folder / "unknown.txt").write_text("a red apple\na red zeppelin\n")
    (folder / "empty.txt").write_text("\n  \n")
    (folder / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    return folder


def told(main, *words):
    """The lines of a refusal that has written nothing."""
    before = sorted(map(str, Path().rglob("*")))
    with pytest.raises(UserError) as caught:
        main(list(words))
    assert sorted(map(str, Path().rglob("*"))) == before
    return str(caught.value).split("\n")


def refused(main, *words):
    """The line of a refusal for one thing."""
    (line,) = told(main, *words)
    return line


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("main", [sample, evaluate.main])
def test_folders_without_a_run(main):
    assert refused(main, "--workdir=missing").startswith("missing holds no run (config.json is missing)")
    Path("empty").mkdir()
    assert refused(main, "--workdir=empty").startswith("empty holds no run (config.json is missing)")
    assert refused(main, "--workdir=run") == "run: no checkpoint here; train first, or put a copy of checkpoints/ back"
    Path("run/checkpoints").mkdir()
    assert refused(main, "--workdir=run").endswith(
        "run: no checkpoint here; train first, or put a copy of checkpoints/ back"
    )
    Path("run/checkpoints/10/state").mkdir(parents=True)
    assert "no checkpoint can be read (step 10: " in refused(main, "--workdir=run")
    Path("run/config.json").write_text("{")
    assert refused(main, "--workdir=run").startswith("run/config.json cannot be read: ")


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("--count=0", "--count: 0 is less than 1"),
        ("--count=-5", "--count: -5 is less than 1"),
        ("--count=x", "argument --count: invalid int value: 'x'"),
        ("--count=9999999999", "--count: 9999999999 is not below 2^31"),
        ("--count", "argument --count: expected one argument"),
        ("--seed=-1", "--seed: -1 is less than 0"),
        ("--seed=4294967296", "--seed: 4294967296 is not below 2^32"),
        ("--steps=-1", "--steps: -1 is less than 0"),
        ("--steps=0", "--steps: a Gaussian process has no number of steps"),
        ("--steps=1001", "--steps: 1001 is more than config.process.steps 1000"),
        ("--eta=-2", "--eta: -2.0 is less than 0"),
        ("--eta=nan", "--eta: nan is not finite"),
        ("--guidance=3", "--guidance: guidance needs a network that is told something: set config.model.conditions"),
        ("--ema=0.5", "--ema: 0.5 is not one of config.optimizer.ema (0.9,)"),
        ("--label=3", "--label: this model was trained with nothing, and not with label"),
        ("--output=run", "--output: run is a folder; give a path without ending, such as run/mine"),
        (
            "--output=run/config.json/x",
            "--output: run/config.json/x cannot be written (run/config.json is not a folder)",
        ),
        ("--output=" + "x" * 300 + "/x", "--output: "),
        ("--cout=3", "unknown option --cout; did you mean '--count'?"),
        ("stray", "'stray' is not an option"),
        ("--config.seed=3", "unknown option --config.seed"),
    ],
)
def test_wrong_options(word, line):
    lines = told(sample, "--workdir=run", word)
    assert any(one.startswith(line) for one in lines), lines
    assert not any("config.sampler" in one for one in lines)  # they name the options of this command


@pytest.mark.usefixtures("copied")
def test_samples_depend_on_seed_and_row_alone(capsys):
    sample(["--workdir=run", "--count=3", "--seed=1", "--output=new/three"])
    assert "3 samples of step 2, 2 network evaluations each" in capsys.readouterr().out
    sample(["--workdir=run", "--count=6", "--seed=1"])
    sample(["--workdir=run", "--count=3", "--seed=2"])
    few, many, other = (np.load(f"{name}.npz") for name in ("new/three", "run/samples/seed1", "run/samples/seed2"))
    assert many["images"].shape == (6, 8, 8, 1)
    assert many["images"].dtype == np.uint8
    assert many["images"].max() <= 16
    assert many["labels"].tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(few["images"], many["images"][:3])
    assert (few["images"] != other["images"]).any()
    assert len({image.tobytes() for image in many["images"]}) == 6
    with Image.open("new/three.png") as image:
        assert image.size == (2 * 34 + 2, 2 * 34 + 2)


@pytest.mark.usefixtures("copied")
def test_labels_and_steps(capsys):
    sample(["--workdir=run", "--count=2", "--label=7", "--steps=1", "--eta=0", "--ema=0", "--best", "--output=x"])
    assert np.load("x.npz")["labels"].tolist() == [7, 7]
    assert "1 network evaluations each" in capsys.readouterr().out
    assert refused(sample, "--workdir=run", "--label=10") == "--label: 10 is not one of 0 ... 9"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--prompt=a red zeppelin"], "--prompt: the word 'zeppelin' is in no caption of training"),
        (["--prompt=a red aple"], "--prompt: the word 'aple' is in no caption of training; did you mean 'apple'?"),
        (["--prompt=a red apple, a pear"], "--prompt: the word ',' is in no caption of training"),  # one prompt
        (["--prompt=a pear", "--prompt=a zeppelin"], "--prompt: the word 'zeppelin' is in no caption of training"),
        (["--prompt="], "--prompt: the caption is empty; leave it out to draw without one"),
        (["--prompt=" + "red " * 11], "--prompt: 'red red red"),
        (["--prompt=a red apple", "--prompts=good.txt"], "--prompts: --prompt is given too; give one of them"),
        (["--prompts=nowhere.txt"], "--prompts: nowhere.txt cannot be read ("),
        (["--prompts=run"], "--prompts: run cannot be read ("),
        (["--prompts=bytes.txt"], "--prompts: bytes.txt cannot be read ("),
        (["--prompts=empty.txt"], "--prompts: empty.txt has no line with words"),
        (["--prompts=unknown.txt"], "--prompts: the word 'zeppelin' is in no caption of training"),
        (["--negative=a pear"], "--negative: it needs a model of text and a --guidance other than 1"),
        (["--negative=a zeppelin", "--guidance=2"], "--negative: the word 'zeppelin' is in no caption of training"),
        (["--negative=", "--guidance=2"], "--negative: the caption is empty"),
        (["--label=3"], "--label: this model was trained with text, and not with label"),
    ],
    ids=lambda words: " ".join(words)[:40] if isinstance(words, list) else "",
)
def test_what_a_model_of_captions_cannot_be_told(captioned, monkeypatch, words, line):
    monkeypatch.chdir(captioned)
    assert refused(sample, "--workdir=run", "--count=2", *words).startswith(line)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--prompt=a red apple"], "--prompt: this model was trained with label, and not with text"),
        (["--prompts=good.txt"], "--prompt: this model was trained with label, and not with text"),
        (["--negative=a pear", "--guidance=2"], "--negative: it needs a model of text"),
        (["--label=-1"], "--label: -1 is not one of 0 ... 9"),
        (["--label=10"], "--label: 10 is not one of 0 ... 9"),
        (["--label=x"], "--label: ['x'] is no class; give one of 0 ... 9"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_what_a_model_of_labels_cannot_be_told(captioned, monkeypatch, words, line):
    monkeypatch.chdir(captioned)
    assert refused(sample, "--workdir=labelled", "--count=2", *words).startswith(line)


def test_prompts_are_what_the_samples_are_told(captioned, monkeypatch):
    monkeypatch.chdir(captioned)
    text = load("still_lifes").description.conditions["text"]
    common = ["--workdir=run", "--seed=3"]
    sample([*common, "--count=3", "--prompts=good.txt", "--output=three"])
    sample([*common, "--count=1", "--prompt=A red  apple"])
    sample([*common, "--count=3", "--prompts=good.txt", "--guidance=4", "--negative=a pear", "--output=guided"])
    sample([*common, "--count=3", "--prompts=good.txt", "--guidance=4", "--output=other"])
    sample([*common, "--count=3", "--prompt=a red apple", "--prompt=a green pear on the left", "--output=again"])
    three, one, guided, other, again = (
        np.load(f"{name}.npz") for name in ("three", "run/samples/seed3_promptA-red-apple", "guided", "other", "again")
    )
    words = ["a red apple", "a green pear on the left", "a red apple"]
    for found in (three, guided, other):
        assert [text.words(row) for row in found["texts"]] == words
    np.testing.assert_array_equal(one["texts"], text.rows(["a red apple"]))
    np.testing.assert_array_equal(one["images"], three["images"][:1])
    assert (guided["images"] != other["images"]).any()
    for name in ("texts", "images"):
        np.testing.assert_array_equal(again[name], three[name])


def test_nothing_that_is_told_is_what_the_test_images_are_told(captioned, monkeypatch):
    monkeypatch.chdir(captioned)
    sample(["--workdir=run", "--count=10", "--output=own"])
    captions = load("still_lifes").split("test").rows(range(8))["condition"]["text"]
    np.testing.assert_array_equal(np.load("own.npz")["texts"], captions[[*range(8), 0, 1]])


def test_a_prompt_is_never_a_path(captioned, monkeypatch):
    monkeypatch.chdir(captioned)
    before = {path for path in captioned.rglob("*") if path.parent != captioned / "run" / "samples"}
    (captioned / "up.txt").write_text("a pear")
    sample(["--workdir=run", "--count=1", "--prompts=../" + captioned.name + "/up.txt"])
    (captioned / "up.txt").unlink()
    assert {path for path in captioned.rglob("*") if path.parent != captioned / "run" / "samples"} == before


@pytest.mark.usefixtures("copied")
def test_a_disk_that_is_full(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ddpm_jax.files.write_bytes", full)
    line = refused(sample, "--workdir=run", "--count=1")
    assert line == "--output: run/samples/seed0 cannot be written (No space left on device)"


def test_another_sampler_forgets_what_it_does_not_read():
    """An NCSN run can be sampled by DDIM: its corrector's steps mean nothing there."""
    config = base()
    config.sampler.corrector_steps, config.sampler.churn = 5, 10.0
    for name, kept in (("first_order", (1, 10.0)), ("dpm_2m", (1, 0.0)), ("annealed_langevin", (5, 0.0))):
        changed = copy.deepcopy(config)
        changed.sampler.name = name
        forget_options(changed)
        assert (changed.sampler.corrector_steps, changed.sampler.churn) == kept
