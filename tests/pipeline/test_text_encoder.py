"""A run whose captions a frozen encoder reads: trained, drawn from and read back, and what is wrong in a line."""

import shutil

import numpy as np
import pytest

import ddpm_jax as dj
from ddpm_jax.config import base
from ddpm_jax.errors import UserError
from ddpm_jax.experiment import check_data
from ddpm_jax.sample import main as sample

CAPTIONS = ["a red apple", "two limes left of a green apple", "a green apple"] * 8
SETTINGS = {"training.steps": 2, "data.batch": 4, "evaluation.pictures": False, "evaluation.validation_images": 4}


@pytest.fixture
def folder(tmp_path, write_encoder):
    return write_encoder(tmp_path / "encoder")


def model_of(data):
    description, prediction = data.description, dj.GaussianPrediction("v", time="thousand")
    process = dj.Gaussian(dj.schedules.VP(), description.values)
    conditioning = dj.models.Conditioning(description.conditions, text_channels=8, text_depth=1)
    options = {"channels": 8, "depth": 1, "heads": 1, "patch": 4}
    numbers = prediction.numbers(description.channels, description.levels)
    network = dj.models.make("dit", description.shape, numbers, conditioning, **options)
    losses, times = dj.objectives.losses, dj.objectives.times
    return dj.Model(description, process, network, prediction, losses.V(), times.Uniform(t_min=1e-5))


@pytest.mark.slow
def test_a_model_made_in_python_is_trained_and_draws_what_it_is_told(folder, tmp_path):
    images = np.random.RandomState(0).randint(0, 256, (24, 8, 8, 1)).astype(np.uint8)
    whole = {"train": (images, {"text": CAPTIONS}), "validation": (images[:6], {"text": CAPTIONS[:6]})}
    data = dj.data.encoded(dj.from_arrays(whole), folder)
    sampling = dj.Sampling(dj.FirstOrder(eta=1.0), np.array([1, 0.5, 0]))
    run = dj.train(model_of(data), data, tmp_path / "run", SETTINGS, sampling)
    assert run.step == 2
    assert run.sample(2, text="two red apples left of a lime").shape == (2, 8, 8, 1)  # in no picture of training
    moved = shutil.move(folder, tmp_path / "moved")
    again = dj.data.encoded(dj.from_arrays(whole), moved)
    back = dj.load_run(tmp_path / "run", model=model_of(again), dataset=again, sampling=sampling)
    prompts = ["two red apples left of a lime", "a lime"]
    np.testing.assert_array_equal(back.sample(2, text=prompts), run.sample(2, text=prompts))
    with pytest.raises(UserError, match="longest caption"):
        run.sample(1, text="two red apples left of two green limes")


@pytest.fixture
def config(folder):
    """Of still lifes, most of whose words this encoder does not know."""
    config = base.still_lifes()
    config.data.splits.update(train="train[:16]", validation="validation[:8]", test="test[:8]")
    config.model.text_encoder = str(folder)
    config.model.update(name="dit", patch=8, channels=8, depth=1, heads=1, text_channels=8, text_depth=1)
    config.sampler.update(steps=2, batch=4)
    config.evaluation.update(at_end=False, prompts=("a red apple",))
    config.logging.wandb = "off"
    return config


@pytest.mark.slow
def test_a_run_knows_its_encoder_wherever_that_lies(config, folder, tmp_path, write_encoder):
    settings = {**SETTINGS, "optimizer.warmup": 0, "training.save_every": 2}
    run = dj.train(config, workdir=tmp_path / "run", settings=settings)
    assert run.sample(2, text="two green limes").shape == (2, 16, 16, 3)
    assert (tmp_path / "run" / "progress" / "step_2.png").is_file()
    moved = shutil.move(folder, tmp_path / "moved")
    with pytest.raises(UserError, match=r"model\.text_encoder: .*no such folder.*--text_encoder") as caught:
        dj.load_run(tmp_path / "run")
    assert "\n" not in str(caught.value)
    other = write_encoder(tmp_path / "other", seed=1)
    with pytest.raises(UserError, match=r"text\.encoder is \w+, was \w+") as caught:
        dj.load_run(tmp_path / "run", text_encoder=other)
    assert "\n" not in str(caught.value)
    expected = run.sample(2, seed=3, text="two green limes")
    again = dj.load_run(tmp_path / "run", text_encoder=moved)
    np.testing.assert_array_equal(again.sample(2, seed=3, text="two green limes"), expected)
    words = [f"--workdir={tmp_path / 'run'}", "--count=2", "--seed=3", "--prompt=two green limes"]
    with pytest.raises(UserError, match=r"text\.encoder is \w+, was \w+"):
        sample([*words, f"--text_encoder={other}"])
    sample([*words, f"--text_encoder={moved}"])
    (file,) = (tmp_path / "run" / "samples").glob("*.npz")
    np.testing.assert_array_equal(np.load(file)["images"], expected)
    with pytest.raises(UserError, match=r"text\.encoder is \w+, was \w+"):
        dj.train(config, workdir=tmp_path / "run", settings={**settings, "model.text_encoder": str(other)})
    gone_on = dj.train(config, workdir=tmp_path / "run", settings={**settings, "model.text_encoder": str(moved)})
    assert gone_on.step == 2 and dj.load_run(tmp_path / "run").step == 2  # it knows the new place


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.conditions": (), "sampler.guidance": 1.0}, r"text_encoder.*told no text"),
        ({"data.name": "digits", "model.conditions": ("label",), "evaluation.prompts": ()}, r"text_encoder.*no text"),
        ({"model.text_encoder": "nowhere"}, r"text_encoder.*nowhere.*no such folder"),
        ({"model.name": "ddpmpp", "model.attention_resolutions": ()}, r"words of a text"),
        ({"evaluation.prompts": ("a red apple " * 9,)}, r"evaluation\.prompts.*pieces"),
        ({"data.flip": True}, r"data\.flip"),
    ],
)
def test_what_does_not_go_with_an_encoder_is_one_line(config, tmp_path, changes, words):
    if "data.name" in changes:
        config.data.splits.update(train="", validation="", test="")
    with pytest.raises(UserError, match=words) as caught:
        dj.train(config, workdir=tmp_path / "run", settings={**SETTINGS, **changes})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_encoder_whose_words_the_network_is_not_told_is_one_line(config, folder):
    images, captions = np.zeros((2, 16, 16, 3), np.uint8), ["a lime", "two limes"]
    kinds = dj.conditions.Conditions((("label", dj.conditions.Label(2)), ("text", dj.conditions.Text.of(captions))))
    whole = dj.from_arrays({"train": (images, {"label": [0, 1], "text": captions})}, conditions=kinds)
    description = dj.data.encoded(whole, folder).description
    config.model.conditions, config.evaluation.prompts = ("label",), ()
    with pytest.raises(UserError, match=r"^config\.model\.text_encoder: .*told no text"):
        check_data(config, description)
    config.model.conditions = ("label", "text")
    check_data(config, description)
