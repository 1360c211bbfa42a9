"""What a compiled dispatch says to other devices and to the host, read off the program."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # eight emulated devices, compiled as users compile

PROGRAM = Path(__file__).with_name("communication_program.py")


@pytest.fixture(scope="module")
def programs():
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "8", "NPROC": "16", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, str(PROGRAM)], env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("way", ["jit", "pmap"])
def test_data_parallel_steps_have_one_all_reduce_for_all_gradients(programs, way):
    counts = programs[way]["counts"]
    collectives = {name: count for name, count in counts.items() if not name.startswith(("while", "custom-call"))}
    assert collectives == {"all-reduce": 1}
    assert programs[way]["reduced"] >= programs[way]["parameters"] > 40  # and the loss and the times' history


@pytest.mark.parametrize("way", ["fsdp", "groups"])
def test_sharded_steps_send_weights_and_gradients_and_no_activations(programs, way):
    """At most the weights gathered once, and once more where they are of use again, and all gradients reduced."""
    moved, weights = programs[way]["bytes"], programs[way]["weights"]
    assert 0 < moved["all-gather"] <= 1.1 * weights
    assert 0 < moved.get("all-reduce", 0) + moved.get("reduce-scatter", 0) <= 1.2 * weights
    assert not moved.get("all-to-all") and moved.get("collective-permute", 0) <= 64  # a scalar or two


@pytest.mark.parametrize("way", ["jit", "pmap", "fsdp"])
def test_gradients_cross_devices_in_float32_whatever_the_activations_are(programs, way):
    types = programs[f"{way}, bfloat16"]["types"]
    assert set(types) == {"f32"} and types["f32"] > 40


def test_a_step_has_as_many_flops_on_any_number_of_devices(programs):
    assert programs["jit, bfloat16"]["flops"] == programs["one, bfloat16"]["flops"] > 1e6


def test_one_device_says_nothing(programs):
    assert set(programs["one"]["counts"]) <= {"while", "custom-call"}


@pytest.mark.parametrize("way", ["jit", "pmap", "one"])
def test_a_dispatch_is_one_loop_without_the_host(programs, way):
    assert programs[way]["counts"]["while"] >= 1
    assert programs[way]["callbacks"] == 0
    assert not {"infeed", "outfeed", "send", "recv"} & set(programs[way]["counts"])


@pytest.mark.parametrize("way", ["fsdp", "groups"])
def test_blocks_in_a_loop_are_gathered_one_at_a_time_and_train_as_on_one_device(programs, way):
    found, alone = programs[f"{way}, deep"], programs["one, deep"]
    assert found["losses"] == pytest.approx(alone["losses"], rel=1e-4)
    assert 0 < found["largest"] < found["weights"] / 8
