"""The local launcher: what it starts, and that it leaves nothing behind. tests/test_processes.py runs it for real."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def test_a_dry_run_shows_each_process_and_writes_nothing(launch, expected):
    words = ("--config=two.py", "--processes=2", "--devices=4", "--workdir=root", "--dry_run")
    expected(launch("local", *words), "local.txt")
    expected(launch("local", *words, "--command=sample", "--", "--count=16"), "local_sample.txt")
    assert list(Path().iterdir()) == [Path("two.py")]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--processes=0"], "--processes: 0 is less than 1"),
        (["--devices=0"], "--devices: 0 is less than 1"),
        (["--processes=two"], "argument --processes: invalid int value: 'two'"),
        (["--command=trian"], "argument --command: invalid choice: 'trian'"),
    ],
)
def test_wrong_options(launch, refused, words, line):
    assert refused(launch("local", "--config=two.py", *words)).startswith(line)


def test_a_process_that_fails_ends_those_that_wait(load, monkeypatch):
    local = load("local")
    monkeypatch.setattr(local, "GRACE", 0.2)
    program = "import os, sys, time\nif os.environ['I'] == '1': sys.exit(3)\ntime.sleep(60)"
    started = time.monotonic()
    codes = local.together([sys.executable, "-c", program], [{"I": str(index)} for index in range(3)])
    assert codes == {1: 3}
    assert time.monotonic() - started < 30
    assert local.together([sys.executable, "-c", ""], [{}, {}]) == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_launcher_that_is_stopped_takes_its_processes_with_it(number):
    sleeper = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    folder = Path(__file__).parents[2] / "launch"
    program = f"import sys, local; local.GRACE = 1; local.together([sys.executable, '-c', {sleeper!r}], [{{}}])"
    launcher = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": f"{folder}:{folder.parent}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    child = int(launcher.stdout.readline())
    launcher.send_signal(number)
    assert launcher.wait(20) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
