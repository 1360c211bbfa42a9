"""The processes of a sweep: their shares of a machine, and what their logs say of how they ended."""

import os

import pytest

from ddpm_jax.sweeps import workers
from ddpm_jax.sweeps.workers import shares, visible_gpus


@pytest.fixture
def cores(monkeypatch):
    """A machine of eight cores, of which this process may use six."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 3, 4, 5, 6, 7})
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return monkeypatch


@pytest.mark.usefixtures("cores")
def test_cores_are_shared_out():
    assert [share.cores for share in shares(1)] == [{2, 3, 4, 5, 6, 7}]
    assert [share.cores for share in shares(2)] == [{2, 3, 4}, {5, 6, 7}]
    assert [share.cores for share in shares(4)] == [{2}, {3, 4}, {5}, {6, 7}]
    assert [share.cores for share in shares(7)] == [{2}, {3}, {4}, {5}, {6}, {7}, {2}]
    assert all(share.environment == {} for share in shares(3))


@pytest.mark.parametrize(
    ("gpus", "jobs", "expected"),
    [
        ("0,1,2,3", 2, ["0,1", "2,3"]),
        ("4,5,6,7", 3, ["4", "5", "6"]),  # as many for each: a batch divides for all or for none
        ("GPU-a,GPU-b", 2, ["GPU-a", "GPU-b"]),
        ("0,1", 3, ["0", "1", "0"]),
        ("0,-1", 2, ["0", "0"]),
    ],
)
def test_gpus_are_shared_out(cores, gpus, jobs, expected):
    cores.setenv("CUDA_VISIBLE_DEVICES", gpus)
    found = [share.environment for share in shares(jobs)]
    assert [variables["CUDA_VISIBLE_DEVICES"] for variables in found] == expected
    fractions = {variables.get("XLA_PYTHON_CLIENT_MEM_FRACTION") for variables in found}
    assert fractions == ({"0.45"} if expected.count("0") == 2 else {None})
    assert shares(1)[0].environment == {}  # one job has all there is


def test_gpus_that_the_driver_lists(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == []
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: GPU-1)'\necho '  MIG 1g: B'\necho 'GPU 1: A (UUID: GPU-2)'\n")
    program.chmod(0o755)
    assert visible_gpus() == ["0", "1"]
    program.write_text("#!/bin/sh\nexit 9\n")
    assert visible_gpus() == []


def test_the_lines_of_the_last_start(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("--- start one\nerror: old\n--- start two\n 0%| \r 5%| step\r\n\n warning: x \n")
    assert workers.last_lines(log) == ["0%|", "5%| step", "warning: x"]
    log.write_text("--- start\n" + "x\n" * 20_000 + "end\n")  # only the end is read
    assert workers.last_lines(log)[-1] == "end"
    assert workers.last_lines(tmp_path / "gone.txt") == []


def test_signals_have_names_or_numbers():
    assert workers.signal_name(9) == "SIGKILL"
    assert workers.signal_name(40) == "signal 40"
