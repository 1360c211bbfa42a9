"""What the compiler for NVIDIA's GPUs must know of one that is not there.

The facts are those of XLA's own descriptions (openxla/xla, xla/backends/gpu/target_config/specs, Apache-2.0), by the
name that `devices.topology.GPUS` has for the kind.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from ddpm_jax.devices.topology import GPUS
from ddpm_jax.errors import UserError

OPTIONS = {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False}
"""Nothing is timed to choose between kernels, for there is nothing to time them on."""


@dataclass(frozen=True)
class Target:
    """A GPU as the compiler describes it.

    Attributes:
        capability: of CUDA.
        cores: streaming multiprocessors.
        lanes: of each, for float32.
        clock: GHz.
        memory: bytes.
        bandwidth: of it, bytes/s.
        cache: of the second level, bytes.
        shared: memory of a multiprocessor, bytes.
    """

    capability: int
    cores: int
    lanes: int
    clock: float
    memory: int
    bandwidth: int
    cache: int
    shared: int

    def words(self, kind: str) -> str:
        """The description, as the compiler reads it (`stream_executor.GpuTargetConfigProto`, as text)."""
        info = {
            "threads_per_block_limit": 1024,
            "threads_per_warp": 32,
            "shared_memory_per_block": 48 * 1024,
            "shared_memory_per_core": self.shared,
            "shared_memory_per_block_optin": self.shared - 1024,
            "threads_per_core_limit": 2048,
            "core_count": self.cores,
            "fpus_per_core": self.lanes,
            "block_dim_limit_x": 2**31 - 1,
            "block_dim_limit_y": 65535,
            "block_dim_limit_z": 65535,
            "memory_bandwidth": self.bandwidth,
            "l2_cache_size": self.cache,
            "clock_rate_ghz": self.clock,
            "device_memory_size": self.memory,
            "registers_per_core_limit": 65536,
            "registers_per_block_limit": 65536,
        }
        fields = " ".join(f"{name}: {value}" for name, value in info.items())
        return (
            f"gpu_device_info {{ {fields} cuda_compute_capability {{ major: {self.capability} }} }} "
            f'platform_name: "CUDA" dnn_version_info {{ major: 9 minor: 10 }} '
            f'runtime_version {{ major: 13 }} device_description_str: "{kind}"'
        )


TARGETS = {
    "a100": Target(8, 108, 64, 1.41, 42_331_013_120, 1_555_200_000_000, 41_943_040, 167_936),
    "a100-80gb": Target(8, 108, 64, 1.41, 85_100_068_864, 2_039_040_000_000, 41_943_040, 167_936),
    "h100": Target(9, 132, 128, 1.98, 84_942_979_072, 3_352_320_000_000, 52_428_800, 233_472),
    "h200": Target(9, 132, 128, 1.98, 151_397_597_184, 4_800_000_000_000, 52_428_800, 233_472),
}


def options(name: str, count: int) -> dict[str, str]:
    """What `get_topology_desc` is told of so many GPUs of one machine.

    Raises:
        UserError: there is no description of this one.
    """
    if name not in TARGETS:
        known = ", ".join(TARGETS)
        raise UserError(f"--topology: {name} is not compiled for, only {known} and TPUs are; use --instant")
    return {"target_config": TARGETS[name].words(GPUS[name]), "topology": f"1x1x{count}"}


def find_assembler() -> None:
    """Put CUDA's `ptxas` of an installed package where the compiler looks for it."""
    for folder in sys.path:
        for found in Path(folder).glob("nvidia/*/bin/ptxas"):
            os.environ["PATH"] = f"{os.environ.get('PATH', '')}{os.pathsep}{found.parent}"
            return
