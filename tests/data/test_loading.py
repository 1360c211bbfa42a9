import hashlib
import json
import shutil
import time

import numpy as np
import pytest

from ddpm_jax.conditions import labels as classes
from ddpm_jax.data import Description, host_batches, load, prefetch
from ddpm_jax.errors import UserError

PUBLISHED = {  # mean and standard deviation per channel of the training images, scaled to [0, 1]
    "mnist": ([0.1307], [0.3081]),
    "cifar10": ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
}
FACTS = {
    "mnist": (Description("mnist", "3.0.1", (28, 28, 1), 256, classes(10)), (55_000, 5_000, 10_000)),
    "cifar10": (Description("cifar10", "3.0.2", (32, 32, 3), 256, classes(10)), (45_000, 5_000, 10_000)),
}


@pytest.mark.parametrize("name", FACTS)
def test_facts_come_from_the_metadata(name, tfds_dir):
    dataset = load(name, tfds_dir)
    description, sizes = FACTS[name]
    assert dataset.description == description
    assert {split: len(source) for split, source in dataset.sources.items()} == dict(
        zip(("train", "validation", "test"), sizes, strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_pixels_have_the_published_mean_and_deviation(name, tfds_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_dir))
    dataset = load(name, splits={"train": "train"})
    images, conditions = dataset.split("train").arrays()
    pixels = images.reshape(-1, images.shape[-1])
    counts = [np.bincount(channel, minlength=256) for channel in pixels.T]  # exact, and needs no large floats
    level = np.arange(256) / 255
    mean = [(count * level).sum() / count.sum() for count in counts]
    deviation = [np.sqrt((count * level**2).sum() / count.sum() - m**2) for count, m in zip(counts, mean, strict=True)]
    np.testing.assert_allclose(mean, PUBLISHED[name][0], atol=6e-5)
    np.testing.assert_allclose(deviation, PUBLISHED[name][1], atol=6e-5)
    if name == "cifar10":
        np.testing.assert_array_equal(np.bincount(conditions["label"]), [5000] * 10)


def test_validation_is_cut_from_train_and_no_image_is_in_both(tfds_dir):
    dataset = load("cifar10", tfds_dir)
    end = dataset.split("train").rows(range(44_990, 45_000))["image"]
    start = dataset.split("validation").rows(range(10))["image"]
    both = load("cifar10", tfds_dir, {"around": "train[44990:45010]"}).split("around").arrays()[0]
    np.testing.assert_array_equal(np.concatenate([end, start]), both)


def test_host_batches_read_a_stored_set(tfds_dir):
    source = load("cifar10", tfds_dir, {"test": "test[:100]"}).split("test")
    batches = host_batches(source, seed=0, batch=20)
    found = np.concatenate([batch["image"] for batch in prefetch(batches, 0, 5, depth=4, threads=3)])
    np.testing.assert_array_equal(found[20:40], batches[1]["image"])
    images, _ = source.arrays()
    assert sorted(image.tobytes() for image in found) == sorted(image.tobytes() for image in images)


def test_any_set_any_number_of_axes_levels_from_metadata(tiny):
    dataset = load("tiny", tiny.parents[1])
    assert dataset.description == Description("tiny", "1.2.3", (2, 3, 4, 1), 5, classes(3))
    parts = [dataset.split(name).arrays() for name in ("train", "validation", "test")]
    assert [len(conditions["label"]) for _, conditions in parts] == [36, 4, 10]
    images = np.concatenate([images for images, _ in parts])
    labels = np.concatenate([conditions["label"] for _, conditions in parts])
    np.testing.assert_array_equal(images[:, 1, 2, 3, 0], np.arange(50) % 5)
    np.testing.assert_array_equal(labels, np.arange(50) % 3)
    for name in ("tiny:1.2.3", "tiny/1.2.3"):
        assert load(name, tiny.parents[1]).description == dataset.description


def test_the_only_configuration_is_taken_and_the_newest_version(tiny):
    root = tiny.parents[1]
    for version in ("1.9.0", "1.10.0", "incomplete.AB_2.0.0"):
        shutil.copytree(tiny, root / "one" / "small" / version)
    info = root / "one" / "small" / "1.10.0" / "dataset_info.json"
    info.write_text(info.read_text().replace('"version": "1.2.3"', '"version": "1.10.0"'))
    for name in ("one", "one/small"):
        dataset = load(name, root)
        assert (dataset.description.name, dataset.description.version) == ("one/small", "1.10.0")
        assert dataset.split("test").arrays()[1]["label"].shape == (10,)


def test_a_set_without_labels_and_with_its_own_validation(write_set):
    rows = [{"image": np.full((2, 2, 3), i, np.uint8)} for i in range(20)]
    folder = write_set(
        "plain",
        lambda kinds: {"image": kinds.Tensor(shape=(2, 2, 3), dtype=np.uint8)},
        {"train": rows[:15], "validation": rows[15:]},
    )
    dataset = load("plain", folder.parents[1])
    assert (dataset.description.labels, dataset.description.levels) == (0, 256)
    assert {name: len(source) for name, source in dataset.sources.items()} == {"train": 15, "validation": 5}
    images, conditions = dataset.split("validation").arrays()
    np.testing.assert_array_equal(images[:, 0, 0, 0], range(15, 20))
    assert conditions == {}


def refused(*arguments, **named):
    """The error's line; it comes at once, is one line, and hides no traceback."""
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        load(*arguments, **named)
    assert time.monotonic() - start < 5
    (line,) = str(caught.value).splitlines()
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return line


def test_errors_of_names_and_folders(tiny, tmp_path, monkeypatch):
    root = tiny.parents[1]
    assert "did you mean 'tiny'" in refused("tinny", root)
    assert "did you mean 'mnist'" in refused("mnits", root)
    assert "did you mean 'digits'" in refused("digit", root)
    line = refused("cifar100", root)
    assert "not prepared" in line
    assert "there: tiny" in line
    assert f"`tfds build cifar100 --file_format=array_record --data_dir={root}`" in line
    assert "choose from: 1.2.3" in refused("tiny:9.9.9", root)
    assert "does not exist: correct config.data.dir" in refused("mnist", tmp_path / "none")
    assert "does not exist: set config.data.dir" in refused("mnist")  # the default, in an empty home
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "empty"))
    assert "nothing is prepared there" in refused("mnist")
    shutil.copytree(tiny, root / "two" / "a" / "1.0.0")
    shutil.copytree(tiny, root / "two" / "b" / "1.0.0")
    assert "choose from: two/a, two/b" in refused("two", root)


def test_errors_of_splits(tiny):
    root = tiny.parents[1]
    assert "did you mean 'train'" in refused("tiny", root, {"train": "trian[:5]"})
    for words in ("train[", "train[400:500]", "train[5:3]", "train[:0]"):
        line = refused("tiny", root, {"train": words})
        assert words in line
        assert "data.splits.train" in line
    with pytest.raises(UserError, match="did you mean 'test'"):
        load("tiny", root).split("tset")
    with pytest.raises(UserError, match="choose from: some"):
        load("tiny", root, {"some": "train"}).split("validation")


def test_errors_of_formats_and_damaged_metadata(tiny):
    root, info = tiny.parents[1], tiny / "dataset_info.json"
    content = json.loads(info.read_text())
    info.write_text(json.dumps({**content, "fileFormat": "tfrecord"}))
    line = refused("tiny", root)
    assert "tfrecord" in line
    assert "--file_format=array_record" in line
    info.write_text("{")
    assert "cannot be read" in refused("tiny", root)
    info.write_text(json.dumps(content))
    (tiny / "features.json").write_text("{")
    assert "cannot be read" in refused("tiny", root)
    (tiny / "features.json").unlink()
    assert "cannot be read" in refused("tiny", root)


@pytest.mark.parametrize("damage", ["missing", "empty", "short", "half", "nearly whole", "a bit"])
def test_errors_of_damaged_files(damage, tiny):
    (file,) = tiny.glob("*-train.array_record*")
    content = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    elif damage == "a bit":
        content[len(content) // 2] ^= 4
        file.write_bytes(content)
    else:
        sizes = {"empty": 0, "short": 100, "half": len(content) // 2, "nearly whole": len(content) - 10}
        file.write_bytes(content[: sizes[damage]])
    with pytest.raises(UserError, match="prepare it again") as caught:
        load("tiny", tiny.parents[1]).split("train").arrays()
    assert len(str(caught.value).splitlines()) == 1


def test_errors_of_unfit_images(write_set):
    def no_image(kinds):
        return {"text": kinds.Text()}

    def no_size(kinds):
        return {"image": kinds.Image(shape=(None, None, 3))}

    def floats(kinds):
        return {"image": kinds.Tensor(shape=(2, 2, 1), dtype=np.float32)}

    def small(kinds):
        return {"image": kinds.Tensor(shape=(2, 2, 1), dtype=np.uint8)}

    root = write_set("noimage", no_image, {"train": [{"text": "a"}]}).parents[1]
    assert "has no 'image'" in refused("noimage", root)
    png = bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc0000003010100"
        "18dd8db00000000049454e44ae426082"
    )
    write_set("nosize", no_size, {"train": [{"image": png}]})
    assert "not of one size" in refused("nosize", root)
    write_set("floats", floats, {"train": [{"image": np.zeros((2, 2, 1), np.float32)}]})
    assert "only uint8" in refused("floats", root)
    image = np.full((2, 2, 1), 7, np.uint8)
    write_set("odd", small, {"train": [{"image": image}]}, {"levels": 1000})
    assert "levels" in refused("odd", root)
    write_set("wrong", small, {"train": [{"image": image}, {"image": image}]}, {"levels": 4})
    with pytest.raises(UserError, match="4 levels, but holds the value 7"):
        load("wrong", root).split("train").arrays()


def test_reading_leaves_the_data_directory_as_it_was(tiny):
    def state():
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in tiny.rglob("*") if path.is_file()}

    before = state()
    load("tiny", tiny.parents[1]).split("train").arrays()
    assert state() == before


def test_the_emoji_of_a_split_are_those_that_its_words_name(monkeypatch):
    monkeypatch.setattr("ddpm_jax.data.captioned.describe", lambda name: Description(name, "1", (8, 8, 3), 256))
    monkeypatch.setattr("ddpm_jax.data.captioned.count_of_emoji", lambda name, words: {"train": 9, "test": 4}[words])
    found = load("emoji", splits={"train": "test", "validation": "test", "test": "train"})
    assert found.sizes == {"train": 4, "validation": 4, "test": 9}
