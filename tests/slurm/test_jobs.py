"""Jobs of a real Slurm, submitted by launch/slurm.py: they train, make room, are queued again, and go on.

All are submitted at the beginning and run side by side; those of two nodes are thrown out by a higher partition's.
What trains is the product; where only Slurm's part matters a script of a few lines stands in for it.
"""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import submitit

from ddpm_jax import runs
from tests.slurm import cluster

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.slurm,
    pytest.mark.skipif(bool(cluster.missing()), reason=str(cluster.missing())),
]

CONFIG = """
import os
from ddpm_jax.config.base import base

def get_config():
    os.nice({nice})
    config = base()
    config.data.batch = 8
    config.model.name = "dit"
    config.model.patch = 4
    config.model.channels = 8
    config.model.depth = 1
    config.model.heads = 1
    config.sampler.ema = 0.0
    config.optimizer.ema = ()
    config.training.steps = {steps}
    config.training.seconds = {seconds}
    config.training.log_every = {log}
    config.training.save_every = {save}
    config.evaluation.validation_images = 8
    config.evaluation.at_end = False
    config.evaluation.pictures = False
    config.logging.wandb = "off"
    return config
"""

SEEDS = """
def sweep():
    for seed in range(2):
        yield {"name": "tiny", "seed": seed}
"""

STANDS_IN = """
import os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
folder.mkdir(exist_ok=True)
(folder / f"{len(list(folder.iterdir()))}_started").write_text(str(os.getpid()))
def told(number, frame):
    (folder / f"{len(list(folder.iterdir()))}_saved").touch()
    sys.exit(85)
signal.signal(signal.SIGTERM, told)
time.sleep(1 if len(list(folder.iterdir())) > 1 else 600)
"""
"""Waits until it is told to make room, and is soon done when it is started again."""


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A working folder, with Slurm's variables set."""
    folder, before = Path(tempfile.mkdtemp(prefix="ddpm_jax_slurm_")), Path.cwd()  # a short name: sockets need one
    variables = cluster.start(folder / "slurm")
    variables |= {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    kept = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(before)
        for name, value in kept.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        cluster.stop(folder / "slurm")
        subprocess.run(["rm", "-rf", str(folder)], check=False)


class Run:
    """Members that are submitted by launch/slurm.py, from a config file of their own."""

    def __init__(self, name, *words, steps=0, seconds=0.0, log=10, save=100, nice=0, more="", **environment):
        self.name = name
        Path(f"{name}.py").write_text(CONFIG.format(steps=steps, seconds=seconds, log=log, save=save, nice=nice) + more)
        line = [sys.executable, f"{ROOT}/launch/slurm.py", f"--config={name}.py", f"--workdir={name}", *words]
        self._process = subprocess.Popen(
            line, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def submitted(self):
        """Wait for the launcher; then `jobs` and `folders` are known."""
        said, errors = self._process.communicate(timeout=120)
        assert self._process.returncode == 0, errors
        lines = dict(line.split() for line in said.splitlines()[:-1])
        self.jobs, self.folders = list(lines), [Path(self.name) / member for member in lines.values()]
        return self

    @property
    def log(self):
        return "".join(path.read_text() for path in sorted(Path(self.name, "jobs").glob("*log.*")))

    def rows(self, key):
        text = (self.folders[0] / "metrics.jsonl").read_text() if (self.folders[0] / "metrics.jsonl").exists() else ""
        return [row["step"] for row in map(json.loads, text.splitlines(True)[: text.count("\n")]) if key in row]

    def trains(self):
        """Whether it has logged something. Its job must not have ended by then."""
        assert not ended(self.jobs[0]), self.log
        return bool(self.rows("loss"))

    def starts(self):
        """The steps from which it has begun."""
        return [int(step) for step in re.findall(r"(?:training in|going on with) \S+ from step (\d+)", self.log)]

    def stops(self):
        return [int(step) for step in re.findall(r"stopped at step (\d+)", self.log)]


def slurm(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout


def facts(job):
    return dict(word.split("=", 1) for word in slurm("scontrol", "show", "job", "-o", job).split() if "=" in word)


def wait_for(condition, what, seconds=150.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"{what() if callable(what) else what}\n{slurm('squeue')}"
        time.sleep(0.1)
    return found


def ended(job):
    return (state := facts(job)["JobState"]) not in ("PENDING", "RUNNING", "COMPLETING") and state


def stand_in(name, requeues=3, **parameters):
    """A job of the script; returns its number."""
    sys.path.insert(0, str(ROOT / "launch"))
    try:
        launcher = importlib.import_module("slurm")
        line, folder = [sys.executable, "-c", STANDS_IN, str(Path(name).absolute())], Path(f"{name}_jobs")
        own = {"time": 30, "additional_parameters": {"requeue": True}, "constraint": "second", **parameters}
        launcher.submit(submitit, folder.absolute(), own, [SimpleNamespace(name=name)], [line], requeues)
    finally:
        sys.path.pop(0)
        for module in ("members", "jobs", "local", "slurm"):
            sys.modules.pop(module, None)
    return next(iter(folder.glob("*_submitted.pkl"))).name.split("_")[0]


def steps_of(name):
    """What the script has done, in order."""
    return [path.name.split("_")[1] for path in sorted(Path(name).iterdir())] if Path(name).exists() else []


@pytest.fixture(scope="module")
def jobs(here):
    """All jobs: those on two nodes are thrown out by another when this returns."""
    found = SimpleNamespace(
        timed=Run("timed", "--constraint=second", "--time=1", "--signal_delay=35", steps=10**7, save=10**6, nice=5),
        room=Run("room", "--constraint=first", seconds=40.0),
        two=Run("two", "--constraint=localhost", "--tasks_per_node=2", seconds=60.0, JAX_NUM_CPU_DEVICES="2"),
        array=Run("members", "--constraint=second", "--cpus_per_task=2", steps=200, more=SEEDS),
    )
    found.grace = stand_in("grace", partition="grace", constraint="first")
    found.cancel = stand_in("cancel", partition="cancel", constraint="first")
    found.late = stand_in("late", requeues=0, time=1, signal_delay_s=35)
    found.alone = stand_in("alone")
    found.scancelled = stand_in("scancelled")
    for run in vars(found).values():
        if isinstance(run, Run):
            run.submitted()
    running = {"first": found.room, "localhost": found.two}
    while running:
        node, run = wait_for(
            lambda: next((item for item in running.items() if item[1].trains()), None),
            lambda: "\n".join(run.log for run in running.values()),
        )
        line = ["--partition=high", f"--nodelist={node}", "--exclusive", "--output=/dev/null", "--wrap=sleep 1"]
        slurm("sbatch", *line)
        del running[node]
    return found


@pytest.mark.parametrize("name", ["room", "two"])
def test_a_run_that_is_thrown_out_saves_and_goes_on_from_there(jobs, name):
    """The one of two processes saves once, and both go on."""
    run = getattr(jobs, name)
    wait_for(lambda: ended(run.jobs[0]), lambda: run.log)
    assert facts(run.jobs[0])["JobState"] == "COMPLETED", run.log
    assert facts(run.jobs[0])["Restarts"] == "1"
    assert len(run.stops()) == 1, run.log
    [saved] = run.stops()
    assert run.starts() == [0, saved], run.log
    result = json.loads((run.folders[0] / "result.json").read_text())
    last = result["steps"]
    assert last > saved
    assert run.rows("loss") == [*range(10, last, 10), last]
    assert run.rows("validation_loss") == [*range(100, last, 100), last]
    assert runs.finished(run.folders[0])
    assert result["device"]["processes"] == (1 if name == "room" else 2)
    assert result["device"]["count"] == (1 if name == "room" else 4)


def test_an_array_of_members(jobs):
    run = jobs.array
    assert {job.split("_")[1] for job in run.jobs} == {"0", "1"}
    for job, folder in zip(run.jobs, run.folders, strict=True):
        wait_for(lambda job=job: ended(job), lambda: run.log)
        assert facts(job)["JobState"] == "COMPLETED"
        assert runs.finished(folder)
    assert [json.loads((folder / "config.json").read_text())["seed"] for folder in run.folders] == [0, 1]


@pytest.mark.parametrize("name", ["grace", "cancel"])
def test_partitions_that_only_end_a_job_that_makes_room(jobs, name):
    """In one it is told some time before, and still counts as running; in the other it is not queued again by Slurm."""
    job = getattr(jobs, name)
    wait_for(lambda: len(steps_of(name)) == 3 and ended(job), lambda: steps_of(name))  # it has ended once before
    assert steps_of(name) == ["started", "saved", "started"]
    assert facts(job)["JobState"] == "COMPLETED"
    assert submitit.SlurmJob(Path(f"{name}_jobs"), job).result() == "done"


def test_a_command_that_somebody_tells_alone_is_queued_again(jobs):
    wait_for(lambda: steps_of("alone"), "it does not start")
    os.kill(int(Path("alone/0_started").read_text()), signal.SIGTERM)
    wait_for(lambda: len(steps_of("alone")) == 3, lambda: steps_of("alone"))
    assert wait_for(lambda: ended(jobs.alone), "it does not end") == "COMPLETED"
    assert steps_of("alone") == ["started", "saved", "started"]


def test_a_job_that_is_cancelled_saves_and_is_not_queued_again(jobs):
    wait_for(lambda: steps_of("scancelled"), "it does not start")
    slurm("scancel", jobs.scancelled)
    assert wait_for(lambda: ended(jobs.scancelled), "it does not end", 20) == "CANCELLED"
    assert steps_of("scancelled") == ["started", "saved"]
    assert facts(jobs.scancelled)["Restarts"] == "0"


def test_at_the_end_of_its_time_a_run_saves_is_queued_again_and_goes_on(jobs):
    """And when it is cancelled then, it saves and ends."""
    run = jobs.timed
    [job] = run.jobs
    first, second, *_ = starts = wait_for(lambda: len(run.starts()) > 1 and run.starts(), lambda: run.log)
    assert starts == [first, *run.stops()][: len(starts)]
    assert first == 0 < second
    assert int(facts(job)["Restarts"]) >= 1
    assert "SIGUSR2" in "".join(path.read_text() for path in Path("timed/jobs").glob("*.err"))
    rows = wait_for(lambda: (rows := run.rows("loss"))[-1:] > [second + 10] and rows, lambda: run.log)
    assert rows == list(range(10, rows[-1] + 1, 10))
    slurm("scancel", job)
    assert wait_for(lambda: ended(job), lambda: run.log, 20) == "CANCELLED"
    saved = run.stops()[-1]
    assert saved > second
    assert runs.latest_checkpoint(run.folders[0]) == saved


def test_too_many_time_limits_are_a_failure(jobs):
    assert wait_for(lambda: ended(jobs.late), "it does not end") == "FAILED"
    assert steps_of("late") == ["started", "saved"]
    with pytest.raises(submitit.core.utils.FailedJobError, match="timed-out too many times"):
        submitit.SlurmJob(Path("late_jobs"), jobs.late).result()
