import sys

import numpy as np
import pytest

from ddpm_jax.conditions import Conditions, Label, Text, Vector
from ddpm_jax.data import Description, Source, load
from ddpm_jax.data import sources as sources_module
from ddpm_jax.errors import UserError


def test_rows_arrays_and_items_agree(tfds_dir):
    source = load("mnist", tfds_dir, {"some": "test[:300]"}).split("some")
    rows = source.rows([299, 0, 7, 7])
    images, conditions = source.arrays()
    labels = conditions["label"]
    np.testing.assert_array_equal(rows["image"], images[[299, 0, 7, 7]])
    np.testing.assert_array_equal(rows["condition"]["label"], labels[[299, 0, 7, 7]])
    np.testing.assert_array_equal(source[7]["image"], images[7])
    assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
    assert not images.flags.writeable
    with pytest.raises(IndexError):
        source.rows([300])


def test_the_decoded_copy_serves_without_tfds_until_the_files_change(tiny, cache, monkeypatch):
    images, _ = load("tiny", tiny.parents[1]).split("test").arrays()
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "tensorflow_datasets", None)
        np.testing.assert_array_equal(load("tiny", tiny.parents[1]).split("test").arrays()[0], images)
        with pytest.raises(UserError, match="pip install"):  # this split was never decoded
            load("tiny", tiny.parents[1]).split("train").arrays()
        (tiny / "features.json").touch()
        with pytest.raises(UserError, match="pip install"):
            load("tiny", tiny.parents[1])


def test_a_damaged_cache_file_is_made_again(tiny, cache):
    truth = load("tiny", tiny.parents[1])
    images, conditions = truth.split("test").arrays()
    kept = [path for path in cache.rglob("*") if path.is_file()]
    assert sorted(path.parent.name for path in kept) == ["facts", "images"]
    for path in kept:
        content = path.read_bytes()
        places = range(0, len(content), max(1, len(content) // 12))
        for damaged in [*(flipped(content, place) for place in places), *(content[:size] for size in places)]:
            path.write_bytes(damaged)
            found = load("tiny", tiny.parents[1])
            assert found.description == truth.description
            np.testing.assert_array_equal(found.split("test").arrays()[0], images)
            np.testing.assert_array_equal(found.split("test").arrays()[1]["label"], conditions["label"])
            assert path.read_bytes() == content


def flipped(content, place):
    """`content` with one bit of the byte at `place` turned over."""
    return content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]


def test_large_splits_and_unwritable_caches_keep_no_copy(tiny, cache, monkeypatch):
    monkeypatch.setattr(sources_module, "LARGEST_COPY", 10)
    load("tiny", tiny.parents[1]).split("test").arrays()
    assert not (cache / "images").exists()
    monkeypatch.setattr(sources_module, "LARGEST_COPY", 2**30)
    monkeypatch.setenv("DDPM_JAX_CACHE", "/dev/null/nowhere")
    assert load("tiny", tiny.parents[1]).split("test").arrays()[0].shape == (10, 2, 3, 4, 1)


def test_rows_are_read_once_when_all_are_in_memory():
    calls = []

    def read(rows):
        calls.append(len(rows))
        return np.zeros((len(rows), 1, 1), np.uint8), {}

    source = Source(Description("any", "1.0.0", (1, 1), 256), 1200, read)
    first, second = source.arrays(), source.arrays()
    assert first[0] is second[0]
    source.rows([1, 2])
    assert sum(calls) == 1200


PICTURES = np.zeros((3, 2, 2, 1), np.uint8)


def test_a_copy_of_several_conditions_comes_back_whole(cache, monkeypatch):
    kinds = Conditions((("text", Text(("a", "pear"), 3)), ("pose", Vector(2)), ("label", Label(3))))
    values = kinds.rows({"text": ["a", "pear a"], "pose": [[1.0, 2.0], [0.0, 0.5]], "label": [2, 0]})
    description = Description("any", "1", (2, 2, 1), 256, kinds)

    def source(read):
        return Source(description, 2, read, ["made", "of"])

    def read(rows):
        return PICTURES[rows], {name: array[rows] for name, array in values.items()}

    with monkeypatch.context() as patch:  # its conditions count, not its 8 bytes of images alone
        patch.setattr(sources_module, "LARGEST_COPY", 50)
        source(read).arrays()
    assert not (cache / "images").exists()
    first = source(read).arrays()
    again = source(lambda rows: pytest.fail("it was read again")).arrays()
    for images, conditions in (first, again):
        np.testing.assert_array_equal(images, PICTURES[:2])
        assert list(conditions) == ["text", "pose", "label"]
        for name, array in conditions.items():
            assert array.dtype == values[name].dtype
            np.testing.assert_array_equal(array, values[name])


def test_of_a_split_that_memory_is_small_for_the_first_images_are_had(monkeypatch):
    images = np.arange(40, dtype=np.uint8).reshape(10, 2, 2, 1)
    source = Source(Description("any", "1", (2, 2, 1), 256), 10, lambda rows: (images[rows], {}))
    assert source.affordable == 10
    np.testing.assert_array_equal(source.first()[0], images)
    monkeypatch.setattr(sources_module, "LARGEST_COPY", 19)
    source = Source(Description("any", "1", (2, 2, 1), 256), 10, lambda rows: (images[rows], {}))
    monkeypatch.setattr(Source, "arrays", lambda _: pytest.fail("all was held"))
    assert source.affordable == 4
    np.testing.assert_array_equal(source.first()[0], images[:4])


@pytest.mark.parametrize("least", [1300, 1200])
def test_what_is_held_is_read_a_part_at_a_time(least, monkeypatch):
    """Whether all of it is held or the first images alone."""
    images = np.random.default_rng(0).integers(0, 256, (1300, 2, 2, 1)).astype(np.uint8)
    labels = np.arange(1300, dtype=np.int32)
    counts = []

    def read(rows):
        counts.append(len(rows))
        return images[rows], {"label": labels[rows]}

    monkeypatch.setattr(sources_module, "LARGEST_COPY", 8 * least)
    source = Source(Description("any", "1", (2, 2, 1), 256, Conditions((("label", Label(1300)),))), 1300, read)
    found, known = source.first()
    np.testing.assert_array_equal(found, images[:least])
    np.testing.assert_array_equal(known["label"], labels[:least])
    assert sum(counts) == least and max(counts) <= 500
    assert not found.flags.writeable and not known["label"].flags.writeable
