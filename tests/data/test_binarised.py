import hashlib

import numpy as np
import pytest

from ddpm_jax.conditions import labels as classes
from ddpm_jax.data import Description, binarised, host_batches, load
from ddpm_jax.errors import UserError


@pytest.fixture(scope="module")
def grey():
    """3,000 different images of 12x12 whose pixels are of all intensities."""
    return np.random.default_rng(0).integers(0, 256, (3000, 12, 12, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def drawn(grey):
    return binarised.draw(grey)


@pytest.fixture
def prepared(write_set):
    """The root of a data directory with a grey set: 20 images to train on, 10 to test, three labels."""
    images = np.random.default_rng(1).integers(0, 256, (30, 4, 5, 1)).astype(np.uint8)
    rows = [{"image": image, "label": i % 3} for i, image in enumerate(images)]

    def features(kinds):
        return {"image": kinds.Tensor(shape=(4, 5, 1), dtype=np.uint8), "label": kinds.ClassLabel(num_classes=3)}

    return write_set("grey", features, {"train": rows[:20], "test": rows[20:]}).parents[1]


def test_every_intensity_is_a_chance(grey, drawn):
    total = np.bincount(grey.ravel(), minlength=256)
    ones = np.bincount(grey.ravel(), weights=drawn.ravel(), minlength=256)
    chance = np.arange(256) / 255
    assert ones[0] == 0
    assert ones[255] == total[255]
    score = ((ones - total * chance) / np.sqrt(total * np.maximum(chance * (1 - chance), 1e-12)))[1:255]
    assert abs(score).max() < 4.5
    assert 180 < (score**2).sum() < 340  # chi-square of 254 degrees: 254 +- 22.5


def test_pixels_and_images_are_drawn_independently(grey, drawn):
    chance = grey / 255
    noise = ((drawn - chance) / np.sqrt(np.maximum(chance * (1 - chance), 1e-3))).reshape(len(grey), -1)
    noise[(grey == 0).reshape(noise.shape) | (grey == 255).reshape(noise.shape)] = 0
    within = [(noise[:, :-lag] * noise[:, lag:]).mean() for lag in (1, 12, 13)]
    between = [(noise[:-lag] * noise[lag:]).mean() for lag in (1, 2)]
    assert max(map(abs, within + between)) < 5 / np.sqrt(noise.size)


def test_an_image_is_drawn_by_all_of_its_pixels():
    plain = np.full((2, 20, 20, 1), 128, np.uint8)
    changed = plain.copy()
    changed[1, -1, -1] = 129
    one, other = binarised.draw(plain)
    np.testing.assert_array_equal(one, other)
    one, other = binarised.draw(changed)
    assert 0.35 < (one != other).mean() < 0.65  # 400 fair coins: 0.5 +- 0.025


def test_the_draw_never_changes():
    """Another draw is another data set: whoever changes it raises `DRAW`, which is part of the version."""
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    found = hashlib.sha256(binarised.draw(image).tobytes()).hexdigest()
    assert (binarised.DRAW, found[:16]) == (1, "ad63d62343eb5b9d")


def test_any_part_in_any_order_gives_the_same_bits(grey, drawn):
    order = np.random.default_rng(2).permutation(len(grey))[:100]
    np.testing.assert_array_equal(binarised.draw(grey[order]), drawn[order])
    np.testing.assert_array_equal(binarised.draw(grey[order[::-1]].copy(order="F")), drawn[order[::-1]])
    assert binarised.draw(grey[:0]).shape == (0, 12, 12, 1)


def test_a_set_is_described_and_keeps_its_labels_and_splits(prepared):
    plain, dataset = load("grey", prepared), load("binarised_grey", prepared)
    assert dataset.description == Description("binarised_grey", f"1.2.3-draw{binarised.DRAW}", (4, 5, 1), 2, classes(3))
    assert {name: len(source) for name, source in dataset.sources.items()} == {"train": 18, "validation": 2, "test": 10}
    for name, source in dataset.sources.items():
        images, conditions = source.arrays()
        assert set(np.unique(images)) == {0, 1}
        np.testing.assert_array_equal(conditions["label"], plain.split(name).arrays()[1]["label"])
        np.testing.assert_array_equal(np.unique(source.description.encode(images)), [-1, 1])
        np.testing.assert_array_equal(source.description.decode(source.description.encode(images)), images)


def test_bits_belong_to_the_image_however_it_is_read(prepared, cache):
    whole = load("binarised_grey", prepared, {"all": "train+test"}).split("all")
    rows = whole.rows([25, 3, 3, 0])  # read one by one, before anything is decoded
    images, conditions = whole.arrays()
    np.testing.assert_array_equal(rows["image"], images[[25, 3, 3, 0]])
    np.testing.assert_array_equal(rows["condition"]["label"], conditions["label"][[25, 3, 3, 0]])
    cut = load("binarised_grey", prepared, {"some": "train[7:12]", "test": "test[5:]"})
    np.testing.assert_array_equal(cut.split("some").arrays()[0], images[7:12])
    np.testing.assert_array_equal(cut.split("test").arrays()[0], images[25:])
    np.testing.assert_array_equal(load("binarised_grey:1.2.3", prepared).split("validation").arrays()[0], images[18:20])
    batch = host_batches(load("binarised_grey", prepared).split("test"), seed=0, batch=10)[0]["image"]
    assert sorted(image.tobytes() for image in batch) == sorted(image.tobytes() for image in images[20:])


def test_the_decoded_copies_of_grey_and_binary_images_lie_apart(prepared, cache):
    for _ in range(2):  # the second time from the copies
        grey = load("grey", prepared).split("test").arrays()[0]
        binary = load("binarised_grey", prepared).split("test").arrays()[0]
        np.testing.assert_array_equal(binary, binarised.draw(grey))
        assert len(list((cache / "images").iterdir())) == 2


def test_errors(prepared, tiny):
    def refused(name, *arguments):
        with pytest.raises(UserError) as caught:
            load(name, *arguments)
        (line,) = str(caught.value).splitlines()
        return line

    assert "'binarised_tiny' needs images of 256 levels and one channel" in refused("binarised_tiny", tiny.parents[1])
    assert "'digits' has 17 and 1" in refused("binarised_digits")
    assert "tfds build mnist --file_format=array_record" in refused("binarised_mnist", prepared)
    assert "does not exist: set config.data.dir" in refused("binarised_mnist")
    assert "did you mean 'mnist'" in refused("binarised_mnits", prepared)
    assert "did you mean 'train'" in refused("binarised_grey", prepared, {"train": "trian"})


def test_colour_is_refused(write_set):
    image = {"image": np.zeros((2, 2, 3), np.uint8)}
    root = write_set(
        "colour", lambda kinds: {"image": kinds.Tensor(shape=(2, 2, 3), dtype=np.uint8)}, {"train": [image]}
    ).parents[1]
    with pytest.raises(UserError, match="'colour' has 256 and 3"):
        load("binarised_colour", root)


def test_mnist(tfds_dir):
    dataset = load("binarised_mnist", tfds_dir)
    assert dataset.description == Description("binarised_mnist", "3.0.1-draw1", (28, 28, 1), 2, classes(10))
    assert [len(dataset.split(name)) for name in ("train", "validation", "test")] == [55_000, 5_000, 10_000]
    grey = load("mnist", tfds_dir).split("test").rows(range(1000))
    binary = dataset.split("test").rows(range(1000))
    np.testing.assert_array_equal(binary["condition"]["label"], grey["condition"]["label"])
    assert not binary["image"][grey["image"] == 0].any()
    assert binary["image"][grey["image"] == 255].all()
    chance = grey["image"] / 255
    deviation = np.sqrt((chance * (1 - chance)).sum())
    assert abs(binary["image"].sum() - chance.sum()) < 4 * deviation
    assert (binary["image"] != (grey["image"] > 127)).mean() > 0.01  # not thresholded
    first = dataset.split("train").rows(range(1000))["image"]
    assert not np.array_equal(first, binary["image"])
