"""No damage to a prepared set's files gives other images, labels or facts in silence."""

import json
import warnings

import numpy as np
import pytest

from ddpm_jax.data import load, sources
from ddpm_jax.errors import UserError

SPLITS = ("train", "validation", "test")


def in_splits(rows):
    return {"train": rows[:30], "validation": rows[30:40], "test": rows[40:]}


@pytest.fixture
def pictures(write_set):
    """Grey PNGs of 4x4 and 17 levels, named classes, and splits that a shorter shard would fit as well."""
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    rows = [{"image": image.fromarray(rng.integers(0, 17, (4, 4)).astype(np.uint8)), "label": i % 3} for i in range(60)]

    def features(kinds):
        return {
            "image": kinds.Image(shape=(4, 4, 1), encoding_format="png"),
            "label": kinds.ClassLabel(names=["a", "b", "c"]),
        }

    return write_set("pictures", features, in_splits(rows), {"levels": 17})


@pytest.fixture
def volumes(write_set):
    """Plain arrays, without names of the classes."""
    rows = [{"image": np.full((2, 3, 4, 1), i % 5, np.uint8), "label": i % 3} for i in range(60)]

    def features(kinds):
        return {"image": kinds.Tensor(shape=(2, 3, 4, 1), dtype=np.uint8), "label": kinds.ClassLabel(num_classes=3)}

    return write_set("volumes", features, in_splits(rows), {"levels": 5})


def found(folder):
    """All there is to know of a set, and whether anything was said of it."""
    sources._doubted.clear()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        dataset = load(folder.parent.name, folder.parents[1])
        parts = {name: dataset.split(name).arrays() for name in SPLITS}
    content = {
        name: (images.tobytes(), {one: values.tobytes() for one, values in conditions.items()})
        for name, (images, conditions) in parts.items()
    }
    said = [str(warning.message) for warning in told if "the cache keeps nothing" not in str(warning.message)]
    return (dataset.description, dict(dataset.sizes), content), said


def damaged(whole, every, cuts):
    """Copies of a file with one bit flipped, at every `every`-th bit that is not in padding, and truncated ones."""
    places = [place for place, byte in enumerate(whole) if byte]
    for number in range(0, 8 * len(places), every):
        content = bytearray(whole)
        content[places[number // 8]] ^= 1 << number % 8
        yield bytes(content)
    for cut in range(cuts):
        yield whole[: len(whole) * cut // cuts]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pictures", "volumes"])
def test_damage_is_said_or_has_no_effect(kind, request, monkeypatch):
    folder = request.getfixturevalue(kind)
    monkeypatch.setenv("DDPM_JAX_CACHE", "/dev/null/nowhere")
    truth, said = found(folder)
    assert not said
    verdicts = []
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        small = len(whole) < 2000
        for content in damaged(whole, every=41 if small else 997, cuts=5):
            path.write_bytes(content)
            try:
                result, said = found(folder)
            except UserError as error:
                assert len(str(error).splitlines()) == 1
                verdicts.append("refused")
            else:
                assert result == truth or said, f"{path.name} was believed: {result[0]}, {result[1]}"
                verdicts.append("said" if said else "no effect")
        path.write_bytes(whole)
    assert verdicts.count("refused") > 250
    assert found(folder) == (truth, [])


def refused(folder):
    with pytest.raises(UserError) as caught:
        found(folder)
    (line,) = str(caught.value).splitlines()
    return line


def test_what_a_flip_can_make_of_a_number_or_a_name(pictures, volumes):
    """The cases that the generated ones need not hit."""

    def changed(folder, name, old, new):
        path = folder / name
        whole = path.read_text()
        assert whole.count(old) >= 1, old
        path.write_text(whole.replace(old, new, 1))
        return path, whole

    def line(*arguments):
        path, whole = changed(*arguments)
        try:
            return refused(arguments[0])
        finally:
            path.write_text(whole)

    assert "holds 30 images, not 20" in line(pictures, "dataset_info.json", '"30"', '"20"')
    assert "cannot be read" in line(pictures, "dataset_info.json", '"validation"', '"validatio."')
    assert "names the splits" in line(pictures, "dataset_info.json", '"validation"', '"test"')
    assert "version" in line(pictures, "dataset_info.json", '"1.2.3"', '"1.2.1"')
    assert "3 classes" not in line(pictures, "features.json", '"3"', '"7"')
    assert "says 0 classes" in line(volumes, "features.json", '"numClasses": "3"', '"numClasses": "0"')
    assert "'label'" in line(volumes, "features.json", '"label"', '"labem"')
    assert "'lavels'" in line(volumes, "metadata.json", "levels", "lavels")
    assert "a key is there twice" in line(volumes, "metadata.json", "{", '{"levels": 7, ')
    assert "5.5 levels" in line(volumes, "metadata.json", "5", "5.5")
    assert "not one of TFDS's" in line(volumes, "features.json", "tensorflow_datasets.", "an_module_of_mine.")
    nested = "[" * 100_000 + "]" * 100_000
    for name in ("dataset_info.json", "features.json", "metadata.json"):
        assert "cannot be read" in line(volumes, name, (volumes / name).read_text(), f'{{"a": {nested}}}')


def test_more_levels_classes_or_channels_than_the_images_show_are_said_once(pictures, volumes):
    for folder, name, old, new in (
        (volumes, "metadata.json", "5", "7"),
        (volumes, "features.json", '"numClasses": "3"', '"numClasses": "5"'),
        (pictures, "features.json", '"1"', '"3"'),
    ):
        path = folder / name
        whole = path.read_text()
        assert whole.count(old) == 1
        path.write_text(whole.replace(old, new))
        (_, said) = found(folder)
        assert len(said) == 1, said
        assert len(said[0].splitlines()) == 1
        path.write_text(whole)


def labelled(write_set, name, labels, classes=3):
    rows = [{"image": np.full((2, 2, 1), i % 3, np.uint8), "label": label} for i, label in enumerate(labels)]

    def features(kinds):
        image = kinds.Tensor(shape=(2, 2, 1), dtype=np.uint8)
        return {"image": image, "label": kinds.ClassLabel(num_classes=classes)}

    return write_set(name, features, {"train": rows}, {"levels": 3}).parents[1]


def test_an_unknown_label_is_the_null_condition(write_set):
    root = labelled(write_set, "partly", [0, -1, 2, -1, 1])
    for _ in range(2):  # the second time from the cache
        source = load("partly", root, {"train": "train"}).split("train")
        np.testing.assert_array_equal(source.rows([1, 2])["condition"]["label"], [3, 2])
        np.testing.assert_array_equal(source.arrays()[1]["label"], [0, 3, 2, 3, 1])


@pytest.mark.parametrize("label", [3, 2**32 + 1])
def test_a_label_that_is_no_class_is_refused(label, write_set):
    root = labelled(write_set, "wrong", [0, 1, label], classes=2**33)
    features = root / "wrong" / "1.2.3" / "features.json"
    features.write_text(features.read_text().replace(str(2**33), "3"))
    with pytest.raises(UserError, match=f"3 classes, but holds the label {label}"):
        load("wrong", root, {"train": "train"}).split("train").arrays()


def test_no_label_below_the_unknown_one_is_taken(write_set):
    def numbers(kinds):
        label = kinds.Tensor(shape=(), dtype=np.int64)
        return {"image": kinds.Tensor(shape=(2, 2, 1), dtype=np.uint8), "label": label}

    rows = [{"image": np.zeros((2, 2, 1), np.uint8), "label": -2}]
    folder = write_set("below", numbers, {"train": rows})
    features = json.loads((folder / "features.json").read_text())
    features["featuresDict"]["features"]["label"] = {
        "pythonClassName": "tensorflow_datasets.core.features.class_label_feature.ClassLabel",
        "classLabel": {"numClasses": "3"},
    }
    (folder / "features.json").write_text(json.dumps(features))
    with pytest.raises(UserError, match="3 classes, but holds the label -2"):
        load("below", folder.parents[1]).split("train").arrays()


def test_splits_of_one_image(write_set):
    root = labelled(write_set, "single", [1])
    dataset = load("single", root)
    assert dataset.sizes == {"train": 1}
    assert dataset.split("train").arrays()[0].shape == (1, 2, 2, 1)


def test_nothing_of_json_is_kept_that_is_no_object(volumes):
    for text in ("[]", "3", "null", '"x"', ""):
        for name in ("dataset_info.json", "features.json", "metadata.json"):
            whole = (volumes / name).read_text()
            (volumes / name).write_text(text)
            assert "cannot be read" in refused(volumes)
            (volumes / name).write_text(whole)
    assert json.loads((volumes / "metadata.json").read_text()) == {"levels": 5}
