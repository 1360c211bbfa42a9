"""Arrays in a file: the names that people use, and what is refused with the way to mend it."""

import numpy as np
import pytest

from ddpm_jax import data
from tests.data.folders.examples import held, load, pairs, refused

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (60, 6, 6, 3)).astype(np.uint8)
LABELS = np.arange(60) % 3


@pytest.fixture
def save(tmp_path):
    def write(**arrays):
        np.savez(tmp_path / "data.npz", **arrays)
        return tmp_path / "data.npz"

    return write


def test_images_and_labels_are_split_by_content(save):
    dataset = load(save(images=IMAGES, labels=LABELS))
    assert dataset.description.shape == (6, 6, 3) and dataset.description.labels == 3
    assert sorted(one for found in held(dataset).values() for one in found) == pairs(IMAGES, LABELS)
    order = GENERATOR.permutation(60)
    again = load(save(images=IMAGES[order], labels=LABELS[order]))
    assert data.difference(data.fingerprint(dataset), data.fingerprint(again)) is None


@pytest.mark.parametrize("names", ["x_{}", "{}_images", "images_{}", "X_{}"])
@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
def test_splits_by_the_names_of_arrays(names, validation, save):
    parts = {"train": slice(40), validation: slice(40, 50), "test": slice(50, 60)}
    label = names.replace("images", "labels").replace("x_", "y_").replace("X_", "Y_")
    arrays = {names.format(split): IMAGES[part] for split, part in parts.items()}
    arrays |= {label.format(split): LABELS[part, None] for split, part in parts.items()}
    dataset = load(save(**arrays))
    assert list(dataset.sources) == ["train", "validation", "test"]
    for split, part in zip(dataset.sources, parts.values(), strict=True):
        assert held(dataset)[split] == pairs(IMAGES[part], LABELS[part])


def test_kerass_digits_have_no_validation(save):
    grey = IMAGES[..., 0]
    dataset = load(save(x_train=grey[:50], y_train=LABELS[:50], x_test=grey[50:], y_test=LABELS[50:]))
    assert dataset.description.shape == (6, 6, 1)
    assert dataset.sizes["test"] == 10 and dataset.sizes["train"] + dataset.sizes["validation"] == 50
    assert dataset.sizes["validation"] > 0


def test_images_alone(tmp_path, save):
    for file, write in ((tmp_path / "a.npy", np.save), (tmp_path / "b.npz", np.savez)):
        write(file, IMAGES)
        dataset = load(file)
        assert sorted(one for found in held(dataset).values() for one in found) == pairs(IMAGES, LABELS * 0)


def test_names_and_captions(save):
    names = np.array(["pear", "apple", "fig"])[LABELS]
    texts = [f"a {name} or {number % 7}" for number, name in enumerate(names)]
    dataset = load(save(images=IMAGES, labels=names, texts=texts, colour=LABELS))
    assert dataset.description.class_names == ("apple", "fig", "pear")
    text, rows = dataset.description.conditions["text"], dataset.split("train").rows(range(20))
    truth = {image.tobytes(): (name, said) for image, name, said in zip(IMAGES, names, texts, strict=True)}
    for image, label, said in zip(rows["image"], *rows["condition"].values(), strict=True):
        assert truth[image.tobytes()] == (dataset.description.class_names[label], text.words(said))
    assert any("not read: colour" in note for note in dataset.notes)


def test_what_samples_are_written_as_is_read(save):
    assert load(save(images=IMAGES, labels=LABELS, class_names=np.array(["a"]))).description.labels == 3


def test_two_levels_and_other_whole_numbers(save):
    dataset = load(save(images=IMAGES > 99))
    assert dataset.description.levels == 2 and dataset.split("train").arrays()[0].max() == 1
    assert held(load(save(images=IMAGES.astype(np.int64)))) == held(load(save(images=IMAGES)))
    assert any("save images of two levels as bool" in note for note in load(save(images=IMAGES // 128)).notes)


def test_a_form_is_made_of_arrays_too(save):
    small = load(save(images=IMAGES), size=3, channels=1)
    assert small.description.shape == (3, 3, 1)
    whole = load(save(images=IMAGES))
    for split in whole.sources:  # the same pictures are in it, about as light
        means = [dataset.split(split).arrays()[0].mean((1, 2, 3)) for dataset in (whole, small)]
        assert np.abs(means[0] - means[1]).max() < 25
    alpha = np.concatenate([IMAGES, np.zeros_like(IMAGES[..., :1])], -1)
    laid = load(save(images=alpha), background="#010203").split("test").arrays()[0]
    assert (laid == [1, 2, 3]).all()


FLOATS = (IMAGES / 255).astype(np.float32)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": FLOATS}, "float32 from 0 to 1, and must be uint8; save numpy.rint(255 * x).astype('uint8')"),
        ({"images": 2 * FLOATS - 1}, "save numpy.rint(127.5 * (x + 1)).astype('uint8')"),
        ({"images": FLOATS * 300}, "scale it"),
        ({"images": IMAGES.astype(int) * 2}, "must be uint8; scale it"),
        ({"images": IMAGES.transpose(0, 3, 1, 2)}, "channels come last: save x.transpose(0, 2, 3, 1)"),
        ({"images": IMAGES[..., :2]}, "channels are 1, 3 or 4"),
        ({"images": IMAGES[0, 0]}, "images are [n, height, width, channels]"),
        ({"images": IMAGES[:0]}, "has the shape (0, 6, 6, 3)"),
        ({"pictures": IMAGES, "more": IMAGES}, "no images"),
        ({"images": IMAGES, "x": IMAGES}, "images and x are both images"),
        ({"images": IMAGES, "x_test": IMAGES}, "images with a split and images without"),
        ({"x_test": IMAGES}, "none of train"),
        ({"x_train": IMAGES, "x_test": IMAGES[:, 1:]}, "images of test are (5, 6, 3), and others (6, 6, 3)"),
        ({"images": IMAGES, "labels": LABELS[1:]}, "labels has the shape (59,), for 60 images"),
        ({"images": IMAGES, "labels": LABELS / 2}, "must be whole numbers or names"),
        ({"images": IMAGES, "texts": LABELS}, "must be texts"),
        ({"images": IMAGES, "texts": np.array(["a", ""] * 30)}, "30 of 60 texts are empty"),
        ({"images": IMAGES, "labels": np.array([0, "a"] * 30, object)}, "Python objects"),
        ({"x_train": IMAGES, "x_test": IMAGES, "y_train": LABELS}, "labels of train, and not of test"),
    ],
    ids=str,
)
def test_what_is_no_data_set(arrays, words, save):
    assert words in refused(load, save(**arrays))


def test_files_that_do_not_read(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"hello")
    assert "cannot be read" in refused(load, tmp_path / "a.npz")
    (tmp_path / "b.npy").write_bytes(b"")
    assert "cannot be read" in refused(load, tmp_path / "b.npy")
    assert "there is no file" in refused(load, tmp_path / "none.npz")


def test_two_levels_are_not_resized(save):
    assert "two levels" in refused(load, save(images=IMAGES > 99), size=3)
