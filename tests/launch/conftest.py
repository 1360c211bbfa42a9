"""The launchers are scripts of a folder that is no package."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "launch"
MODULES = ("members", "jobs", "local", "slurm", "skypilot", "xpk")


@pytest.fixture(autouse=True)
def _no_cluster_around(monkeypatch):
    """Neither these tests nor what they start take themselves for a job, where they are run as one."""
    for name in list(os.environ):
        if name.startswith(("SLURM_", "SUBMITIT_")):
            monkeypatch.delenv(name)


@pytest.fixture
def no_programs(tmp_path):
    """A PATH on which there is nothing, whatever is installed."""
    (tmp_path / "nothing").mkdir()
    return str(tmp_path / "nothing")


@pytest.fixture
def load(monkeypatch):
    """Imports a module of the folder, as its scripts do, and forgets it after the test."""
    monkeypatch.syspath_prepend(FOLDER)
    yield importlib.import_module
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def launch(tmp_path, monkeypatch):
    """Runs a launcher in a process of its own, in a folder that is empty but for a config of two tiny members."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("two.py").write_text(TWO)

    def run(name, *words, **environment):
        return subprocess.run(
            [sys.executable, str(FOLDER / f"{name}.py"), *words],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
                "TQDM_DISABLE": "1",
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


TWO = """
from ddpm_jax.config.base import base

def get_config():
    config = base()
    config.data.batch = 4
    config.model.name = "dit"
    config.model.patch = 4
    config.model.channels = 8
    config.model.depth = 1
    config.model.heads = 1
    config.sampler.ema = 0.0
    config.optimizer.ema = ()
    config.training.steps = 2
    config.training.save_every = 2
    config.evaluation.validation_images = 4
    config.evaluation.at_end = False
    config.evaluation.pictures = False
    config.logging.wandb = "off"
    return config

def sweep():
    for seed in range(2):
        yield {"name": "tiny", "seed": seed}
"""


@pytest.fixture
def refused():
    """The one line with which a launcher ended."""

    def line(done):
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        return done.stderr.removeprefix("error: ").rstrip("\n")

    return line


@pytest.fixture
def expected():
    """Checks a launcher's output, less what differs between machines, against a file of `expected/`.

    With WRITE_EXPECTED in the environment the files are written anew, to be looked at in the diff.
    """

    def check(done, name):
        assert done.returncode == 0, done.stderr
        said = done.stdout
        # the longest first: Python may lie in the checkout
        for ours, word in ((sys.executable, "PYTHON"), (Path.cwd(), "HERE"), (ROOT, "ROOT")):
            said = said.replace(str(ours), word)
        said = re.sub("-[0-9a-f]{8}\\b", "-HASH", said)
        path = Path(__file__).parent / "expected" / name
        if "WRITE_EXPECTED" in os.environ:
            path.write_text(said)
        assert said == path.read_text()

    return check
