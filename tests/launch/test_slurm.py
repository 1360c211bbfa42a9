"""Slurm, by stand-ins for its programs, and submitit's local executor for real."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import submitit

from ddpm_jax import runs
from ddpm_jax.errors import UserError

SBATCH = '#!/bin/sh\ncp "$1" "$RECORD/script.sh" && echo "Submitted batch job 4242"\n'
SRUN = """#!/bin/sh
while true; do
    case "$1" in
        --unbuffered) shift ;;
        --output | --error) shift 2 ;;
        *) break ;;
    esac
done
exec "$@"
"""
SCONTROL = '#!/bin/sh\necho "$@" >> "$RECORD/scontrol"\n'
RESOURCES = ("--partition=gpu", "--time=60", "--cpus_per_task=4", "--mem=16GB", "--array_parallelism=1")


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Stand-ins for Slurm's programs on the PATH, and the folder of what they record."""
    (tmp_path / "bin").mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("scontrol", SCONTROL)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("RECORD", str(tmp_path))
    return tmp_path


def as_slurm(script, index):
    """What Slurm does with one job of an array."""
    own = {"SLURM_JOB_ID": str(4242 + index), "SLURM_ARRAY_JOB_ID": "4242", "SLURM_ARRAY_TASK_ID": str(index)}
    place = {"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_JOB_NUM_NODES": "1"}
    environment = {**os.environ, **own, **place, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    return subprocess.Popen(
        ["bash", str(script)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_what_a_dry_run_shows_is_what_is_submitted_and_it_trains_a_member(launch, cluster, expected):
    words = ("--config=two.py", "--workdir=root", *RESOURCES)
    shown = launch("slurm", *words, "--dry_run")
    expected(shown, "slurm.txt")
    assert not Path("root").exists()
    done = launch("slurm", *words)
    assert done.returncode == 0, done.stderr
    script = (cluster / "script.sh").read_text()
    assert shown.stdout.startswith(script)
    jobs = dict(line.split() for line in done.stdout.splitlines()[:2])
    assert list(jobs) == ["4242_0", "4242_1"]

    process = as_slurm(cluster / "script.sh", 1)
    words, _ = process.communicate(timeout=200)
    assert process.returncode == 0, words
    assert "training in root/" in words
    assert runs.finished(Path("root") / jobs["4242_1"])
    assert json.loads((Path("root") / jobs["4242_1"] / "config.json").read_text())["seed"] == 1
    assert not (Path("root") / jobs["4242_0"]).exists()


def test_several_nodes_have_one_joined_process_a_gpu(launch, expected):
    expected(launch("slurm", "--config=two.py", "--nodes=2", "--gpus_per_node=8", "--dry_run"), "slurm_nodes.txt")


WAITS = """
import os, pathlib, sys, time
if os.path.exists("pid"):
    sys.exit(0)
pathlib.Path("pid.part").write_text(str(os.getpid()))
os.rename("pid.part", "pid")
time.sleep(60)
"""


def test_a_job_that_is_to_make_room_is_queued_again_and_goes_on(cluster, load, monkeypatch):
    """Slurm sends SIGTERM, and later SIGUSR2, to every process of a job."""
    monkeypatch.chdir(cluster)
    lines, folder = [[sys.executable, "-c", WAITS]], cluster / "jobs"
    load("slurm").submit(submitit, folder, {"time": 60}, [SimpleNamespace(name="a")], lines, 3)
    environment = {"SLURM_JOB_ID": "4242", "SLURM_PROCID": "0", "SUBMITIT_EXECUTOR": "slurm"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    line = [sys.executable, "-m", "submitit.core._submit", str(folder)]
    job = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not Path("pid").exists():
        assert job.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child = int(Path("pid").read_text())
    for number in (signal.SIGTERM, signal.SIGUSR2):
        os.kill(child, number)
        os.kill(job.pid, number)
        time.sleep(0.3)
    assert job.wait(30) != 0
    assert Path("scontrol").read_text() == "requeue 4242\n"
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert subprocess.run(line, capture_output=True, timeout=60, check=False).returncode == 0
    assert submitit.SlurmJob(folder, "4242").result() == "done"


def test_a_job_whose_command_fails_fails(load):
    with pytest.raises(RuntimeError, match=r"^exit code 3: "):
        load("jobs").Job([sys.executable, "-c", "exit(3)"])()


def test_a_refusal_of_slurm_is_one_line_and_leaves_nothing(cluster, load):
    (cluster / "bin" / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition' >&2; exit 1\n")
    arguments = {"time": 60}, [SimpleNamespace(name="a")] * 2, [["true"]] * 2, 3
    with pytest.raises(UserError, match=r"^Slurm does not take the jobs: .*invalid partition"):
        load("slurm").submit(submitit, cluster / "jobs", *arguments)
    assert not (cluster / "jobs").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            [],
            "there is no program sbatch here; start this on a machine of the cluster, or use --cluster=local",
        ),
        (["--nodes=0"], "--nodes: 0 is less than 1"),
        (["--cluster=local", "--nodes=2"], "--nodes: 2 with --cluster=local, which is this machine alone"),
        (["--gpus_per_node=8", "--tasks_per_node=2"], "--tasks_per_node: 2 with 8 GPUs a node; JAX gives each of"),
        (["--workdir=two.py"], "two.py cannot be a sweep's folder (two.py is not a folder)"),
    ],
)
def test_wrong_input(launch, refused, words, line):
    assert refused(launch("slurm", "--config=two.py", *words)).startswith(line)
    assert list(Path().iterdir()) == [Path("two.py")]


def test_without_submitit_one_line_says_how_to_install_it(launch, refused):
    Path("submitit.py").write_text("raise ImportError")
    done = launch("slurm", "--config=two.py", PYTHONPATH=f"{Path.cwd()}:{Path(__file__).parents[2]}")
    assert refused(done) == "submitit is not installed; pip install -e '.[launch]'"


def test_submitit_runs_two_joined_processes_on_this_machine(launch):
    text = Path("two.py").read_text()
    Path("one.py").write_text(text[: text.index("def sweep")])
    words = ("--config=one.py", "--workdir=root", "--cluster=local", "--tasks_per_node=2")
    done = launch("slurm", *words, JAX_PLATFORMS="cpu")
    assert done.returncode == 0, done.stderr
    [folder] = (path for path in Path("root").iterdir() if path.name != "jobs")
    assert runs.finished(folder)
    assert json.loads((folder / "result.json").read_text())["device"]["processes"] == 2
    again = launch("slurm", *words)
    assert (again.returncode, again.stdout) == (0, "1 of 1 are finished\n")


def test_members_that_fail_here_are_named(load, tmp_path, capsys):
    slurm = load("slurm")
    options = SimpleNamespace(dry_run=False, requeues=0, time=5, gpus_per_node=None, setup=None)
    members = [SimpleNamespace(name="good"), SimpleNamespace(name="bad")]
    lines = [[sys.executable, "-c", f"exit({code})"] for code in (0, 3)]
    with pytest.raises(UserError, match=r"^1 of 2 failed: bad \(see \S*_log.err\)$"):
        slurm.run_here(submitit, tmp_path / "jobs", options, 1, members, lines)
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["good", "bad"]
