"""What a process needs before JAX starts in it: memory, flags, the cache of compiled programs, the other processes."""

import hashlib
import importlib.util
import mmap
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ddpm_jax import joining


def ask_for_huge_pages() -> None:
    """Begin again with glibc told to use huge pages (glibc 2.35 or later), which it reads when a process begins.

    A training step asks the system for all its memory anew. In pages of 4 KB that took 5 to 8 % of a U-Net's step on
    two cores. Whoever sets GLIBC_TUNABLES, to whatever, is left alone.
    """
    if sys.platform != "linux" or "GLIBC_TUNABLES" in os.environ or {"-h", "--help"} & set(sys.argv):
        return
    try:
        os.execve(sys.executable, sys.orig_argv, {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"})
    except OSError:  # slower, then
        return


def start_jax(distributed: bool = False, facts: Mapping[str, Any] | None = None) -> None:
    """Set JAX up for a command: compiled programs are kept in the cache folder; several processes if asked for.

    Args:
        distributed: join the other processes of the run, however they were started (see `joining`).
        facts: what they must agree on.

    Raises:
        UserError: the processes cannot find one another, or differ.
    """
    if os.environ.get("JAX_NUM_CPU_DEVICES", "1") != "1" or "host_platform_device_count" in os.environ.get(
        "XLA_FLAGS", ""
    ):
        os.environ.setdefault("NPROC", "16")  # emulated devices wait for one another for ever on too few threads
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    _choose_convolutions()
    import jax

    from ddpm_jax.cache import cache_folder

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ and (folder := cache_folder()):
        jax.config.update("jax_compilation_cache_dir", str(folder / "compiled" / _host()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    if distributed:
        joining.join(facts or {})


def _choose_convolutions() -> None:
    """Tell XLA to leave YNNPACK alone on CPUs, where this jaxlib has it, unless the user has said something of it.

    jaxlib 0.10 gives YNNPACK the convolutions, of which it runs those below 128 channels on one core; XLA's own take
    all. With both a U-Net's step took two thirds of the time on two cores.
    """
    flags, name = os.environ.get("XLA_FLAGS", ""), "xla_cpu_experimental_ynn_fusion_type"
    if name not in flags and _knows(name):
        os.environ["XLA_FLAGS"] = f"{flags} --{name}=".strip()


def _knows(flag: str) -> bool:
    """Whether jaxlib has this flag; it ends the process for one that it has not."""
    found = importlib.util.find_spec("jaxlib")
    library = Path(found.origin or "").parent / "libjax_common.so" if found else None
    if library is None or not library.exists():
        return False
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(flag.encode()) >= 0


def _host() -> str:
    """A name for the kind of processor: compiled code for one may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        traits = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    except OSError:
        traits = [platform.processor()]
    return hashlib.sha256("\n".join([platform.machine(), *traits]).encode()).hexdigest()[:12]
