"""Someone comes with a folder of pictures: trained on, moved, sampled without them, evaluated with them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ddpm_jax import evaluate
from ddpm_jax.errors import UserError
from ddpm_jax.sample import main as sample
from ddpm_jax.train import train

FORMATS = ("png", "jpg", "webp", "gif", "bmp", "tif")


@pytest.fixture
def pictures(tmp_path):
    """60 pictures of discs and of squares, of all sizes and formats, and what systems leave beside them."""
    generator = np.random.default_rng(0)
    for number in range(60):
        kind, (width, height) = ("disc", "square")[number % 2], generator.integers(12, 60, 2).tolist()
        dark, light = (tuple(generator.integers(low, low + 100, 3).tolist()) for low in (0, 150))
        image = Image.new("RGB", (width, height), dark)
        radius = min(width, height) // 3
        box = (width // 2 - radius, height // 2 - radius, width // 2 + radius, height // 2 + radius)
        canvas = ImageDraw.Draw(image)
        (canvas.ellipse if kind == "disc" else canvas.rectangle)(box, fill=light)
        path = tmp_path / "pictures" / kind / f"{number}.{FORMATS[number % len(FORMATS)]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    (tmp_path / "pictures" / ".DS_Store").write_bytes(b"x")
    return tmp_path / "pictures"


@pytest.fixture
def config(pictures, tiny_config):
    tiny_config.data.name, tiny_config.data.dir, tiny_config.data.size = "folder", str(pictures), 8
    tiny_config.training.steps = 4
    return tiny_config


@pytest.mark.slow
def test_a_run_on_ones_own_pictures(config, pictures, tmp_path, capsys):
    folder = tmp_path / "run"
    config.evaluation.pictures = True
    train(config, folder)
    said = capsys.readouterr().out
    assert "8x8, RGB, 2 classes" in said and "splits by content" in said
    assert json.loads((folder / "data.json").read_text())["description"]["class_names"] == ["disc", "square"]
    assert Image.open(folder / "samples.png").width > 100

    pictures.rename(tmp_path / "moved")
    sample([f"--workdir={folder}", "--count=4", "--label=square", "--seed=1"])
    found = np.load(folder / "samples" / "seed1_labelsquare.npz")
    assert found["labels"].tolist() == [1] * 4 and found["class_names"].tolist() == ["disc", "square"]
    sample([f"--workdir={folder}", "--count=4", "--label=1", "--seed=1"])
    np.testing.assert_array_equal(np.load(folder / "samples" / "seed1_label1.npz")["images"], found["images"])
    with pytest.raises(UserError, match="--label: 'sqare' is no class; did you mean 'square'"):
        sample([f"--workdir={folder}", "--label=sqare"])

    few = ("samples=4", "likelihood_images=4", "likelihood_groups=2")
    words = [f"--workdir={folder}", *(f"--config.evaluation.{word}" for word in few)]
    with pytest.raises(UserError, match=r"config\.data\.dir: there is no folder"):
        evaluate.main(words)
    evaluate.main([*words, f"--data_dir={tmp_path / 'moved'}"])
    result = json.loads((folder / "result.json").read_text())
    assert np.isfinite(result["likelihood"]["test"]["value"]) and result["not_computed"] == {}
    (tmp_path / "moved" / "disc" / "0.png").unlink()
    with pytest.raises(UserError, match="the data are not those that it was trained on: splits"):
        evaluate.main([*words, f"--data_dir={tmp_path / 'moved'}"])


def test_a_run_in_python_knows_its_classes_without_the_pictures(config, pictures, tmp_path):
    import ddpm_jax as dj

    folder = tmp_path / "run"
    train(config, folder)
    shutil.rmtree(pictures)
    run = dj.load_run(folder)
    named, numbered = (run.sample(2, label=label) for label in ("square", 1))
    np.testing.assert_array_equal(named, numbered)
    with pytest.raises(UserError, match=r"config\.data\.dir"):
        run.dataset.split("test")


def test_mistakes_are_told_before_anything_is_written(config, tmp_path):
    for key, value, words in (
        ("dir", str(tmp_path / "none"), "config.data.dir: there is no folder"),
        ("size", 0, "config.data.size: the pictures in"),
        ("background", "wihte", "config.data.background: 'wihte' is no colour"),
    ):
        wrong = config.copy_and_resolve_references()
        wrong.data[key] = value
        with pytest.raises(UserError, match=words):
            train(wrong, tmp_path / "run")
        assert not Path(tmp_path / "run").exists()
