import os

import pytest

from ddpm_jax.data.folders.finding import find
from tests.data.folders.examples import refused


def said(root):
    """What is found of each picture, by its path."""
    return {one.path: (one.split, one.label) for one in find(root).files}


def test_pictures_alone(draw):
    assert said(draw(["b.png", "a.JPG", "c.webp"])) == dict.fromkeys(["a.JPG", "b.png", "c.webp"], ("", None))


def test_sub_folders_are_classes(draw):
    found = said(draw(["cat/1.png", "cat/deeper/2.png", "dog/1.png"]))
    assert found == {"cat/1.png": ("", "cat"), "cat/deeper/2.png": ("", "cat"), "dog/1.png": ("", "dog")}


@pytest.mark.parametrize("names", [("train", "validation", "test"), ("Training", "val", "testing"), ("train", "valid")])
def test_splits_lie_above_classes(names, draw):
    found = said(draw([f"{name}/{kind}/1.png" for name in names for kind in ("cat", "dog")]))
    splits = ("train", "validation", "test")
    assert found == {
        f"{name}/{kind}/1.png": (split, kind)
        for name, split in zip(names, splits, strict=False)
        for kind in ("cat", "dog")
    }
    assert len(found) == 2 * len(names)


def test_splits_without_classes(draw):
    assert said(draw(["train/1.png", "test/1.png"])) == {"train/1.png": ("train", None), "test/1.png": ("test", None)}


def test_a_class_may_be_called_train(draw):
    found = said(draw(["bus/1.png", "car/1.png", "train/1.png"]))
    assert found["train/1.png"] == ("", "train") and found["bus/1.png"] == ("", "bus")


def test_pictures_beside_sub_folders_have_no_class(draw):
    folder = find(draw(["1.png", "cat/1.png", "dog/1.png"]))
    assert {one.label for one in folder.files} == {None}
    assert any("1.png" in note and "no classes" in note for note in folder.notes)


def test_what_systems_leave_is_not_seen(draw):
    root = draw(["1.png", ".hidden.png", "._1.png", "__MACOSX/1.png", ".thumbnails/1.png", "@eaDir/1.png"])
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (root / name).write_bytes(b"x")
    folder = find(root)
    assert [one.path for one in folder.files] == ["1.png"] and not folder.notes


def test_other_files_are_named(draw):
    root = draw(["1.png"])
    for name in ("README.md", "a.txt", "b.txt", "z.zip"):
        (root / name).write_text("x")
    (note,) = find(root).notes
    assert note.startswith("4 files") and "README.md" in note and "1 more" in note


def test_links_are_followed_and_circles_are_not(draw, tmp_path):
    root = draw(["cat/1.png"])
    elsewhere = tmp_path / "elsewhere"
    os.rename(root / "cat", elsewhere)
    (root / "cat").symlink_to(elsewhere)
    (root / "circle").symlink_to(root)
    assert said(root) == {"cat/1.png": ("", "cat")}


def test_errors_of_folders(draw, tmp_path):
    assert "there is no folder" in refused(find, tmp_path / "none")
    (tmp_path / "file.png").write_text("x")
    assert "no folder" in refused(find, tmp_path / "file.png")
    (tmp_path / "empty").mkdir()
    assert "is empty" in refused(find, tmp_path / "empty")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("x")
    line = refused(find, tmp_path / "texts")
    assert "no pictures" in line and "a.txt" in line and ".png" in line


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["train/1.png", "test/1.png", "extra/1.png"], "extra/1.png lies beside the splits"),
        (["train/1.png", "test/1.png", "2.png"], "2.png lies beside the splits"),
        (["train/1.png", "val/1.png", "valid/1.png"], "val and valid are both the split validation"),
        (["val/1.png", "test/1.png"], "no train"),
    ],
    ids=str,
)
def test_errors_of_splits(files, words, draw):
    assert words in refused(find, draw(files))
