"""What a process needs before JAX starts in it: flags, the cache of compiled programs, the other processes."""

import hashlib
import os
import platform
from importlib.metadata import version
from pathlib import Path

from ddpm_jax import progress
from ddpm_jax.commands import joining
from ddpm_jax.files import Record


def start_jax(distributed: bool = False, facts: Record | None = None, preemptible: bool = False) -> None:
    """Set JAX up for a command: compiled programs are kept in the cache folder; several processes if asked for.

    Args:
        distributed: join the other processes of the run, however they were started (see `joining`).
        facts: what they must agree on.
        preemptible: as in `joining.join`.

    Raises:
        UserError: the processes cannot find one another, or differ.
    """
    if os.environ.get("JAX_NUM_CPU_DEVICES", "1") != "1" or "host_platform_device_count" in os.environ.get(
        "XLA_FLAGS", ""
    ):
        os.environ.setdefault("NPROC", "16")  # emulated devices wait for one another for ever on too few threads
    _choose_convolutions()
    from ddpm_jax.devices import programs

    programs.keep(_host())
    programs.without_flag()
    if distributed:
        joining.join(facts or {}, preemptible)
        import jax

        if jax.process_index() != 0:
            return
    progress.watch()


LEVEL, FLAGS = "TF_CPP_MIN_LOG_LEVEL", "XLA_FLAGS"


def quieten() -> None:
    """Have XLA say nothing of slow compilation and the like, unless the user has set its flags or its level.

    What goes wrong comes as an exception too. JAX sets the level itself when it is imported, so call it before.
    """
    if not os.environ.get(FLAGS):
        os.environ.setdefault(LEVEL, "3")


YNNPACK = "xla_cpu_experimental_ynn_fusion_type", ("0.10.", "0.11.", "0.12.")
"""A flag of XLA's, and the starts of the versions of jaxlib that were seen to know it."""


def _choose_convolutions() -> None:
    """Tell XLA to leave YNNPACK alone on CPUs, unless the user has said something of it.

    jaxlib 0.10 gives YNNPACK the convolutions, of which it runs those below 128 channels on one core; XLA's own take
    all. With both a U-Net's step took two thirds of the time on two cores. XLA ends the process for a flag that it does
    not know, so a version that nobody has tried is not asked.
    """
    flags, (name, versions) = os.environ.get("XLA_FLAGS", ""), YNNPACK
    if name not in flags and version("jaxlib").startswith(versions):
        os.environ["XLA_FLAGS"] = f"{flags} --{name}=".strip()


def _host() -> str:
    """A name for the kind of processor: compiled code for one may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        traits = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    except OSError:
        traits = [platform.processor()]
    return hashlib.sha256("\n".join([platform.machine(), *traits]).encode()).hexdigest()[:12]
