"""Known accelerators: the most floating-point operations a second that each can do in matrix products.

The figures are of dense products (vendors often print twice as much, "with sparsity") per `jax.Device`, as JAX counts
them: a TPU v3 chip is two devices. What float32 means is what JAX does with float32 inputs at its default
precision: TF32 products on NVIDIA GPUs that have them (Ampere and later), one bfloat16 pass on TPUs, plain float32 on
older GPUs (https://docs.jax.dev/en/latest/201/precision.html).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Accelerator:
    """A row of the table.

    Attributes:
        kinds: what `jax.Device.device_kind` calls it.
        bfloat16: peak FLOP/s of products of bfloat16 matrices; None where the hardware has none.
        float32: of float32 matrices at JAX's default precision.
        source: where the vendor says so.
    """

    kinds: tuple[str, ...]
    bfloat16: float | None
    float32: float
    source: str


AMPERE = "NVIDIA A100 Tensor Core GPU Architecture whitepaper, table of peak rates: BF16 and TF32 Tensor, dense"
HOPPER = "NVIDIA H100 Tensor Core GPU Architecture whitepaper, table of peak rates: BF16 and TF32 Tensor, dense"
TPU = "https://cloud.google.com/tpu/docs/"

ACCELERATORS = (
    Accelerator(
        ("Tesla V100-SXM2-16GB", "Tesla V100-SXM2-32GB"),
        None,
        15.7e12,
        "NVIDIA V100 data sheet (volta-v100-datasheet-update-us-1165301-r5): single precision",
    ),
    Accelerator(
        ("Tesla V100-PCIE-16GB", "Tesla V100-PCIE-32GB"),
        None,
        14e12,
        "NVIDIA V100 data sheet (volta-v100-datasheet-update-us-1165301-r5): single precision",
    ),
    Accelerator(
        ("Tesla T4",), None, 8.1e12, "NVIDIA T4 data sheet (t4-tensor-core-datasheet-951643): single precision"
    ),
    Accelerator(
        (
            "NVIDIA A100-SXM4-40GB",
            "NVIDIA A100-SXM4-80GB",
            "NVIDIA A100-PCIE-40GB",
            "NVIDIA A100 80GB PCIe",
            "A100-SXM4-40GB",  # drivers before 2021 leave the maker out
            "A100-SXM4-80GB",
            "A100-PCIE-40GB",
        ),
        312e12,
        156e12,
        AMPERE,
    ),
    Accelerator(("NVIDIA A10",), 125e12, 62.5e12, "NVIDIA A10 data sheet: BFLOAT16 and TF32 Tensor Core, dense"),
    Accelerator(("NVIDIA H100 80GB HBM3",), 989.4e12, 494.7e12, HOPPER),  # SXM5
    Accelerator(("NVIDIA H100 PCIe",), 756e12, 378e12, HOPPER),
    Accelerator(
        ("NVIDIA H200",), 989.5e12, 494.5e12, "NVIDIA H200 data sheet, SXM: half of the rates printed with sparsity"
    ),
    Accelerator(("NVIDIA L4",), 121e12, 60e12, "NVIDIA L4 data sheet: half of the rates printed with sparsity"),
    Accelerator(("TPU v3",), 123e12 / 2, 123e12 / 2, TPU + "v3, peak compute per chip; two devices a chip"),
    Accelerator(("TPU v4",), 275e12, 275e12, TPU + "v4, peak compute per chip"),
    Accelerator(("TPU v5 lite", "TPU v5e"), 197e12, 197e12, TPU + "v5e, peak compute per chip (bf16)"),
    Accelerator(("TPU v5", "TPU v5p"), 459e12, 459e12, TPU + "v5p, peak compute per chip (bf16)"),
    Accelerator(("TPU v6 lite", "TPU v6e"), 918e12, 918e12, TPU + "v6e, peak compute per chip (bf16)"),
)
"""Known peaks. A part of a GPU (MIG) has a name of its own, and so is not known, which is right."""


def peak(device_kind: str, dtype: str) -> float | None:
    """Peak dense FLOP/s of one device in matrix products of `dtype`.

    Args:
        device_kind: `jax.Device.device_kind`.
        dtype: "bfloat16" or "float32", the latter at JAX's default precision.

    Returns:
        None where no peak is known: every CPU, unlisted devices, a type without hardware of its own.
    """
    for row in ACCELERATORS:
        if device_kind in row.kinds:
            return {"bfloat16": row.bfloat16, "float32": row.float32}.get(dtype)
    return None


def total_peak(devices: Sequence[Any], dtype: str) -> float | None:
    """Peak dense FLOP/s of all devices (`jax.Device`) together; None where one of them is not known.

    None too for float32 where `jax_default_matmul_precision` asks for another precision than the default.
    """
    import jax

    precision = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
    if dtype == "float32" and precision not in {None, "default"}:
        return None
    peaks = [peak(device.device_kind, dtype) for device in devices]
    return sum(known) if len(known := [p for p in peaks if p is not None]) == len(peaks) and known else None
