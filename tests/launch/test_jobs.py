"""A member as a job: what it does with the signals of a cluster. Slurm's scontrol is a stand-in; see tests/slurm."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import submitit

from ddpm_jax.errors import Preempted

SBATCH = "#!/bin/sh\necho 'Submitted batch job 4242'\n"

SCONTROL = """#!/bin/sh
case "$1" in
    show) echo "JobId=4242 JobName=a b $TOLD" ;;
    *) echo "$@" >> scontrol; exit ${REFUSES:-0} ;;
esac
"""
"""Says what $TOLD holds of the job, and records what else it is asked."""

WAITS = """
import os, pathlib, signal, sys, time
def told(number, frame):
    pathlib.Path("told").touch()
    time.sleep(0.5)
    sys.exit(85)
signal.signal(signal.SIGTERM, told)
if os.path.exists("pid"):
    sys.exit(0)
pathlib.Path("pid.part").write_text(str(os.getpid()))
os.rename("pid.part", "pid")
time.sleep(60)
"""
"""Waits until it is told to make room. Started again it is done at once."""

RUNNING = "JobState=RUNNING Restarts=0 PreemptTime=None"
REQUEUED = "JobState=COMPLETING Restarts=1 PreemptTime=None"
THROWN_OUT = "JobState=COMPLETING Restarts=0 PreemptTime=2026-11-29T11:09:25"
CANCELLED = "JobState=COMPLETING Restarts=0 PreemptTime=None"


@pytest.fixture
def job(tmp_path, load, monkeypatch):
    """Starts a task of a job in an empty folder, and waits for its command."""
    (tmp_path / "bin").mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SBATCH), ("scontrol", SCONTROL)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    line = [sys.executable, "-c", WAITS]
    load("slurm").submit(submitit, tmp_path / "jobs", {"time": 600}, [SimpleNamespace(name="a")], [line], 3)
    started = []

    def start(told=RUNNING, rank=0, **more):
        own = {"SLURM_JOB_ID": "4242", "SLURM_PROCID": str(rank), "SLURM_NTASKS": "2", "SUBMITIT_EXECUTOR": "slurm"}
        words = [sys.executable, "-m", "submitit.core._submit", str(tmp_path / "jobs")]
        environment = {**os.environ, **own, "TOLD": told, **more}
        process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        started.append(process)
        deadline = time.monotonic() + 60
        while not Path("pid").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return process, int(Path("pid").read_text())

    yield start
    for process in started:
        process.kill()
        process.communicate()


def asked():
    """What scontrol was asked to do."""
    return Path("scontrol").read_text().splitlines() if Path("scontrol").exists() else []


def send(number, *pids):
    for pid in pids:
        os.kill(pid, number)


@pytest.mark.parametrize(
    ("numbers", "told", "requeued"),
    [
        ([signal.SIGTERM], REQUEUED, False),  # Slurm does it
        ([signal.SIGTERM], CANCELLED, False),
        ([signal.SIGTERM], THROWN_OUT, True),
        ([signal.SIGTERM], RUNNING, True),  # some time before the end
        ([signal.SIGUSR2], RUNNING, True),  # the time limit
        ([signal.SIGUSR2, signal.SIGTERM], RUNNING, True),
        ([signal.SIGUSR2, signal.SIGTERM], REQUEUED, False),
    ],
)
def test_a_job_that_is_told_lets_its_command_save_and_is_queued_again_once(job, numbers, told, requeued):
    """Slurm sends its signals to the command too, which hears SIGTERM, and does not mind SIGUSR2."""
    task, command = job(told)
    for number in numbers:
        send(number, task.pid, command)
    said, _ = task.communicate(timeout=30)
    assert task.returncode == (255 if requeued else Preempted.code), said  # the former is submitit's
    assert asked() == (["requeue 4242"] if requeued else [])
    assert Path("told").exists()
    assert "Traceback" not in said
    with pytest.raises(ProcessLookupError):
        os.kill(command, 0)
    assert not list(Path("jobs").glob("*_result.pkl"))  # it is not over
    again, _ = job(told)
    assert again.wait(30) == 0
    assert submitit.SlurmJob(Path("jobs").absolute(), "4242").result() == "done"


def test_a_command_that_is_told_alone_is_queued_again(job):
    task, command = job()
    os.kill(command, signal.SIGTERM)
    said, _ = task.communicate(timeout=30)
    assert asked() == ["requeue 4242"], said


def test_another_task_than_the_first_waits_for_it(job):
    """Its end could end the first task before that has queued the job again."""
    task, command = job(rank=1)
    send(signal.SIGUSR2, task.pid, command)
    deadline = time.monotonic() + 30
    while not Path("told").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(subprocess.TimeoutExpired):
        task.wait(1.5)
    task.terminate()  # the first task has done so
    assert task.wait(10) == Preempted.code
    assert asked() == []


@pytest.mark.parametrize(
    ("way", "line"), [("refused", "; submit it again"), ("gone", "; submit it again if it does not")]
)
def test_where_slurm_does_not_queue_it_again_a_line_says_so(job, way, line):
    if way == "gone":
        Path("bin/scontrol").write_text("#!/bin/sh\nexit 1\n")
    task, command = job(REFUSES="1")
    send(signal.SIGTERM, task.pid, command)
    said, _ = task.communicate(timeout=30)
    assert task.returncode == Preempted.code
    assert said.splitlines()[-1].endswith(line)
    assert "Traceback" not in said


def test_a_command_that_does_not_end_is_killed(load, monkeypatch):
    jobs = load("jobs")
    monkeypatch.setattr(jobs, "GRACE", 0.3)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    assert jobs.run([sys.executable, "-c", deaf], os.environ, [signal.SIGTERM]) in (-signal.SIGKILL, -signal.SIGTERM)


def test_a_job_whose_command_fails_fails(load, monkeypatch):
    jobs = load("jobs")
    monkeypatch.setattr(jobs, "SIGNALS", ())
    monkeypatch.setattr(sys, "tracebacklimit", None, raising=False)
    with pytest.raises(RuntimeError, match=r"^exit code 3: "):
        jobs.Job([sys.executable, "-c", "exit(3)"])()


def test_its_exit_code_is_that_of_a_run(load):
    assert Preempted.code == load("jobs").MADE_ROOM
