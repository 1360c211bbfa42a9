"""What a figure depends on besides its config: versions, devices, processes, the commit of the code."""

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ddpm_jax.files import Record


def provenance() -> Record:
    """What else a figure depends on: versions, devices, processes, the git commit of the code."""
    import jax

    packages = {}
    for name in ("ddpm-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "unknown"
    devices = jax.devices()
    return {
        "versions": {"python": sys.version.split()[0], **packages},
        "device": {"kind": _device_name(devices[0]), "count": len(devices), "processes": jax.process_count()},
        "git_commit": git_commit(),
    }


def _device_name(device: Any) -> str:
    if device.platform != "cpu":
        return device.device_kind
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = device.device_kind
    return f"cpu: {model}, {os.cpu_count()} cores"


def git_commit() -> str | None:
    """The commit of the code's checkout, with `+changes` if files differ from it; None outside a checkout.

    A package that is installed inside another repository, as in its ignored `.venv`, is none of that repository's.
    """
    here = Path(__file__)

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=here.parent, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno", "..") else "")
    except (OSError, subprocess.SubprocessError):
        return None
