"""Plans: bytes are those of a real state, and where the compiler is installed a step is one loop and one reduction."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from ddpm_jax import data
from ddpm_jax.config import families
from ddpm_jax.config.base import digits
from ddpm_jax.devices.dispatch import return_free_memory
from ddpm_jax.devices.plan import Plan
from ddpm_jax.devices.topology import parse
from ddpm_jax.errors import UserError
from ddpm_jax.experiment import make
from ddpm_jax.pipeline.job import make_job
from ddpm_jax.planning import memory
from ddpm_jax.planning.making import planned

LIBTPU = importlib.util.find_spec("libtpu") is not None
CUDA = importlib.util.find_spec("jax_cuda13_plugin") is not None
PEAKS = Path("/proc/self/clear_refs")  # Linux forgets there what a process's peak was


def tiny(**changes):
    config = digits()
    families.flow(config)
    config.model.channels, config.model.groups, config.model.blocks = 16, 8, 1
    config.data.batch = 32
    config.update_from_flattened_dict(changes)
    return config


@pytest.mark.slow
def test_bytes_are_those_of_a_real_state():
    config, dataset = tiny(), data.load("digits")
    job = make_job(make(config, dataset.description), Plan(devices=tuple(jax.devices()[:1])), dataset)
    state = job.fresh()
    found = {part.name: part.total for part in memory.parts(job, 1, 1)}
    for name, tree in (("parameters", state.params), ("averages", state.ema), ("moments", state.opt_state)):
        assert found[name] == sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
    assert found["data, all of it"] == sum(leaf.nbytes for leaf in jax.tree.leaves(job.feed.arrays))


@pytest.mark.slow
def test_an_instant_plan_compiles_nothing_and_shares_the_state():
    whole = planned("a", tiny(), parse("h100:8"), instant=True)
    shared = planned("a", tiny(**{"parallel.shard": "fsdp"}), parse("h100:8"), instant=True)
    assert not whole.turns and whole.fits and whole.flops == shared.flops > 1e7
    by_name = {part.name: part for part in shared.parts}
    part = by_name["parameters"]
    assert part.on_one == part.whole + (part.total - part.whole) / 8 and 0 < part.whole < part.total / 2
    assert shared.kept < whole.kept


@pytest.mark.slow
def test_what_does_not_fit_is_said_with_what_to_change():
    config = tiny(**{"model.channels": 2048, "model.blocks": 3, "model.groups": 32})
    found = planned("a", config, parse("t4:8"), instant=True)
    assert not found.fits and any("config.parallel.shard=fsdp" in line for line in found.advice)


@pytest.mark.slow
def test_what_rematerialisation_computes_again_is_no_work_of_the_model():
    plain, again = (
        planned("a", tiny(**{"model.remat": remat}), parse("h100:8"), instant=True).flops for remat in (False, True)
    )
    assert plain == again


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(UserError, match=r"config\.data\.batch: a global batch of 32 does not divide over 256 devices"):
        planned("a", tiny(), parse("v5e:16x16"), instant=True)


@pytest.mark.slow
@pytest.mark.skipif(not LIBTPU, reason="libtpu is not installed: pip install -e '.[plan]'")
@pytest.mark.parametrize(("shard", "dtype"), [("replicated", "bfloat16"), ("fsdp", "float32")])
def test_a_step_for_a_tpu_is_one_loop_that_sends_gradients_and_never_waits_for_the_host(shard, dtype):
    config = tiny(**{"parallel.shard": shard, "model.dtype": dtype})
    found = planned("a", config, parse("v5e:2x2"))
    (turn,) = found.turns
    weights = next(part.total for part in found.parts if part.name == "parameters")
    sent = {one.kind: one for one in turn.program.sent}
    assert turn.program.loops == 1 and not turn.program.host and turn.program.total.cycles > 1e4
    assert turn.memory["arguments"] < 2 * found.kept + 16 * 2**20  # no copy of the data, padded to 128 lanes
    if shard == "replicated":
        assert set(sent) == {"all-reduce"} and sent["all-reduce"].count == 1
        assert 0.99 * weights < sent["all-reduce"].bytes < 1.05 * weights  # what has no gradient is left out
        assert turn.program.products.get("bf16", 0) > 20
    else:
        assert not {"all-to-all", "collective-permute"} & set(sent)
        assert sum(one.bytes for one in turn.program.sent) < 3.2 * weights


@pytest.mark.slow
@pytest.mark.skipif(not CUDA, reason="JAX's compiler for CUDA is not installed: pip install 'jax[cuda13]'")
def test_a_step_for_a_gpu_is_one_loop_that_sends_gradients_and_never_waits_for_the_host(tmp_path):
    """By the command, for JAX finds the plugin when it starts."""
    words = ("--config=configs/digits/ddpm.py", "--topology=h100:8", "--config.model.dtype=bfloat16")
    output = tmp_path / "plan.json"
    command = [sys.executable, "-m", "ddpm_jax.plan", *words, f"--output={output}"]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True, capture_output=True, timeout=600)
    found = json.loads(output.read_text())
    (turn,), kept = found["programs"], sum(part["on_one"] for part in found["kept"])
    weights = next(part["total"] for part in found["kept"] if part["name"] == "parameters")
    (sent,), program = turn["program"]["sent"], turn["program"]
    assert program["loops"] == 1 and not program["host"]
    assert sent["kind"] == "all-reduce" and 0.99 * weights < sent["bytes"] < 1.05 * weights
    assert program["products"].get("bf16", 0) > 20 and program["work"]["elementwise"]["operations"] > 100
    assert kept <= turn["memory"]["arguments"] < 1.1 * kept
    assert turn["estimate"]["computing"] > turn["estimate"]["products"] > 0


@pytest.mark.slow
@pytest.mark.skipif(not os.access(PEAKS, os.W_OK), reason="this system does not tell a process its peak of memory")
def test_memory_on_a_cpu_is_what_a_run_takes_there():
    config, dataset = tiny(**{"data.batch": 1024}), data.load("digits")
    (turn,) = planned("a", config, parse("cpu:1")).turns
    job = make_job(make(config, dataset.description), Plan(devices=tuple(jax.devices()[:1])), dataset)
    state = job.fresh()
    for _ in range(2):  # the first time it is compiled
        time.sleep(1)  # XLA's threads let go of what lay between a little later
        return_free_memory()
        before = _memory("VmRSS")
        PEAKS.write_text("5")
        state, _ = jax.block_until_ready(job.run(state, job.feed.arrays, 2, np.float32(0)))
        taken = _memory("VmHWM") - before + turn.memory["arguments"]
    assert turn.needed > 100e6
    assert turn.needed == pytest.approx(taken, rel=0.2)


def _memory(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))
