"""The cache gives back what was saved, or nothing: never anything else."""

import os
import warnings

import numpy as np
import pytest

from ddpm_jax import cache

MADE_FROM = ["some recipe", np.arange(6, dtype=np.uint8).reshape(2, 3)]
CONTENT = bytes(range(40))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_said", [])
    return tmp_path / "cache"


@pytest.fixture
def entry(folder):
    """The file of the one entry there is."""
    cache.save("kind", MADE_FROM, CONTENT)
    (path,) = (path for path in folder.rglob("*") if path.is_file())
    return path


def test_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("DDPM_JAX_CACHE", "~/chosen")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / "chosen"
    monkeypatch.delenv("DDPM_JAX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_folder() == tmp_path / "xdg" / "ddpm_jax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.cache_folder() == tmp_path / ".cache" / "ddpm_jax"


def test_an_entry_belongs_to_its_kind_and_to_what_it_was_made_from(entry):
    assert cache.load("kind", MADE_FROM) == CONTENT
    assert cache.load("other", MADE_FROM) is None
    assert cache.load("kind", ["another recipe", MADE_FROM[1]]) is None
    assert cache.load("kind", [MADE_FROM[0], MADE_FROM[1] + 1]) is None
    cache.save("kind", MADE_FROM, b"")
    assert cache.load("kind", MADE_FROM) == b""


def test_no_flip_and_no_truncation_is_believed(entry):
    whole = entry.read_bytes()
    for bit in range(8 * len(whole)):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        entry.write_bytes(content)
        assert cache.load("kind", MADE_FROM) is None
    for size in range(len(whole)):
        entry.write_bytes(whole[:size])
        assert cache.load("kind", MADE_FROM) is None
    entry.write_bytes(whole + b"\0")
    assert cache.load("kind", MADE_FROM) is None
    cache.save("kind", MADE_FROM, CONTENT)
    assert entry.read_bytes() == whole


def test_the_content_of_another_is_not_believed(entry, folder):
    cache.save("kind", ["another recipe"], CONTENT)
    (other,) = (path for path in folder.rglob("*") if path.is_file() and path != entry)
    other.replace(entry)
    assert cache.load("kind", MADE_FROM) is None


@pytest.mark.parametrize("what", ["a folder", "a full folder", "a pipe", "a dangling link", "a link to itself"])
def test_what_lies_in_an_entrys_place_is_put_away(what, entry):
    entry.unlink()
    if "folder" in what:
        entry.mkdir()
        if "full" in what:
            (entry / "x").write_text("x")
    elif what == "a pipe":
        os.mkfifo(entry)
    else:
        entry.symlink_to(entry.name if "itself" in what else "nowhere")
    assert cache.load("kind", MADE_FROM) is None
    cache.save("kind", MADE_FROM, CONTENT)
    assert cache.load("kind", MADE_FROM) == CONTENT


def no_home(monkeypatch, folder):
    for name in ("HOME", "XDG_CACHE_HOME", "DDPM_JAX_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda user: {}[user])  # as for a user id with no entry


def unknown_user(monkeypatch, folder):
    monkeypatch.setenv("DDPM_JAX_CACHE", "~nobody-of-this-name/cache")


def a_file(monkeypatch, folder):
    folder.write_text("")


def a_dangling_link(monkeypatch, folder):
    folder.symlink_to("nowhere/at/all")


def a_file_for_the_kind(monkeypatch, folder):
    folder.mkdir()
    (folder / "kind").write_text("")


def a_full_disk(monkeypatch, folder):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "write_bytes", full)


@pytest.mark.parametrize("trouble", [no_home, unknown_user, a_file, a_dangling_link, a_file_for_the_kind, a_full_disk])
def test_where_nothing_can_be_kept_one_line_says_so(trouble, monkeypatch, folder):
    trouble(monkeypatch, folder)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for recipe in ("a", "b", "c"):
            assert cache.load("kind", [recipe]) is None
            cache.save("kind", [recipe], CONTENT)
        assert cache.load("kind", ["a"]) is None
    (line,) = (str(warning.message) for warning in told)
    assert "DDPM_JAX_CACHE" in line
    assert len(line.splitlines()) == 1
