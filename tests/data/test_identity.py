"""A fingerprint tells data apart that look right by themselves, and takes equal data for equal."""

import json
import shutil

import numpy as np
import pytest

from ddpm_jax.conditions import labels as classes
from ddpm_jax.data import Dataset, Description, Source, difference, digits, fingerprint, identity, load


def dataset(images, labels=None, levels=5, words="train", files=None):
    labels = np.zeros(len(images), np.int32) if labels is None else labels
    description = Description("any", "1.0.0", images.shape[1:], levels, classes(3))
    source = Source(description, len(images), lambda rows: (images[rows], {"label": labels[rows]}), words=words)
    return Dataset(description, {"train": source}, files=files or {})


IMAGES = np.arange(24, dtype=np.uint8).reshape(6, 2, 2) % 5


def test_it_is_plain_and_the_same_for_the_same_data(tiny, tmp_path):
    first = fingerprint(load("tiny", tiny.parents[1]))
    assert json.loads(json.dumps(first)) == first
    shutil.copytree(tiny, tmp_path / "elsewhere" / "tiny" / "1.2.3")
    again = fingerprint(load("tiny", tmp_path / "elsewhere"))
    assert difference(json.loads(json.dumps(first)), again) is None


def test_the_digits_are_the_same_with_and_without_a_cache(monkeypatch):
    kept = fingerprint(load("digits"))
    monkeypatch.setenv("DDPM_JAX_CACHE", "/dev/null/nowhere")
    digits._builder_class.cache_clear()
    assert difference(kept, fingerprint(load("digits"))) is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"images": IMAGES[::-1]}, "splits.train.sha256"),
        ({"labels": np.ones(6, np.int32)}, "splits.train.sha256"),
        ({"images": IMAGES[:5]}, "splits.train.images"),
        ({"levels": 7}, "description.levels"),
        ({"words": "train[:6]"}, "splits.train.words"),
    ],
)
def test_any_change_is_named_in_a_line(change, named):
    before = fingerprint(dataset(IMAGES))
    told = difference(before, fingerprint(dataset(**{"images": IMAGES, **change})))
    assert named in (told or "")
    assert len((told or "").splitlines()) == 1
    assert difference(before, {**before, "splits": {}})


def test_large_splits_are_told_by_their_files(monkeypatch):
    monkeypatch.setattr(identity, "LARGEST", 10)
    first = fingerprint(dataset(IMAGES, files={"a": 5}))
    assert "sha256" not in first["splits"]["train"]
    assert "files.a" in (difference(first, fingerprint(dataset(IMAGES, files={"a": 6}))) or "")
