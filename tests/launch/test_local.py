"""The local launcher: what it starts, and that it leaves nothing behind. tests/test_processes.py runs it for real."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from ddpm_jax.errors import Preempted, UserError


@pytest.mark.slow
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


SLEEPER = """
import os, signal, sys, time
def told(number, frame):
    time.sleep(0.3)
    sys.exit(85)
if "HEARS" in os.environ:
    signal.signal(signal.SIGTERM, told)
os.write(1, f"{os.getpid()}\\n".encode())
time.sleep(60)
"""


@pytest.fixture
def launcher():
    """Starts a launcher of two processes, and gives their ids."""
    folder = Path(__file__).parents[2] / "launch"
    program = (
        "import sys, local\nfrom ddpm_jax import commands\nlocal.GRACE = local.SAVING = 1\n"
        f"commands.run(lambda _: print(local.together([sys.executable, '-c', {SLEEPER!r}], [{{}}, {{}}])))"
    )
    started = []

    def start(**more):
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": f"{folder}:{folder.parent}", **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process, [int(process.stdout.readline()) for _ in range(2)]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
@pytest.mark.parametrize("hears", [True, False])
def test_a_launcher_that_is_stopped_takes_its_processes_with_it(launcher, number, hears):
    process, children = launcher(**({"HEARS": "1"} if hears else {}))
    process.send_signal(number)
    said, errors = process.communicate(timeout=20)
    assert process.returncode == (130 if number == signal.SIGINT else Preempted.code), errors
    assert said == ""
    assert "Traceback" not in errors
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


def test_processes_that_somebody_told_have_made_room(launcher):
    process, children = launcher(HEARS="1")
    for child in children:
        os.kill(child, signal.SIGTERM)
    assert process.communicate(timeout=20)[0] == "{0: 85, 1: 85}\n"


@pytest.mark.parametrize(
    ("codes", "code"), [({0: 85, 1: 85}, Preempted.code), ({0: 85}, UserError.code), ({0: 85, 1: 1}, UserError.code)]
)
def test_a_member_that_has_made_room_has_not_failed(load, monkeypatch, codes, code, tmp_path):
    """All its processes have; the other members go on, and the exit code says that there is something left."""
    local = load("local")
    members = [SimpleNamespace(name=name, command=list) for name in "ab"]
    options = SimpleNamespace(processes=2, devices=None, command="train", dry_run=False, plan=None)
    monkeypatch.setattr(local, "read", lambda *_: (options, members, tmp_path))
    monkeypatch.setattr(local.expansion, "check", lambda _: None)
    monkeypatch.setattr(local, "unfinished", lambda members: members)
    ran = []
    monkeypatch.setattr(local, "together", lambda *_: ran.append(1) or (codes if len(ran) == 1 else {}))
    with pytest.raises((Preempted, UserError)) as ended:
        local.main([])
    assert ended.value.code == code
    assert len(ran) == 2
