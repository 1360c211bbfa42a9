"""A run folder is one process's while it trains, and free again however that process ends."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys

import pytest

from ddpm_jax import runs
from ddpm_jax.errors import Busy, UserError
from ddpm_jax.runs import locks
from ddpm_jax.train import train

HOLD = """
import sys, time
from pathlib import Path
from ddpm_jax.runs import locks
with locks.hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """A process that holds tmp_path / "run"."""
    words = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_holder_is_named_until_it_is_killed(tmp_path, other):
    folder = tmp_path / "run"
    held = locks.holder(folder)
    assert held == locks.Holder(other.pid, socket.gethostname(), os.getpid())
    assert held.here
    with pytest.raises(Busy, match=f"is in use by process {other.pid} on {socket.gethostname()}; wait for it"):
        locks.check_free(folder)
    with pytest.raises(Busy), locks.hold(folder):
        pass
    assert locks.holder(folder) == held  # whoever asked in vain has changed nothing
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert locks.holder(folder) is None
    with locks.hold(folder):
        assert locks.holder(folder).pid == os.getpid()
    locks.check_free(folder)


def test_no_folder_and_no_lock(tmp_path):
    assert locks.holder(tmp_path / "missing") is None
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be a run folder"), locks.hold(tmp_path / "file"):
        pass


def test_whoever_only_asks_is_no_holder(tmp_path, monkeypatch):
    """Between its two attempts to lock, the other process has looked and gone."""
    with locks.hold(tmp_path):
        pass
    with (tmp_path / locks.LOCK).open() as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        monkeypatch.setattr("time.sleep", lambda seconds: fcntl.flock(asking, fcntl.LOCK_UN))
        with locks.hold(tmp_path):
            assert locks.holder(tmp_path).pid == os.getpid()


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOLCK])
def test_a_file_system_without_locks(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="no locks here; start no second process"), locks.hold(tmp_path):
        assert locks.holder(tmp_path) is None


def test_train_leaves_the_folder_of_another_process_alone(tmp_path, tiny_config, other):
    folder = tmp_path / "run"
    runs.make_folder(folder, tiny_config)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    with pytest.raises(Busy, match=f"is in use by process {other.pid} "):
        train(tiny_config, folder)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_claim_that_comes_second_writes_nothing(tmp_path, tiny_config, other):
    """Both found the folder free; the other process was quicker."""
    with pytest.raises(Busy), runs.claim(tmp_path / "run", tiny_config):
        pass
    assert [path.name for path in (tmp_path / "run").iterdir()] == [locks.LOCK]
