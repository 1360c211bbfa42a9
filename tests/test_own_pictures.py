"""Someone comes with a folder of pictures: trained on, moved, sampled without them, evaluated with them.

And with 200 of all sizes, formats and kinds, some of which are no pictures: with classes, and with captions.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ddpm_jax import data, evaluate
from ddpm_jax.errors import UserError
from ddpm_jax.sample import main as sample
from ddpm_jax.train import main as train_command
from ddpm_jax.train import train

FORMATS = ("png", "jpg", "webp", "gif", "bmp", "tif")
KINDS = ("disc", "square")
CONFIG = Path(__file__).parents[1] / "configs" / "digits" / "ddpm.py"
TINY = {
    "model.name": "dit",
    "model.patch": 4,
    "model.channels": 8,
    "model.depth": 1,
    "model.heads": 1,
    "data.batch": 8,
    "training.steps": 2,
    "sampler.steps": 2,
    "evaluation.at_end": False,
    "evaluation.pictures": False,
    "logging.wandb": "off",
}


def drawn(kind, generator):
    """A disc or a square in the middle, lighter than what is around it."""
    width, height = generator.integers(12, 60, 2).tolist()
    dark, light = (tuple(generator.integers(low, low + 100, 3).tolist()) for low in (0, 150))
    image = Image.new("RGB", (width, height), dark)
    radius = min(width, height) // 3
    box = (width // 2 - radius, height // 2 - radius, width // 2 + radius, height // 2 + radius)
    canvas = ImageDraw.Draw(image)
    (canvas.ellipse if kind == "disc" else canvas.rectangle)(box, fill=light)
    return image


def saved(image, odd, path):
    """The picture in a file, or of a kind that is rarer, by a number."""
    if odd == 0:
        image.putalpha(200)
        image.save(path.with_suffix(".png"))
    elif odd == 1:
        image.convert("P").save(path.with_suffix(".png"), transparency=0)
    elif odd == 2:
        inverted = Image.eval(image, lambda level: 255 - level)
        image.save(path.with_suffix(".gif"), save_all=True, append_images=[inverted])
    elif odd == 3:
        Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(path.with_suffix(".png"))
    elif odd == 4:
        image.convert("CMYK").save(path.with_suffix(".jpg"))
    elif odd == 5:
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(path.with_suffix(".jpg"), exif=exif)
    elif odd == 6:
        image.convert("1").save(path.with_suffix(".tif"))
    else:
        image.save(path)


@pytest.fixture
def two_hundred(tmp_path):
    """A function that draws 200 pictures, seven of twenty rare and twelve in all no pictures, in folders of classes or
    with captions."""

    def write(captions):
        generator, root, rows = np.random.default_rng(0), tmp_path / "all", []
        for number in range(200):
            kind = KINDS[number % 2]
            path = (root if captions else root / kind) / f"{number:03}.{FORMATS[number % len(FORMATS)]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            saved(drawn(kind, generator), number % 20, path)
            (path,) = path.parent.glob(f"{path.stem}.*")
            content = path.read_bytes()
            if number % 40 in (7, 27):
                path.write_bytes(content[: len(content) // 2] if number % 40 == 7 else b"no picture")
            elif number in (100, 101):
                path.write_bytes(b"")
            rows.append({"file_name": path.name, "text": f"a {kind}"})
        if captions:
            (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
        return root

    return write


def test_of_200_pictures_all_that_are_ones_are_read(two_hundred):
    root = two_hundred(captions=False)
    with pytest.raises(UserError, match=r"^config\.data\.dir: 12 of 200 pictures") as caught:
        data.load("folder", root, None, {"size": 16})
    assert len(str(caught.value).splitlines()) == 1 and "config.data.skip_bad=True" in str(caught.value)
    dataset = data.load("folder", root, None, {"size": 16, "skip_bad": True})
    assert sum(dataset.sizes.values()) == 188 and dataset.description.class_names == KINDS
    for split in dataset.sources:
        images = dataset.split(split).arrays()[0].astype(float)
        corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1]].mean((1, 2))
        assert (images[:, 5:11, 5:11].mean((1, 2, 3)) > corners + 20).all()


@pytest.mark.slow
@pytest.mark.parametrize(("condition", "words"), [("label", "--label=disc"), ("text", "--prompt=a disc")])
def test_one_command_trains_on_them_and_one_samples(condition, words, two_hundred, tmp_path, capsys):
    root = two_hundred(captions=condition == "text")
    given = {**TINY, "data.name": "folder", "data.dir": root, "data.size": 8, "model.conditions": condition}
    command = [f"--config={CONFIG}", *(f"--config.{key}={value}" for key, value in given.items())]
    with pytest.raises(UserError, match="12 of 200 pictures"):
        train_command([*command, f"--workdir={tmp_path / 'run'}"])
    assert not (tmp_path / "run").exists()
    train_command([*command, "--config.data.skip_bad=True", f"--workdir={tmp_path / 'run'}"])
    assert "left out: 12 of 200 pictures" in capsys.readouterr().out
    shutil.rmtree(root)
    sample([f"--workdir={tmp_path / 'run'}", "--count=2", words])
    (found,) = (tmp_path / "run" / "samples").glob("*.npz")
    assert np.load(found)["images"].shape == (2, 8, 8, 3)


@pytest.fixture
def pictures(tmp_path):
    """60 pictures of discs and of squares, of all sizes and formats, and what systems leave beside them."""
    generator = np.random.default_rng(0)
    for number in range(60):
        path = tmp_path / "pictures" / KINDS[number % 2] / f"{number}.{FORMATS[number % len(FORMATS)]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn(KINDS[number % 2], generator).save(path)
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_run_begins_with_the_weights_of_one_on_other_pictures_that_are_gone(tmp_path, tiny_config):
    """Only the weights are wanted, and that the pictures are others is said."""
    generator = np.random.default_rng(3)
    for place in ("old", "new"):
        for kind in KINDS:
            (tmp_path / place / kind).mkdir(parents=True)
            for number in range(30):
                drawn(kind, generator).save(tmp_path / place / kind / f"{number}.png")
    settings = [f"--config.{key}={value}" for key, value in TINY.items()]
    words = [f"--config={CONFIG}", "--config.data.name=folder", "--config.data.size=8", *settings]
    train_command([*words, f"--config.data.dir={tmp_path / 'old'}", f"--workdir={tmp_path / 'a'}"])
    shutil.rmtree(tmp_path / "old")
    place = [f"--config.data.dir={tmp_path / 'new'}", f"--workdir={tmp_path / 'b'}"]
    train_command([*words, *place, f"--from={tmp_path / 'a'}"])
    started = json.loads((tmp_path / "b" / "lineage.json").read_text())["started_from"]
    assert started["run"] == str(tmp_path / "a") and started["step"] == 2
