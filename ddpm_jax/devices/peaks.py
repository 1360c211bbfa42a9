"""Known accelerators: the most that each can do in matrix products, its memory, and how fast it is joined to others.

The figures are of dense products (vendors often print twice as much, "with sparsity") per `jax.Device`, as JAX counts
them: a chip of TPU v3 or TPU7x is two devices. What float32 means is what JAX does with float32 inputs at its default
precision: TF32 products on NVIDIA GPUs that have them (Ampere and later), one bfloat16 pass on TPUs, plain float32 on
older GPUs (https://docs.jax.dev/en/latest/201/precision.html).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

GIB = 2.0**30


@dataclass(frozen=True)
class Accelerator:
    """A row of the table.

    Attributes:
        kinds: what `jax.Device.device_kind` calls it.
        bfloat16: peak FLOP/s of products of bfloat16 matrices; None where the hardware has none.
        float32: of float32 matrices at JAX's default precision.
        memory: bytes.
        bandwidth: of that memory, bytes/s.
        link: bytes/s to the others of a slice or a machine, both directions and all links together.
        source: where the vendor says so.
    """

    kinds: tuple[str, ...]
    bfloat16: float | None
    float32: float
    memory: float
    bandwidth: float
    link: float
    source: str


VOLTA = "NVIDIA V100 data sheet (volta-v100-datasheet-update-us-1165301-r5): single precision"
AMPERE = (
    "NVIDIA A100 Tensor Core GPU Architecture whitepaper, table of peak rates: BF16 and TF32 Tensor, dense; "
    "memory: A100 data sheet"
)
HOPPER = "NVIDIA H100 Tensor Core GPU Architecture whitepaper, table of peak rates: BF16 and TF32 Tensor, dense"
TPU = "https://cloud.google.com/tpu/docs/"

ACCELERATORS = (
    Accelerator(("Tesla V100-SXM2-16GB",), None, 15.7e12, 16e9, 900e9, 300e9, VOLTA),
    Accelerator(("Tesla V100-SXM2-32GB",), None, 15.7e12, 32e9, 900e9, 300e9, VOLTA),
    Accelerator(("Tesla V100-PCIE-16GB",), None, 14e12, 16e9, 900e9, 32e9, VOLTA),
    Accelerator(("Tesla V100-PCIE-32GB",), None, 14e12, 32e9, 900e9, 32e9, VOLTA),
    Accelerator(
        ("Tesla T4",),
        *(None, 8.1e12, 16e9, 320e9, 32e9),
        "NVIDIA T4 data sheet (t4-tensor-core-datasheet-951643): single precision",
    ),
    Accelerator(
        ("NVIDIA A100-SXM4-40GB", "A100-SXM4-40GB"),  # drivers before 2021 leave the maker out
        *(312e12, 156e12, 40e9, 1555e9, 600e9),
        AMPERE,
    ),
    Accelerator(
        ("NVIDIA A100-SXM4-80GB", "A100-SXM4-80GB"),
        *(312e12, 156e12, 80e9, 2039e9, 600e9),
        AMPERE,
    ),
    Accelerator(
        ("NVIDIA A100-PCIE-40GB", "A100-PCIE-40GB"),
        *(312e12, 156e12, 40e9, 1555e9, 64e9),
        AMPERE,
    ),
    Accelerator(("NVIDIA A100 80GB PCIe",), 312e12, 156e12, 80e9, 1935e9, 64e9, AMPERE),
    Accelerator(
        ("NVIDIA A10",),
        *(125e12, 62.5e12, 24e9, 600e9, 64e9),
        "NVIDIA A10 data sheet: BFLOAT16 and TF32 Tensor Core, dense",
    ),
    Accelerator(("NVIDIA H100 80GB HBM3",), 989.4e12, 494.7e12, 80e9, 3350e9, 900e9, HOPPER),  # SXM5
    Accelerator(("NVIDIA H100 PCIe",), 756e12, 378e12, 80e9, 2000e9, 128e9, HOPPER),
    Accelerator(
        ("NVIDIA H200",),
        *(989.5e12, 494.5e12, 141e9, 4800e9, 900e9),
        "NVIDIA H200 data sheet, SXM: half of the rates printed with sparsity",
    ),
    Accelerator(
        ("NVIDIA L4",),
        *(121e12, 60e12, 24e9, 300e9, 64e9),
        "NVIDIA L4 data sheet: half of the rates printed with sparsity",
    ),
    Accelerator(
        ("TPU v3",),
        *(123e12 / 2, 123e12 / 2, 16 * GIB, 900e9 / 2, 2 * 340e12 / 2048),
        TPU + "v3, per chip, of which two devices are made; links: twice its share of the pod's all-reduce",
    ),
    Accelerator(
        ("TPU v4",),
        *(275e12, 275e12, 32 * GIB, 1200e9, 2 * 1.1e15 / 4096),
        TPU + "v4, per chip; links: twice its share of the pod's all-reduce",
    ),
    Accelerator(("TPU v5 lite", "TPU v5e"), 197e12, 197e12, 16 * GIB, 819e9, 400e9, TPU + "v5e, per chip (bf16)"),
    Accelerator(("TPU v5", "TPU v5p"), 459e12, 459e12, 95 * GIB, 2765e9, 1200e9, TPU + "v5p, per chip (bf16)"),
    Accelerator(("TPU v6 lite", "TPU v6e"), 918e12, 918e12, 32 * GIB, 1638e9, 800e9, TPU + "v6e, per chip (bf16)"),
    Accelerator(
        ("TPU7x",),
        *(2307e12 / 2, 2307e12 / 2, 96 * GIB, 7380e9 / 2, 1200e9 / 2),
        TPU + "tpu7x, per chip (bf16), of which two devices are made",
    ),
)
"""Known peaks. A part of a GPU (MIG) has a name of its own, and so is not known, which is right."""


def accelerator(device_kind: str) -> Accelerator:
    """The row of one device. Raises KeyError where it is not known."""
    for row in ACCELERATORS:
        if device_kind in row.kinds:
            return row
    raise KeyError(device_kind)


def peak(device_kind: str, dtype: str) -> float | None:
    """Peak dense FLOP/s of one device in matrix products of `dtype`.

    Args:
        device_kind: `jax.Device.device_kind`.
        dtype: "bfloat16" or "float32", the latter at JAX's default precision.

    Returns:
        None where no peak is known: every CPU, unlisted devices, a type without hardware of its own.
    """
    try:
        row = accelerator(device_kind)
    except KeyError:
        return None
    return {"bfloat16": row.bfloat16, "float32": row.float32}.get(dtype)


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
