"""Data sets that Hugging Face's library saved to disk; needs it, which is an extra."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from ddpm_jax import data
from ddpm_jax.prepare import main as prepare
from tests.data.folders.examples import load, refused

GENERATOR = np.random.default_rng(0)
PICTURES = GENERATOR.integers(0, 256, (48, 8, 8, 3)).astype(np.uint8)


@pytest.fixture
def datasets():
    return pytest.importorskip("datasets", reason="needs the extra `huggingface`")


@pytest.fixture
def columns(datasets):
    """Pictures with a class, whose names are in no order of letters, and a caption."""
    return {
        "image": [Image.fromarray(picture) for picture in PICTURES],
        "label": [number % 3 for number in range(48)],
        "text": [f"picture {number}" for number in range(48)],
        "width": [8] * 48,
    }, datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["pear", "apple", "fig"]),
            "text": datasets.Value("string"),
            "width": datasets.Value("int32"),
        }
    )


@pytest.fixture
def whole(columns, datasets):
    return datasets.Dataset.from_dict(*columns)


def told(dataset):
    """Class and caption of each picture, by its bytes."""
    found = {}
    names, text = dataset.description.class_names, dataset.description.conditions["text"]
    for split in dataset.sources:
        images, known = dataset.split(split).arrays()
        for image, label, words in zip(images, known["label"], known["text"], strict=True):
            found[image.tobytes()] = (names[label], text.words(words))
    return found


TRUTH = {
    picture.tobytes(): (("pear", "apple", "fig")[number % 3], f"picture {number}")
    for number, picture in enumerate(PICTURES)
}


def test_pictures_with_their_classes_and_captions(whole, tmp_path):
    whole.save_to_disk(tmp_path / "saved")
    dataset = load(tmp_path / "saved")
    assert dataset.description.class_names == ("pear", "apple", "fig")  # numbered as they were
    assert told(dataset) == TRUTH
    assert any("width" in note for note in dataset.notes)


def test_splits_keep_their_places(whole, datasets, tmp_path):
    parts = {
        "train": whole.select(range(30)),
        "validation": whole.select(range(30, 38)),
        "test": whole.select(range(38, 48)),
    }
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    dataset = load(tmp_path / "saved")
    assert dataset.sizes == {"train": 30, "validation": 8, "test": 10}
    assert told(dataset) == TRUTH
    images = dataset.split("test").arrays()[0]
    assert {image.tobytes() for image in images} == {picture.tobytes() for picture in PICTURES[38:]}


def test_files_that_a_column_names_and_other_names_of_columns(datasets, tmp_path):
    for number, picture in enumerate(PICTURES):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    values = {
        "img": [str(tmp_path / f"{number}.png") for number in range(48)],
        "kind": [number % 2 for number in range(48)],
    }
    made = datasets.Dataset.from_dict(values).cast_column("img", datasets.Image())
    made.cast_column("kind", datasets.ClassLabel(names=["0", "1"])).save_to_disk(tmp_path / "saved")
    dataset = load(tmp_path / "saved", size=4)
    assert (dataset.description.shape, dataset.description.labels) == ((4, 4, 3), 2)
    assert dataset.description.class_names == () and sum(dataset.sizes.values()) == 48


def test_what_is_no_data_set_of_pictures(whole, datasets, tmp_path):
    for number, (made, words) in enumerate(
        [
            (whole.remove_columns("image"), "no column of type Image"),
            (datasets.DatasetDict(train=whole, extra=whole), "a split 'extra'"),
            (datasets.DatasetDict(test=whole), "no train"),
            (datasets.DatasetDict(train=whole, val=whole, valid=whole), "two are the same"),
            (
                whole.add_column("other", [None] * 48)
                .cast_column("other", datasets.Image())
                .rename_column("image", "a"),
                "several columns",
            ),
            (whole.remove_columns("text").add_column("text", ["x", ""] * 24), "24 of 48 pictures have no text"),
            (whole.remove_columns("label").add_column("label", [0.5] * 48), "a label is 0.5"),
            (whole.select([]), "cannot be read"),
            (datasets.DatasetDict(train=whole, test=whole.remove_columns("label")), "test has no column label"),
            (
                datasets.DatasetDict(
                    train=whole, test=whole.cast_column("label", datasets.ClassLabel(names=["fig", "pear", "apple"]))
                ),
                "the column label is of another type or classes in test than in train",
            ),
        ]
    ):
        made.save_to_disk(tmp_path / str(number))
        assert words in refused(load, tmp_path / str(number))
    (tmp_path / "0" / "state.json").write_text("{")
    assert "cannot be read" in refused(load, tmp_path / "0")


def test_pictures_that_are_none(datasets, tmp_path):
    content = []
    for picture in PICTURES:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        content.append(file.getvalue())
    content[1] = content[1][:90]
    column = [{"bytes": one, "path": None} for one in content[:47]] + [None]
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": column}, features).save_to_disk(tmp_path / "saved")
    line = refused(load, tmp_path / "saved")
    assert "2 of 48 pictures" in line and "[1] (it is cut off), [47] (it is empty)" in line
    assert sum(load(tmp_path / "saved", skip_bad=True).sizes.values()) == 46


def test_another_format_of_rows_and_other_names_change_nothing(whole, tmp_path):
    whole.rename_columns({"image": "img", "text": "caption", "label": "kind"}).with_format("numpy").save_to_disk(
        tmp_path / "saved"
    )
    assert told(load(tmp_path / "saved")) == TRUTH


def test_it_is_prepared_as_a_folder_is(whole, tmp_path):
    whole.save_to_disk(tmp_path / "saved")
    prepare([str(tmp_path / "saved"), f"--output={tmp_path / 'done'}"])
    before, after = load(tmp_path / "saved"), load(tmp_path / "done")
    assert told(after) == TRUTH
    assert data.difference(data.fingerprint(before), data.fingerprint(after)) is None


def test_without_the_library_a_line_says_what_to_install(tmp_path, monkeypatch):
    for name in ("state.json", "dataset_info.json"):
        (tmp_path / name).write_text("{}")
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "pip install 'ddpm-jax[huggingface]'" in refused(load, tmp_path)
