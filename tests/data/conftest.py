"""Fixtures of the data tests: a cache of their own, no network, prepared TFDS sets."""

import socket

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Each test has an empty cache, and no data directory but the one it names."""
    monkeypatch.setenv("DDPM_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Nothing here may ask the network for anything, not even in vain."""

    def refuse(self, address):
        raise AssertionError(f"a connection to {address} was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def write_set(tmp_path):
    """A function that writes a small TFDS set as array_record and returns its folder; the root is tmp_path / "sets"."""
    tfds = pytest.importorskip("tensorflow_datasets")
    from ddpm_jax.data.tfds import quiet

    def write(name, features, splits, metadata=None):
        def info(self):
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features(tfds.features)),
                metadata=tfds.core.MetadataDict(metadata) if metadata else None,
                disable_shuffling=True,
            )

        members = {
            "name": name,
            "VERSION": tfds.core.Version("1.2.3"),
            "_info": info,
            "_split_generators": lambda self, dl_manager: {key: enumerate(rows) for key, rows in splits.items()},
            "_generate_examples": lambda self: None,
        }
        with tfds.core.registered.skip_registration(), quiet():
            builder = type(name.title(), (tfds.core.GeneratorBasedBuilder,), members)(
                data_dir=tmp_path / "sets", file_format="array_record"
            )
            builder.download_and_prepare()
        return tmp_path / "sets" / name / "1.2.3"

    return write


@pytest.fixture
def tiny(write_set):
    """40 volumes of 2x3x4 with one channel and five levels, three labels; a test split of 10."""
    rows = [{"image": np.full((2, 3, 4, 1), i % 5, np.uint8), "label": i % 3} for i in range(50)]

    def features(kinds):
        return {"image": kinds.Tensor(shape=(2, 3, 4, 1), dtype=np.uint8), "label": kinds.ClassLabel(num_classes=3)}

    return write_set("tiny", features, {"train": rows[:40], "test": rows[40:]}, {"levels": 5})
