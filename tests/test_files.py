"""Files are written whole or not at all."""

import io
import json
import os

import pytest

from ddpm_jax import files


def test_write_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "a" / "b.json"
    files.write_json(path, {"x": 1})
    files.write_json(path, {"x": [2, "é"]})
    assert json.loads(path.read_text()) == {"x": [2, "é"]}
    assert [file.name for file in path.parent.iterdir()] == ["b.json"]


class Full(io.FileIO):
    """A file that the disk has room for a byte of."""

    def writelines(self, lines):
        self.write(lines[0][:1])
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("broken", ["write", "replace"])
def test_failed_write_leaves_the_old_file_and_no_part(tmp_path, monkeypatch, broken):
    path = tmp_path / "x"
    files.write_bytes(path, b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        if broken == "write":
            patch.setattr(type(path), "open", lambda path, mode: Full(path, "wb"))
        else:
            patch.setattr(os, broken, fail)
        files.write_bytes(path, b"new", b"er")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    files.write_bytes(path, b"new", b"er")
    assert path.read_bytes() == b"newer"


def test_value_that_is_no_json_leaves_the_old_file(tmp_path):
    files.write_json(tmp_path / "x", 1)
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "x", {1, 2})
    assert (tmp_path / "x").read_text() == "1\n"


def test_obstacle(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    assert files.obstacle(tmp_path) is None
    assert files.obstacle(tmp_path / "new" / "folder") is None
    assert "file is not a folder" in str(files.obstacle(tmp_path / "file"))
    assert "file is not a folder" in str(files.obstacle(tmp_path / "file" / "under"))
    assert files.obstacle(tmp_path / ("x" * 300)) == "File name too long"
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    assert "is not writable" in str(files.obstacle(tmp_path / "new"))
    assert not (tmp_path / "new").exists()
