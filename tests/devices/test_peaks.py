"""The table of known peaks: what is in it holds together, and what is not in it is not guessed."""

from types import SimpleNamespace

import jax
import pytest

from ddpm_jax.devices import peaks


def test_known_and_unknown_devices():
    assert peaks.peak("NVIDIA H100 80GB HBM3", "bfloat16") == 989.4e12
    assert peaks.peak("NVIDIA A100-SXM4-80GB", "float32") == 156e12  # TF32, JAX's default there
    assert peaks.peak("Tesla T4", "float32") == 8.1e12  # no TF32 on Turing
    assert peaks.peak("TPU v5 lite", "float32") == peaks.peak("TPU v5e", "bfloat16") == 197e12
    assert peaks.peak("Tesla V100-SXM2-16GB", "bfloat16") is None
    assert peaks.peak("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "bfloat16") is None
    assert peaks.peak("NVIDIA L40S", "bfloat16") is None
    assert peaks.peak("NVIDIA L4", "float16") is None
    assert peaks.peak("cpu", "float32") is None


def test_rows_are_of_distinct_devices_with_sources_and_possible_rates():
    kinds = [kind for row in peaks.ACCELERATORS for kind in row.kinds]
    assert len(set(kinds)) == len(kinds)
    for row in peaks.ACCELERATORS:
        assert row.source
        assert 1e12 < row.float32 < 2e15
        assert row.bfloat16 is None or row.float32 <= row.bfloat16 < 2e15


def test_all_devices_together():
    gpu, other = SimpleNamespace(device_kind="NVIDIA L4"), SimpleNamespace(device_kind="cpu")
    assert peaks.total_peak([gpu] * 4, "float32") == 240e12
    assert peaks.total_peak([gpu, other], "float32") is None
    assert peaks.total_peak([], "float32") is None
    assert peaks.total_peak(jax.devices("cpu"), "float32") is None


@pytest.mark.parametrize("precision", ["highest", "bfloat16"])
def test_float32_at_another_precision_has_no_known_peak(precision):
    gpu = SimpleNamespace(device_kind="NVIDIA L4")
    with jax.default_matmul_precision(precision):
        assert peaks.total_peak([gpu], "float32") is None
        assert peaks.total_peak([gpu], "bfloat16") == 121e12
