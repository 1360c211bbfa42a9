"""One and eight devices, jit, FSDP and pmap: the same losses, samples and figures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.devices.agreement import checksum
from ddpm_jax.devices.dispatch import return_free_memory
from ddpm_jax.devices.plan import Plan, make_plan
from ddpm_jax.errors import UserError

PROGRAM = Path(__file__).with_name("devices_program.py")


def run_on_eight_devices(*arguments):
    # NPROC: emulated devices wait for one another for ever on too few threads
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "8", "NPROC": "16", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def resident():
    return run_on_eight_devices()


@pytest.fixture(scope="module")
def host():
    return run_on_eight_devices("host")


def agree_in_training(ours, theirs):
    np.testing.assert_allclose(ours["losses"], theirs["losses"], rtol=1e-4)
    np.testing.assert_allclose(ours["weights"], theirs["weights"], rtol=1e-4)
    np.testing.assert_array_equal(ours["history"]["visits"], theirs["history"]["visits"])
    np.testing.assert_allclose(ours["history"]["moment"], theirs["history"]["moment"], rtol=1e-3)
    assert np.sum(theirs["history"]["visits"]) > 50  # of 96 draws


def agree_in_figures(ours, theirs):
    np.testing.assert_allclose(ours["validation"], theirs["validation"], rtol=1e-4)
    np.testing.assert_allclose(ours["bound"], theirs["bound"], rtol=1e-4)
    assert ours["count"] == theirs["count"] == 11  # eleven samples on eight devices: padded, and none dropped
    assert ours["images"] == theirs["images"] == 11
    off = np.abs(np.subtract(ours["samples"], theirs["samples"]))
    assert off.max() <= 1  # a level may round the other way
    assert (off > 0).mean() < 0.01


WAYS = [
    "jit 8",
    "fsdp 8",
    "fsdp 8, in groups",
    "pmap 8",
    "jit 8, loop on device",
    "jit 8, accumulated",
    "pmap 8, accumulated",
]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_losses_and_weights_agree(resident, way):
    agree_in_training(resident[way], resident["jit 1"])


@pytest.mark.slow
@pytest.mark.parametrize("way", ["jit 8", "fsdp 8", "pmap 8"])
def test_validation_samples_and_bounds_agree(resident, way):
    agree_in_figures(resident[way], resident["jit 1"])


@pytest.mark.slow
@pytest.mark.parametrize("way", ["jit 8", "pmap 8"])
def test_losses_agree_on_data_that_the_host_reads(host, way):
    agree_in_training(host[way], host["jit 1"])


@pytest.mark.slow
def test_losses_are_losses_and_data_feeds_differ(resident, host):
    assert np.isfinite(resident["jit 1"]["losses"]).all()
    assert resident["jit 1"]["losses"] != host["jit 1"]["losses"]  # drawn with and without replacement


@pytest.mark.slow
def test_only_fsdp_shards_the_state(resident):
    assert {name for name, figures in resident.items() if figures["sharded"]} == {"fsdp 8", "fsdp 8, in groups"}


def test_each_keeps_every_row_in_order_and_drops_the_padding():
    each = Plan().each(lambda shared, rows: rows["a"] * shared, batch=4)
    rows = {"a": np.arange(11, dtype=np.float32)}
    np.testing.assert_array_equal(each(jnp.float32(2), rows), 2 * rows["a"])


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint8, np.bool_])
def test_checksum_sees_every_flipped_bit_and_every_swap(dtype):
    generator = np.random.default_rng(0)
    array = (
        generator.integers(0, 2, 64).astype(dtype) if dtype == np.bool_ else generator.integers(0, 99, 64).astype(dtype)
    )
    tree = {"a": array, "b": np.float32(1)}
    whole = int(checksum(tree))
    seen = set()
    for byte in range(0, array.nbytes, 7):
        for bit in range(1 if dtype == np.bool_ else 8):
            flipped = array.copy()
            flipped.view(np.uint8)[byte] ^= 1 << bit
            seen.add(int(checksum({**tree, "a": flipped})) == whole)
    assert seen == {False}
    different = np.flatnonzero(array != array[0])[0]
    swapped = array.copy()
    swapped[[0, different]] = swapped[[different, 0]]
    assert int(checksum({**tree, "a": swapped})) != whole
    assert int(jax.jit(checksum)(tree)) == whole


def test_a_batch_that_cannot_be_cut_into_equal_parts_on_each_device_is_refused(monkeypatch):
    monkeypatch.setattr(Plan, "count", property(lambda plan: 8))
    Plan().check_parts(64, 4)
    with pytest.raises(UserError, match=r"config.training.accumulate: 4 parts of a batch of 16 .* 8 devices"):
        Plan().check_parts(16, 4)


def test_a_batch_that_devices_do_not_divide_is_refused(monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: [jax.local_devices()[0]] * 1)
    assert make_plan(batch=7).count == 1
    monkeypatch.setattr(Plan, "count", property(lambda plan: 8))
    with pytest.raises(UserError, match=r"config\.data\.batch: a global batch of 100 .* 8 devices; use 96 or 104"):
        make_plan(batch=100)
    with pytest.raises(UserError, match=r"use 8$"):
        make_plan(batch=3)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells a process its memory so")
def test_free_memory_goes_back_to_the_system():
    def resident_mib():
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    blocks = [b"x" * 100_000 for _ in range(2000)]  # below the size that malloc gives back by itself
    kept = blocks[-1]
    del blocks
    before = resident_mib()
    return_free_memory()
    assert resident_mib() < before - 100
    assert len(kept) == 100_000
