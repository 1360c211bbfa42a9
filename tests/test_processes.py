"""Two processes of four devices each, started by the local launcher, and one process of eight: the same figures.

A run that was saved on eight devices goes on with others, and one that is to make room saves once.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ddpm_jax.commands import joining
from ddpm_jax.training.lines import read_lines

ROOT = Path(__file__).resolve().parents[1]
CONFIG = """
from ddpm_jax.config.base import base

def get_config():
    config = base()
    config.data.batch = 16
    config.model.name = "dit"
    config.model.patch = 4
    config.model.channels = 8
    config.model.depth = 1
    config.model.heads = 1
    config.model.dropout = 0.0
    config.sampler.steps = 2
    config.sampler.ema = 0.5
    config.sampler.batch = 32
    config.optimizer.ema = (0.5,)
    config.optimizer.epsilon = 1e-3  # Adam turns rounding of a gradient near zero into a full step otherwise
    config.optimizer.warmup = 1
    config.optimizer.learning_rate = 0.05
    config.training.steps = 4
    config.training.dispatch = 2
    config.training.log_every = 2
    config.training.save_every = 2
    config.evaluation.validation_images = 32
    config.evaluation.likelihood_images = 32
    config.evaluation.likelihood_groups = 2
    config.evaluation.samples = 32
    config.evaluation.at_end = False
    config.evaluation.pictures = False
    config.logging.wandb = "off"
    return config
"""
SAMPLES = ["--count=11", "--seed=1"]
ALONE = """
import sys
from ddpm_jax.evaluate import main as evaluate
from ddpm_jax.sample import main as sample
from ddpm_jax.train import main as train
folder = f"--workdir={sys.argv[1]}"
train(["--config=tiny.py", folder])
sample([folder, *sys.argv[2:]])
evaluate([folder])
"""


def environment(**more):
    # compiled without optimisation: the programs are small
    return {**os.environ, "PYTHONPATH": str(ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", **more}


def python(*words, **more):
    done = subprocess.run(
        [sys.executable, *words], env=environment(**more), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def launch(*words):
    return python(f"{ROOT}/launch/local.py", "--config=tiny.py", "--processes=2", "--devices=4", *words)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The run folders of one process and of two, both trained, sampled and evaluated."""
    here = tmp_path_factory.mktemp("processes")
    before = Path.cwd()
    os.chdir(here)
    try:
        Path("tiny.py").write_text(CONFIG)
        python("-c", ALONE, "one", *SAMPLES, JAX_PLATFORMS="cpu", JAX_NUM_CPU_DEVICES="8", NPROC="16")
        launch("--workdir=two")
        launch("--workdir=two", "--command=sample", "--", *SAMPLES)
        launch("--workdir=two", "--command=evaluate")
        [two] = Path("two").iterdir()
        yield here / "one", here / two
    finally:
        os.chdir(before)


def result(folder):
    return json.loads((folder / "result.json").read_text())


@pytest.mark.slow
def test_two_processes_had_eight_devices_together(folders):
    one, two = map(result, folders)
    for figures in (two, two["evaluated"]):
        assert (figures["device"]["processes"], figures["device"]["count"]) == (2, 8)
    assert (one["device"]["processes"], one["device"]["count"]) == (1, 8)
    assert two["finished"] is True


@pytest.mark.slow
def test_losses_agree(folders):
    one, two = (read_lines(folder / "metrics.jsonl") for folder in folders)
    assert [row["step"] for row in two] == [row["step"] for row in one] == [2, 2, 4, 4]
    for name in ("loss", "gradient_norm", "validation_loss"):
        ours, theirs = ([row[name] for row in rows if name in row] for rows in (two, one))
        assert ours
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert one[0]["loss"] != one[2]["loss"]


@pytest.mark.slow
def test_samples_agree(folders):
    one, two = (np.load(folder / "samples" / "seed1.npz")["images"] for folder in folders)
    assert one.shape == two.shape == (11, 8, 8, 1)  # eleven on eight devices: padded, and none dropped
    assert (one == two).mean() > 0.99  # a level may round the other way
    assert np.abs(one.astype(int) - two).max() <= 1
    assert len({image.tobytes() for image in two}) == 11
    assert (folders[1] / "samples" / "seed1.png").is_file()


@pytest.mark.slow
def test_evaluations_agree(folders):
    one, two = map(result, folders)
    for split in ("train", "test"):
        ours, theirs = (figures["likelihood"][split] for figures in (two, one))
        assert ours["images"] == theirs["images"] == 32
        np.testing.assert_allclose(ours["value"], theirs["value"], rtol=1e-5)
    ours, theirs = (figures["quality"]["samples"] for figures in (two, one))
    assert ours["features_hash"] == theirs["features_hash"]
    for name in ("frechet", "precision", "recall", "copies", "variance"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-3, atol=1e-3)


def cut_back(folder, to, step):
    """A copy of a run as a kill would have left it after its checkpoint at `step`, its later row already written."""
    shutil.copytree(folder, to)
    for path in (to / "checkpoints").iterdir():
        if int(path.name) > step:
            shutil.rmtree(path)
    (to / "result.json").unlink()
    return to


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2, 4, "two processes"])
def test_a_run_saved_on_eight_devices_goes_on_with_others(folders, tmp_path, devices, monkeypatch):
    monkeypatch.chdir(folders[0].parent)
    whole = folders[0]
    if devices == "two processes":
        (name,) = (path.name for path in Path("two").iterdir())
        part = cut_back(whole, tmp_path / "two" / name, 2)
        launch(f"--workdir={tmp_path / 'two'}")
    else:
        part = cut_back(whole, tmp_path / "part", 2)
        words = ["-m", "ddpm_jax.train", "--config=tiny.py", f"--workdir={part}"]
        python(*words, JAX_PLATFORMS="cpu", JAX_NUM_CPU_DEVICES=str(devices), NPROC="16")
    ours, theirs = (read_lines(folder / "metrics.jsonl") for folder in (part, whole))
    assert [row["step"] for row in ours] == [2, 2, 4, 4]
    assert ours[:2] == theirs[:2]
    np.testing.assert_allclose(ours[2]["loss"], theirs[2]["loss"], rtol=1e-5)
    np.testing.assert_allclose(ours[3]["validation_loss"], theirs[3]["validation_loss"], rtol=1e-5)
    assert result(part)["finished"] is True


def free_port():
    sys.path.insert(0, str(ROOT / "launch"))
    try:
        import local
    finally:
        sys.path.pop(0)
    return local.free_port()


def started(folder, *words):
    """Two processes of two devices, started by hand, each with its own words; what they say goes into files."""
    address, processes = f"localhost:{free_port()}", []
    for index in range(2):
        own = {
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": "2",
            "NPROC": "16",
            **joining.environment(address, 2, index),
        }
        line = [sys.executable, "-m", "ddpm_jax.train", "--config=tiny.py", "--workdir=run", *words]
        with (folder / f"{index}.txt").open("w") as out:
            line.append("--config.parallel.distributed=True")
            processes.append(subprocess.Popen(line, cwd=folder, env=environment(**own), stdout=out, stderr=out))
    return processes


@pytest.mark.slow
def test_two_processes_that_are_to_make_room_save_once(tmp_path):
    """SIGTERM reaches one of them: both stop at the same step, which is saved whole, and end as preempted."""
    endless = CONFIG.replace("training.steps = 4", "training.steps = 10**6").replace(
        "save_every = 2", "save_every = 10**6"
    )
    (tmp_path / "tiny.py").write_text(endless)
    processes = started(tmp_path)
    try:
        deadline = time.monotonic() + 120
        while not read_lines(tmp_path / "run" / "metrics.jsonl"):
            assert time.monotonic() < deadline, (tmp_path / "0.txt").read_text()[-2000:]
            time.sleep(0.2)
        processes[1].send_signal(signal.SIGTERM)
        told = time.monotonic()
        assert [process.wait(60) for process in processes] == [85, 85]
        assert time.monotonic() - told < 30
    finally:
        for process in processes:
            process.kill()
    said = [(tmp_path / f"{index}.txt").read_text() for index in range(2)]
    assert not any("Traceback" in words for words in said)
    (saved,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert f"stopped at step {saved.name}, which is saved" in said[0]
    out = python("-m", "ddpm_jax.sample", f"--workdir={tmp_path / 'run'}", "--count=4", JAX_PLATFORMS="cpu")
    assert f"4 samples of step {saved.name}" in out


@pytest.mark.slow
def test_processes_of_two_configs_end_with_one_line_each(tmp_path):
    """Started by hand, as on a cluster that JAX does not know, one with another config."""
    (tmp_path / "tiny.py").write_text(CONFIG)
    address, processes = f"localhost:{free_port()}", []
    for index in range(2):
        words = ["--config=tiny.py", "--workdir=run", f"--config.seed={index}", "--config.parallel.distributed=True"]
        own = {"JAX_PLATFORMS": "cpu", **joining.environment(address, 2, index)}
        line = [sys.executable, "-m", "ddpm_jax.train", *words]
        processes.append(
            subprocess.Popen(line, cwd=tmp_path, env=environment(**own), stderr=subprocess.PIPE, text=True)
        )
    try:
        for process in processes:
            _, said = process.communicate(timeout=60)
            expected = (
                "error: the processes differ in config.seed: 0 in process 0, 1 in process 1; start all of them alike"
            )
            assert (process.returncode, said) == (2, f"{expected}\n")
    finally:
        for process in processes:
            process.kill()
    assert not (tmp_path / "run").exists()
