import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from sklearn.datasets import load_digits

from ddpm_jax.data import digits, load

PREPARE = "from ddpm_jax.data import load; images, _ = load('digits').split('train').arrays(); print(int(images.sum()))"


def everything(dataset):
    parts = [dataset.split(name).arrays() for name in ("train", "validation", "test")]
    return [np.concatenate(part) for part in zip(*((images, known["label"]) for images, known in parts), strict=True)]


def test_counts_order_and_description():
    dataset = load("digits")
    assert {name: len(source) for name, source in dataset.sources.items()} == {
        "train": 1000,
        "validation": 350,
        "test": 447,
    }
    images, labels = everything(dataset)
    truth = load_digits()
    np.testing.assert_array_equal(images[..., 0], truth.images)
    np.testing.assert_array_equal(labels, truth.target)
    assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
    assert images.max() == 16
    assert dataset.description == digits.DESCRIPTION
    assert (dataset.description.shape, dataset.description.levels, dataset.description.labels) == ((8, 8, 1), 17, 10)


def test_without_tfds_the_result_is_the_same(monkeypatch):
    with_tfds = load("digits")
    expected = everything(with_tfds)
    monkeypatch.setenv("DDPM_JAX_CACHE", "/dev/null/nowhere")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    digits._builder_class.cache_clear()
    plain = load("digits")
    assert plain.description == with_tfds.description
    assert [(name, len(source)) for name, source in plain.sources.items()] == [
        (name, len(source)) for name, source in with_tfds.sources.items()
    ]
    for one, other in zip(everything(plain), expected, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    rows = [3, 0, 5]
    found, wanted = plain.split("test").rows(rows), with_tfds.split("test").rows(rows)
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


def test_a_cache_that_cannot_be_written_does_not_stop_it(monkeypatch):
    monkeypatch.setenv("DDPM_JAX_CACHE", "/dev/null/nowhere")
    digits._builder_class.cache_clear()
    assert load("digits").split("train").arrays()[0].shape == (1000, 8, 8, 1)


def test_a_disk_that_fills_up_does_not_stop_it(monkeypatch, cache):
    class Builder:
        def __init__(self, data_dir, file_format):
            (Path(data_dir) / "half").write_text("")

        def download_and_prepare(self):
            raise RuntimeError("write() failed: No space left on device\nand more")

    monkeypatch.setattr(digits, "_builder_class", lambda: Builder)
    monkeypatch.setattr("ddpm_jax.cache._said", [])
    with pytest.warns(UserWarning, match="No space left on device") as told:
        assert load("digits").split("train").arrays()[0].shape == (1000, 8, 8, 1)
        assert load("digits").split("test").arrays()[0].shape == (447, 8, 8, 1)
    assert len(told) == 1
    assert not list(cache.rglob("half"))


def test_nothing_is_printed(capfd):
    load("digits").split("train").arrays()
    assert capfd.readouterr() == ("", "")


def test_with_a_decoded_copy_neither_tfds_nor_scikit_learn_is_imported():
    load("digits").split("train").arrays()
    late = f"{PREPARE}; import sys; print(sorted({{'tensorflow_datasets', 'sklearn'}} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", late], capture_output=True, text=True, check=True, timeout=120)
    assert result.stdout.split() == [str(int(load_digits().images[:1000].sum())), "[]"]


@pytest.mark.slow
def test_two_processes_may_prepare_at_once(cache):
    started = [subprocess.Popen([sys.executable, "-c", PREPARE], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sums = [process.communicate(timeout=120)[0].strip() for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert sums == [str(int(load_digits().images[:1000].sum()))] * 2
    assert sorted(path.name for path in cache.iterdir()) == ["facts", "images", "tfds"]  # no temporary folder is left


@pytest.mark.slow
def test_a_set_that_is_not_as_it_was_written_is_prepared_again():
    folder = digits.prepare()
    files = sorted(folder.iterdir())
    assert {"manifest.json", "metadata.json", "dataset_info.json", "features.json"} <= {path.name for path in files}
    for number, path in enumerate(files):
        content = path.read_bytes()
        if number % 3 == 0:
            path.unlink()
        elif number % 3 == 1:
            path.write_bytes(content[: len(content) // 2])
        else:
            place = len(content) // 3
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert not digits._whole(folder)
        assert digits.prepare() == folder
        assert digits._whole(folder)
    assert load("digits").description == digits.DESCRIPTION
    for images, truth in zip(everything(load("digits")), (load_digits().images, load_digits().target), strict=True):
        np.testing.assert_array_equal(images.squeeze(), truth)


def test_no_flip_in_a_set_is_taken_for_whole():
    folder = digits.prepare()
    for path in folder.iterdir():
        content = path.read_bytes()
        for place in range(0, len(content), max(1, len(content) // 15)):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
            assert not digits._whole(folder) or path.name == "manifest.json"
        path.write_bytes(content)
    assert digits._whole(folder)
    (folder / "stranger").write_text("")
    assert not digits._whole(folder)
    (folder / "stranger").unlink()
    (folder / "stranger").mkdir()
    assert not digits._whole(folder)


def test_an_interrupted_preparation_leaves_no_set(monkeypatch):
    def interrupted(split):
        raise KeyboardInterrupt

    monkeypatch.setattr(digits, "arrays", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load("digits")
    assert not (digits.cache_folder() / "tfds" / "digits" / "1.0.0").exists()
