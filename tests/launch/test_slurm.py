"""Slurm, by stand-ins for its programs, and submitit's local executor for real. tests/slurm has Slurm itself."""

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
from ddpm_jax.errors import Preempted, UserError

SBATCH = '#!/bin/sh\ncp "$1" "$RECORD/script.sh" && echo "Submitted batch job 4242"\n'
SRUN = """#!/bin/sh
while true; do
    case "$1" in
        --unbuffered | --cpus-per-task=*) shift ;;
        --output | --error) shift 2 ;;
        *) break ;;
    esac
done
exec "$@"
"""
RESOURCES = ("--partition=gpu", "--time=60", "--cpus_per_task=4", "--mem=16GB", "--array_parallelism=1")


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Stand-ins for Slurm's programs on the PATH, and the folder of what they record."""
    (tmp_path / "bin").mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN)):
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


@pytest.mark.slow
def test_what_a_dry_run_shows_is_what_is_submitted(launch, cluster, expected):
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


@pytest.mark.slow
def test_what_is_submitted_trains_a_member(launch, cluster):
    done = launch("slurm", "--config=two.py", "--workdir=root", *RESOURCES)
    assert done.returncode == 0, done.stderr
    jobs = dict(line.split() for line in done.stdout.splitlines()[:2])
    process = as_slurm(cluster / "script.sh", 1)
    words, _ = process.communicate(timeout=200)
    assert process.returncode == 0, words
    assert "training in root/" in words
    assert runs.finished(Path("root") / jobs["4242_1"])
    assert json.loads((Path("root") / jobs["4242_1"] / "config.json").read_text())["seed"] == 1
    assert not (Path("root") / jobs["4242_0"]).exists()


def test_several_nodes_have_one_joined_process_a_gpu(launch, expected):
    expected(launch("slurm", "--config=two.py", "--nodes=2", "--gpus_per_node=2", "--dry_run"), "slurm_nodes.txt")


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
        (["--signal_delay=0"], "--signal_delay: 0 is less than 1"),
        (["--cluster=local", "--nodes=2"], "--nodes: 2 with --cluster=local, which is this machine alone"),
        (["--gpus_per_node=8", "--tasks_per_node=2"], "--tasks_per_node: 2 with 8 GPUs a node; JAX gives each of"),
        (["--workdir=two.py"], "two.py cannot be a sweep's folder (two.py is not a folder)"),
    ],
)
def test_wrong_input(launch, refused, no_programs, words, line):
    assert refused(launch("slurm", "--config=two.py", *words, PATH=no_programs)).startswith(line)
    assert list(Path().iterdir()) == [Path("two.py")]


def test_without_submitit_one_line_says_how_to_install_it(launch, refused):
    Path("submitit.py").write_text("raise ImportError")
    done = launch("slurm", "--config=two.py", PYTHONPATH=f"{Path.cwd()}:{Path(__file__).parents[2]}")
    assert refused(done) == "submitit is not installed; pip install -e '.[launch]'"


@pytest.mark.slow
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


MAKES_ROOM = """
import os, pathlib, signal, sys, time
def told(number, frame):
    pathlib.Path(f"{os.getpid()}.saved").touch()
    sys.exit(85)
signal.signal(signal.SIGTERM, told)
pathlib.Path(f"{os.getpid()}.started").touch()
time.sleep(60)
"""
LAUNCHER = """
import sys
from types import SimpleNamespace
from pathlib import Path
import submitit
from ddpm_jax import commands
import slurm
options = SimpleNamespace(dry_run=False, requeues=0, time=5, gpus_per_node=None, signal_delay=90, setup=SETUP)
members, lines = [SimpleNamespace(name="a"), SimpleNamespace(name="b")], [[sys.executable, "-c", PROGRAM]] * 2
commands.run(lambda _: slurm.run_here(submitit, Path("jobs").absolute(), options, 2, members, lines))
"""


@pytest.mark.parametrize(
    ("setup", "number", "whom"),
    [(None, signal.SIGTERM, "launcher"), (["true"], signal.SIGUSR1, "launcher"), (None, signal.SIGTERM, "job")],
)
def test_the_local_executors_job_makes_room(launch, load, setup, number, whom):
    """Whether the launcher is told, or somebody tells the job alone."""
    folder = Path(load("slurm").__file__).parent
    program = LAUNCHER.replace("SETUP", repr(setup)).replace("PROGRAM", repr(MAKES_ROOM))
    environment = {**os.environ, "PYTHONPATH": f"{folder}:{folder.parent}"}
    launcher = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(list(Path().glob("*.started"))) < 2:
        assert launcher.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    job = next(path.name.split("_")[0] for path in Path("jobs").glob("*_submitted.pkl"))
    os.kill(launcher.pid if whom == "launcher" else int(job), number)
    said, _ = launcher.communicate(timeout=60)
    assert launcher.returncode == Preempted.code
    assert said.splitlines()[-1] == "a: made room; the same command goes on"
    assert len(list(Path().glob("*.saved"))) == 2


def test_members_that_fail_here_are_named(load, tmp_path, capsys):
    slurm = load("slurm")
    options = SimpleNamespace(dry_run=False, requeues=0, time=5, gpus_per_node=None, signal_delay=90, setup=None)
    members = [SimpleNamespace(name="good"), SimpleNamespace(name="bad")]
    lines = [[sys.executable, "-c", f"exit({code})"] for code in (0, 3)]
    with pytest.raises(UserError, match=r"^1 of 2 failed: bad \(see \S*_log.err\)$"):
        slurm.run_here(submitit, tmp_path / "jobs", options, 1, members, lines)
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["good", "bad"]
