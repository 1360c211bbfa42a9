"""Settings of a whole test run: caches of its own, which its processes share and which go when it ends."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest


def pytest_configure(config):
    if hasattr(config, "workerinput"):  # a worker process has its parent's environment
        return
    folder = Path(tempfile.mkdtemp(prefix="ddpm_jax_tests_"))
    os.environ["DDPM_JAX_CACHE"] = str(folder / "cache")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "compiled"))
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def _tiny_config():
    from ddpm_jax.base import base

    config = base()
    config.data.batch = 8
    config.model.channels = 4
    config.model.multipliers = (1,)
    config.model.blocks = 1
    config.model.attention_resolutions = ()
    config.model.groups = 2
    config.model.conditional = True
    config.sampler.steps = 2
    config.sampler.ema = 0.9
    config.sampler.batch = 4
    config.optimizer.ema = (0.9,)
    config.training.steps = 2
    config.training.log_every = 1
    config.evaluation.validation_images = 8
    config.evaluation.at_end = False
    config.evaluation.pictures = False
    config.logging.wandb = "off"
    return config


@pytest.fixture
def tiny_config():
    """A config of a small conditional U-Net on the digits, with two steps of training and of sampling."""
    return _tiny_config()


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of a finished run of the tiny config. Tests change copies only."""
    from ddpm_jax.train import train

    folder = tmp_path_factory.mktemp("trained") / "run"
    train(_tiny_config(), folder)
    return folder


@pytest.fixture
def nothing_prepared(monkeypatch, tmp_path):
    """No TFDS data directory, and an empty working folder."""
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def stand_ins(monkeypatch, nothing_prepared):
    """Sweeps in an empty working folder whose runs take a moment and need no jax: `stand_in_run.py`."""
    from ddpm_jax import sweep_loop, sweeping

    tests = Path(__file__).parent
    real = sweeping.Member.command

    def command(self, python=sys.executable):
        return [python, str(tests / "stand_in_run.py"), *real(self)[3:]]

    monkeypatch.setattr(sweeping.Member, "command", command)
    monkeypatch.setattr(sweeping, "check", lambda members, data=False: [400] * len(members))
    monkeypatch.setattr(sweep_loop, "PAUSE", 0.02)
    monkeypatch.setenv("PYTHONPATH", str(tests.parent))
    return monkeypatch
