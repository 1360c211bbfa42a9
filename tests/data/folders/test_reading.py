"""A folder as a data set: what is in it, what is said of it, what is refused, and what is done once only."""

import os
import shutil
from functools import partial

import numpy as np
import pytest
from PIL import Image

from ddpm_jax import data
from ddpm_jax.data import sources
from ddpm_jax.data.folders import contents
from ddpm_jax.errors import UserError
from tests.data.folders import examples
from tests.data.folders.examples import held

load = partial(examples.load, held_out=0.25)  # with which few pictures fill all splits
refused = partial(examples.refused, load)


@pytest.fixture
def two(draw):
    """24 pictures of two classes."""
    return draw([f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(12)])


def test_a_data_set_of_what_the_files_hold(two):
    dataset = load(two)
    description = dataset.description
    assert (description.shape, description.levels, description.labels) == ((8, 8, 3), 256, 2)
    assert description.class_names == ("cat", "dog")
    truth = sorted(
        (np.asarray(Image.open(path)).tobytes(), label)
        for label, kind in enumerate(("cat", "dog"))
        for path in (two / kind).iterdir()
    )
    assert sorted(one for split in held(dataset).values() for one in split) == truth
    assert sum(dataset.sizes.values()) == 24 and min(dataset.sizes.values()) > 0
    source = dataset.split("train")
    rows = source.rows([3, 0, 3])
    np.testing.assert_array_equal(rows["image"], source.arrays()[0][[3, 0, 3]])
    np.testing.assert_array_equal(rows["condition"]["label"], source.arrays()[1]["label"][[3, 0, 3]])


def test_what_is_done_is_said(two):
    first, *others = load(two).notes
    sizes = load(two).sizes
    assert all(f"{count} {split}" in first for split, count in sizes.items())
    assert "8x8" in first and "RGB" in first and "2 classes" in first
    (line,) = [note for note in others if note.startswith("splits by content")]
    assert "0.25" in line and "data.held_out" in line


def test_names_and_additions_move_no_picture(two, draw, tmp_path):
    before = held(load(two))
    shutil.copytree(two, tmp_path / "elsewhere")
    for number, path in enumerate(sorted((tmp_path / "elsewhere" / "cat").iterdir())):
        path.rename(path.with_name(f"{20 - number}_other.png"))
    moved = load(tmp_path / "elsewhere")
    assert held(moved) == before
    assert data.difference(data.fingerprint(load(two)), data.fingerprint(moved)) is None
    draw([f"dog/new{number}.png" for number in range(9)])
    after = held(load(two))
    for split, images in before.items():
        assert set(images) <= set(after[split])
    assert sum(map(len, after.values())) == 33
    assert data.difference(data.fingerprint(moved), data.fingerprint(load(two)))


def count_of(monkeypatch, name):
    """How often a function of the decoder is called."""
    calls = []
    original = getattr(contents, name)
    monkeypatch.setattr(contents, name, lambda *given: calls.append(given) or original(*given))
    return calls


def test_nothing_is_decoded_or_read_twice(two, tmp_path, monkeypatch):
    decoded, hashed = count_of(monkeypatch, "decode"), count_of(monkeypatch, "_hashed")
    truth = held(load(two))
    assert (len(decoded), len(hashed)) == (24, 24)
    assert held(load(two)) == truth
    assert (len(decoded), len(hashed)) == (24, 24)
    two.rename(tmp_path / "moved")
    assert held(load(tmp_path / "moved")) == truth
    assert (len(decoded), len(hashed)) == (24, 48)
    path = tmp_path / "moved" / "cat" / "3.png"
    os.utime(path, ns=(1, 1))
    assert held(load(tmp_path / "moved")) == truth
    assert (len(decoded), len(hashed)) == (24, 49)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    changed = held(load(tmp_path / "moved"))
    assert (bytes(8 * 8 * 3), 0) in [one for split in changed.values() for one in split] and changed != truth


def test_whatever_a_file_is_called_it_is_read_once(two, monkeypatch):
    for number, name in enumerate((b"a\nb.png", b"\xff.png", "ä 1 2.png".encode())):
        os.rename(two / "cat" / f"{number}.png", os.fsencode(two / "cat") + b"/" + name)
    truth = held(load(two))
    hashed = count_of(monkeypatch, "_hashed")
    assert held(load(two)) == truth and not hashed


def test_a_form_is_decoded_once_too(two, monkeypatch):
    decoded = count_of(monkeypatch, "decode")
    for _ in range(2):
        small = load(two, size=4, channels=1)
        assert small.split("train").arrays()[0].shape[1:] == (4, 4, 1)
    assert len(decoded) == 24
    assert held(load(two))["train"] and len(decoded) == 48


def test_without_a_cache_all_works(two, monkeypatch):
    truth = held(load(two))
    monkeypatch.setenv("DDPM_JAX_CACHE", "/dev/null/nowhere")
    assert held(load(two)) == truth


def test_pictures_that_do_not_fit_memory_are_decoded_when_they_are_asked_for(two, monkeypatch):
    truth = load(two).split("train")
    rows = truth.rows([2, 5])["image"]
    monkeypatch.setattr("ddpm_jax.data.folders.reading.LARGEST_COPY", 100)
    monkeypatch.setattr(sources, "LARGEST_COPY", 100)
    monkeypatch.setattr(contents, "VERSION", -1)  # nothing is known from before
    dataset = load(two)
    decoded = count_of(monkeypatch, "decode")
    np.testing.assert_array_equal(dataset.split("train").rows([2, 5])["image"], rows)
    assert len(decoded) == 2


def test_grey_pictures_have_one_channel_and_may_have_three(draw):
    root = draw([f"{number}.png" for number in range(16)], channels=1)
    grey = load(root)
    assert grey.description.shape == (8, 8, 1)
    assert any("data.channels" in note for note in grey.notes)
    three = load(root, channels=3)
    np.testing.assert_array_equal(
        three.split("train").arrays()[0], np.repeat(grey.split("train").arrays()[0], 3, axis=-1)
    )
    coloured = grey.sizes
    draw(["colour.png"])
    assert load(root).description.shape == (8, 8, 3)
    assert sum(load(root).sizes.values()) == sum(coloured.values()) + 1
    assert load(root, channels=4).split("train").arrays()[0][..., 3].min() == 255


def test_splits_of_folders_and_what_is_missing_is_cut_from_train(draw):
    root = draw([f"{split}/{number}.png" for split in ("train", "test") for number in range(12)])
    dataset = load(root)
    assert dataset.sizes["test"] == 12
    assert dataset.sizes["train"] + dataset.sizes["validation"] == 12 and dataset.sizes["validation"] > 0
    (line,) = [note for note in dataset.notes if note.startswith("splits by content")]
    assert "validation" in line and "test" not in line.partition("(")[0]


def test_words_of_splits(two):
    whole = load(two)
    dataset = load(two, {"train": "train[:5]", "validation": "train[5:]", "test": "test"})
    images = whole.split("train").arrays()[0]
    np.testing.assert_array_equal(dataset.split("train").arrays()[0], images[:5])
    np.testing.assert_array_equal(dataset.split("validation").arrays()[0], images[5:])
    assert "data.splits.test" in refused(two, {"train": "train", "validation": "validation", "test": "tset"})


def test_captions(draw, table):
    root = draw([f"{number}.png" for number in range(16)])
    rows = [{"file_name": f"{number}.png", "text": f"number {number} of many"} for number in range(16)]
    table(root / "metadata.csv", rows)
    dataset = load(root)
    text = dataset.description.conditions["text"]
    said = {}
    for split in dataset.sources:
        images, conditions = dataset.split(split).arrays()
        said |= {image.tobytes(): text.words(row) for image, row in zip(images, conditions["text"], strict=True)}
    assert said == {np.asarray(Image.open(root / row["file_name"])).tobytes(): row["text"] for row in rows}


def test_pictures_of_one_class_have_no_label(draw):
    dataset = load(draw([f"flowers/{number}.png" for number in range(16)]))
    assert dataset.description.labels == 0
    assert any("one class (flowers)" in note for note in dataset.notes)


def test_a_class_that_a_split_has_not(draw):
    files = [f"{split}/{kind}/{number}.png" for split in ("train", "val", "test") for kind in "ab" for number in "123"]
    root = draw([*files, "train/c/1.png"])
    notes = load(root).notes
    assert any("validation has no picture of 1 of 3 classes: c" in note for note in notes)
    draw(["test/d/1.png"])
    line = refused(root)
    assert "train has no picture of 1 of 4 classes: d" in line and "split_seed" in line


def test_twins_in_two_splits_are_told(draw):
    root = draw([f"{split}/{number}.png" for split in ("train", "test") for number in range(12)])
    shutil.copy(root / "train" / "3.png", root / "test" / "copy.png")
    notes = load(root, held_out=0.1).notes
    assert any(note.startswith("1 picture of test also in ") and "test/copy.png" in note for note in notes)


def test_too_few_pictures_for_a_split(draw):
    assert "config.data.held_out: no picture of 2 comes into the split" in refused(draw(["1.png", "2.png"]))


def test_sizes(draw):
    root = draw({**{f"{number}.png": (12, 10) for number in range(9)}, "9.png": (20, 20)})
    line = refused(root)
    assert line.startswith("config.data.size: ") and "of 2 sizes, most often 12x10 (9 of 10)" in line
    assert "config.data.size=8" in line
    notes = load(root, size=16).notes
    assert any(note.startswith("9 of 10 pictures are not square") for note in notes)
    assert any(note.startswith("9 of 10 pictures are smaller than 16 pixels") for note in notes)
    assert load(draw({"9.png": (12, 10)})).description.shape == (10, 12, 3)


def damage(root):
    """Files that are no pictures, in several ways."""
    (root / "cat" / "empty.png").write_bytes(b"")
    (root / "cat" / "words.jpg").write_text("hello")
    (root / "dog" / "half.png").write_bytes((root / "dog" / "1.png").read_bytes()[:90])
    (root / "dog" / "also.png").write_text("hello")


@pytest.mark.parametrize("size", [0, 4])
def test_what_cannot_be_read_is_named_or_left_out(two, size):
    truth = held(load(two, size=size))
    damage(two)
    for _ in range(2):  # also from the cache
        line = refused(two, size=size)
        assert "4 of 28 pictures" in line and "cat/empty.png (it is empty)" in line and "1 more" in line
        assert "config.data.skip_bad=True" in line
        dataset = load(two, size=size, skip_bad=True)
        assert held(dataset) == truth
        assert any(note.startswith("left out: 4 of 28 pictures") for note in dataset.notes)
    for path in [*two.glob("*/[0-9]*.png")]:
        path.write_bytes(b"")
    assert "so there is none" in refused(two, size=size, skip_bad=True)


def test_what_is_mended_is_read(two):
    damage(two)
    assert sum(load(two, skip_bad=True).sizes.values()) == 24
    for name in ("cat/empty.png", "cat/words.jpg", "dog/half.png", "dog/also.png"):
        shutil.copy(two / "cat" / "1.png", two / name)
    assert sum(load(two).sizes.values()) == 28


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_what_may_not_be_read(two):
    (two / "cat" / "1.png").chmod(0)
    assert "Permission denied" in refused(two)


def test_a_folder_that_changes_while_it_is_used(two, monkeypatch):
    monkeypatch.setattr("ddpm_jax.data.folders.reading.LARGEST_COPY", 100)
    dataset = load(two)
    shutil.rmtree(two / "cat")
    with pytest.raises(UserError, match="changed while they were read"):
        dataset.split("train").rows(np.arange(len(dataset.split("train"))))


def test_options_that_mean_nothing(two, tmp_path):
    assert "config.data.background: 'wihte' is no colour" in refused(two, background="wihte")
    assert refused("").startswith("config.data.dir: ")
    assert refused(tmp_path / "none").startswith("config.data.dir: ")


def test_levels_and_backgrounds_make_other_data(two):
    dataset = load(two)
    coarse = data.coarser(dataset, 4)
    assert coarse.split("train").arrays()[0].max() == 3
    assert "levels" in str(data.difference(data.fingerprint(dataset), data.fingerprint(coarse)))
    assert data.difference(data.fingerprint(dataset), data.fingerprint(load(two, background="black")))
