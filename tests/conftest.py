"""Settings of a whole test run: caches of its own, which its processes share and which go when it ends.

Most of a test's time is compilation, and few tests compute much: JAX is asked to compile without optimising, and XLA to
make fused loops in its older way, which takes half the time. `JAX_DISABLE_MOST_OPTIMIZATIONS=0 python -m pytest`
tests the programs of every user.
"""

import gc
import os
import shutil
import signal
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest

_QUICK = {
    "--xla_cpu_use_fusion_emitters=false": ("0.10.",),
    "--xla_cpu_parallel_codegen_split_count=1": ("0.10.", "0.12."),
}
"""What makes XLA compile in less time, and no worker on another's core, and the versions of jaxlib that know it.

XLA ends the process for a flag that it has lost."""


GIVEN = os.environ.get("TFDS_DATA_DIR")


def _compile_quickly():
    """Set JAX's variables: when this file is imported, for another folder's conftest.py may import JAX."""
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")  # many trainings are of one config
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")  # no program is asked which line an operation is of
    for library in ("OMP", "OPENBLAS"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")  # threads of two workers wait for each other, and busily
    flags = os.environ.get("XLA_FLAGS", "")
    if os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1":  # a worker process has its parent's environment
        here = version("jaxlib")
        known = [flag for flag, versions in _QUICK.items() if here.startswith(versions) and flag not in flags]
        flags = " ".join([*known, flags])
        os.environ["XLA_FLAGS"] = flags.strip()


_compile_quickly()


def pytest_configure(config):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` turns Ctrl-C off, for children as well
    if hasattr(config, "workerinput"):  # a worker process has its parent's environment
        return
    folder = Path(tempfile.mkdtemp(prefix="ddpm_jax_tests_"))
    os.environ["DDPM_JAX_CACHE"] = str(folder / "cache")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "compiled"))
    if "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection_finish():
    gc.freeze()  # what is imported stays: the garbage collector need not look through it again and again


@pytest.fixture(autouse=True)
def _same_signal_handlers():
    """A command that a test runs in this process ends with signals ignored, which its children would inherit."""
    numbers = [number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)]
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def _tiny_config():
    from ddpm_jax.config.base import base

    config = base()
    config.data.batch = 8
    config.model.name = "dit"
    config.model.patch = 4
    config.model.channels = 8
    config.model.depth = 1
    config.model.heads = 1
    config.model.conditions = ("label",)
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
    """A config of a small conditional network on the digits, with two steps of training and of sampling."""
    return _tiny_config()


@pytest.fixture
def tfds_dir():
    """A TFDS data directory with mnist and cifar10."""
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "tfds"
    folder = Path(GIVEN) if GIVEN else beside
    if not all((folder / name).is_dir() for name in ("mnist", "cifar10")):
        pytest.skip(f"needs mnist and cifar10 prepared for TFDS in $TFDS_DATA_DIR or {beside}")
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of a finished run of the tiny config. Tests change copies only."""
    from ddpm_jax.train import train

    folder = tmp_path_factory.mktemp("trained") / "run"
    train(_tiny_config(), folder)
    return folder


@pytest.fixture(scope="session")
def told_run(tmp_path_factory):
    """The folder of a run that is told words, outlines and what is known."""
    from ddpm_jax.train import train

    config, folder = _tiny_config(), tmp_path_factory.mktemp("told") / "run"
    splits = {"train": "train[:24]", "validation": "train[:8]", "test": "test[:8]"}
    config.data.name, config.data.views = "still_lifes", ("edges", "known")
    config.data.splits.update(splits)
    config.model.conditions = ("text", "edges", "known")
    config.model.text_channels, config.model.text_depth = 8, 1
    config.objective.condition_drop_each = 0.5
    config.sampler.guidance_each = ("known:1", "edges:1", "text:3")
    train(config, folder)
    return folder


@pytest.fixture(scope="session")
def fabricate():
    """`fabricate(folder, seed=0, name="", overrides=None, ...)` writes a run's folder with figures made up."""
    return _fabricate


def _fabricate(
    folder,
    seed=0,
    name="",
    overrides=None,
    bits=2.0,
    kind="bound",
    samples=None,
    curve=(),
    history=(),
    device="cpu: A",
    commit="c0ffee",
):
    import json

    from ddpm_jax.config.base import digits

    config = digits()
    config.seed, config.name = seed, name
    config.update_from_flattened_dict(overrides or {})
    samples = {"frechet": 12.0} if samples is None else samples

    def figure(value, kind):
        return {
            "value": value,
            "standard_error": value / 100,
            "kind": kind,
            "images": 447,
            "dequantisation": "none",
            "draws": 1,
            "dimensions": 64,
            "nats": value * 44,
            "nats_standard_error": value * 0.44,
        }

    features = {"features": "trained-cnn", "features_hash": "abcd", "count": 447}
    result = {
        "config": config.to_dict(),
        "seed": seed,
        "device": {"kind": device, "count": 1, "processes": 1},
        "git_commit": commit,
        "steps": 100,
        "images_seen": 6400,
        "parameters": 1000,
        "training_flops": 1e9,
        "likelihood": {
            **({"test": figure(bits, kind)} if kind else {}),
            "floors": {"independent_pixels": figure(2.4, "exact")},
        },
        "quality": {
            "samples": {**samples, **features},
            "references": {"train": {"frechet": 10.0, "precision": 0.7, **features}},
        },
        "evaluated": {"step": 100, "git_commit": commit},
        "sampling": {"network_evaluations_per_sample": 16.0, "weights": "ema 0.995"},
        "curve": list(curve),
        "history": list(history),
        "finished": True,
    }
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    (folder / "result.json").write_text(json.dumps(result))
    rows = [{"step": step, "loss": bits * 10 / step, "images_seen": 64 * step} for step in (25, 50, 75, 100)]
    rows += [{"step": step, "validation_loss": bits * 11 / step} for step in (50, 100)]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


@pytest.fixture
def save_as_earlier():
    """`save_as_earlier(folder, state, elapsed, loss)` saves a step as versions before checkpoints knew their facts."""
    return _save_as_earlier


def _save_as_earlier(folder, state, elapsed, loss):
    from dataclasses import make_dataclass

    import jax
    from orbax.checkpoint import v1 as ocp

    from ddpm_jax.devices.agreement import checksum

    names = ["params", "frozen", "ema", "opt_state", "extra", "step"]
    light = jax.tree_util.register_dataclass(make_dataclass("TrainState", names))(
        **{name: {} if name == "frozen" else getattr(state, name) for name in names}
    )
    sums = {"checksum": int(checksum(light)), "frozen_checksum": int(checksum(state.frozen))}
    if state.frozen and not (folder.parent / "frozen").exists():
        ocp.save(folder.parent / "frozen", state.frozen)
    with ocp.training.Checkpointer(folder) as checkpointer:
        checkpointer.save(
            int(state.step),
            light,
            metrics={"validation_loss": loss},
            custom_metadata={"elapsed_seconds": elapsed, **sums},
        )


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
    from ddpm_jax.sweeps import expansion, loop

    tests = Path(__file__).parent
    real = expansion.Member.command

    def command(self, python=sys.executable):
        return [python, str(tests / "stand_in_run.py"), *real(self)[3:]]

    monkeypatch.setattr(expansion.Member, "command", command)
    monkeypatch.setattr(expansion, "check", lambda members, data=False: [400] * len(members))
    monkeypatch.setattr(loop, "PAUSE", 0.02)
    monkeypatch.setenv("PYTHONPATH", str(tests.parent))
    return monkeypatch


@pytest.fixture
def write_encoder():
    """`write_encoder(folder, words, seed=0)` writes a tiny BERT, as model hubs keep one, and returns the folder."""
    return _write_encoder


def _write_encoder(folder, words="a red green apple lime left of two ##s", seed=0, **facts):
    import json

    import numpy as np
    import safetensors.numpy

    from ddpm_jax.models import bert

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words.split()]
    sizes = {"vocab_size": len(pieces), "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    known = {**sizes, "intermediate_size": 8, "max_position_embeddings": 16, "type_vocab_size": 2}
    draw, folder = np.random.RandomState(seed), Path(folder)
    drawn = {}
    for name, shape in bert.shapes(known):
        array = draw.standard_normal(shape) / (shape[-1] ** 0.5 if name.startswith("encoder") else 1)
        drawn[name] = np.float32(1 + 0 * array if name.endswith("LayerNorm.weight") else array)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", **known, **facts}))
    (folder / "vocab.txt").write_text("\n".join(pieces))
    safetensors.numpy.save_file(drawn, folder / "model.safetensors")
    return folder
