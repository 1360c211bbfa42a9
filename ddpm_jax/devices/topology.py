"""Names of hardware that one need not have: as compilers call it, and as clouds and launchers do.

`v5e:4x4` is a slice of 16 TPU v5e chips, `v5e:4x4*2` two of them that only the data-centre network joins, `h100:8`
eight GPUs of one machine. Clouds have names of their own for the same: `v5litepod-16`, `tpu-v5litepod-16`, `v5p-8` (of
TPUs up to v5p they count cores), `H100:8`, `A100-80GB:8`. `cpu:8` is this machine as eight devices. Light: launchers
import it.
"""

import math
import os
import re
from dataclasses import dataclass

from ddpm_jax.devices.peaks import Accelerator, accelerator
from ddpm_jax.errors import UserError, nearest


@dataclass(frozen=True)
class Generation:
    """TPUs of one generation.

    Attributes:
        kind: what `jax.Device.device_kind` calls one.
        axes: of the torus that joins the chips: 2 or 3.
        devices: `jax.Device`s a chip.
        counted: what the number in a cloud's name of a slice counts, as a multiple of chips.
        slices: the shapes of slices, by their number of chips.
        clouds: what clouds call it before the number.
        clock: of its cores, Hz; None where it is not published.
        network: bytes/s of a chip to other slices; None likewise.
    """

    kind: str
    axes: int
    devices: int
    counted: int
    slices: tuple[str, ...]
    clouds: tuple[str, ...]
    clock: float | None
    network: float | None


FLAT = ("2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
DEEP = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16", "8x16x16", "16x16x16")

TPUS = {
    "v3": Generation("TPU v3", 2, 2, 2, ("2x2", *FLAT[2:], "16x32", "32x32"), ("v3",), 940e6, None),
    "v4": Generation("TPU v4", 3, 1, 2, DEEP, ("v4",), 1050e6, None),
    "v5e": Generation("TPU v5 lite", 2, 1, 1, FLAT, ("v5litepod", "v5e"), 1.5e9, 25e9 / 8),
    "v5p": Generation("TPU v5", 3, 1, 2, DEEP, ("v5p",), 1.75e9, 50e9 / 8),
    "v6e": Generation("TPU v6 lite", 2, 1, 1, FLAT, ("v6e",), None, 100e9 / 8),
    "tpu7x": Generation("TPU7x", 3, 2, 2, DEEP, ("tpu7x",), None, 100e9 / 8),
}
"""By the name that libtpu has for them. The clocks: Jouppi et al. 2023 (v3, v4); of v5e and v5p the peak over what
their matrix units do in a cycle. The networks: https://cloud.google.com/tpu/docs/."""

GPUS = {
    "a100": "NVIDIA A100-SXM4-40GB",
    "a100-80gb": "NVIDIA A100-SXM4-80GB",
    "h100": "NVIDIA H100 80GB HBM3",
    "h200": "NVIDIA H200",
    "l4": "NVIDIA L4",
    "t4": "Tesla T4",
    "v100": "Tesla V100-SXM2-16GB",
    "v100-32gb": "Tesla V100-SXM2-32GB",
}
"""By the names that clouds have for them, in small letters."""


@dataclass(frozen=True)
class Topology:
    """Devices and how they are joined.

    Attributes:
        name: as `parse` reads it.
        platform: `tpu`, `cuda` or `cpu`, as JAX says it.
        kind: what `jax.Device.device_kind` calls one of them.
        shape: of a slice of TPU chips along the axes of its torus; of others their number.
        slices: how many; the data-centre network joins them.
        devices_per_chip: `jax.Device`s.
    """

    name: str
    platform: str
    kind: str
    shape: tuple[int, ...]
    slices: int = 1
    devices_per_chip: int = 1

    @property
    def chips(self) -> int:
        """Of all slices."""
        return math.prod(self.shape) * self.slices

    @property
    def count(self) -> int:
        """`jax.Device`s of all slices."""
        return self.chips * self.devices_per_chip

    @property
    def generation(self) -> Generation | None:
        """Of TPUs."""
        return TPUS.get(self.name.partition(":")[0])

    @property
    def accelerator(self) -> Accelerator:
        """What is known of one device; of this machine its share of the memory."""
        if self.platform != "cpu":
            return accelerator(self.kind)
        memory = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        return Accelerator((self.kind,), None, 0.0, memory / self.count, 0.0, 0.0, "the operating system")


def parse(text: str) -> Topology:
    """The hardware of a name: `v5e:4x4`, `v5e:4x4*2`, `h100:8`, or a cloud's, such as `v5litepod-16`.

    >>> parse("v5e:4x4*2").count, parse("tpu-v5litepod-16").name, parse("v5p-8").shape
    (32, 'v5e:4x4', (2, 2, 1))

    Raises:
        UserError: there is none of that name.
    """
    words, _, times = text.strip().lower().removeprefix("tpu-").partition("*")
    slices = int(times) if times.isdecimal() and int(times) else 0 if times else 1
    kind, _, size = words.partition(":")
    if not slices:
        raise _unknown(text, f"{times!r} is no number of slices")
    if kind in TPUS and size:
        return _tpu(text, kind, size, slices)
    if kind in GPUS or kind == "cpu":
        if times or not (size or "1").isdecimal() or not int(size or 1):
            raise _unknown(text, f"{size!r} is no number of devices")
        platform = "cpu" if kind == "cpu" else "cuda"
        return Topology(f"{kind}:{size or 1}", platform, GPUS.get(kind, "cpu"), (int(size or 1),))
    if found := re.fullmatch(r"([a-z0-9]+)-(\d+)", words):
        for name, tpu in TPUS.items():
            if found[1] in tpu.clouds:
                return _tpu(text, name, _slice(text, tpu, found[1], int(found[2])), slices)
    raise _unknown(text, nearest(kind, [*TPUS, *GPUS]))


def check_batch(batch: int | None, count: int) -> None:
    """Raise UserError if so many devices do not divide a global batch; None is no batch."""
    if batch is None or batch % count == 0:
        return
    below, above = batch - batch % count, batch + -batch % count
    raise UserError(
        f"config.data.batch: a global batch of {batch} does not divide over {count} devices; "
        f"use {f'{below} or {above}' if below else above}"
    )


def _slice(text: str, tpu: Generation, word: str, number: int) -> str:
    """The shape of a slice that a cloud names by a number."""
    sizes = {math.prod(map(int, shape.split("x"))) * tpu.counted: shape for shape in tpu.slices}
    if number not in sizes:
        raise _unknown(text, f"there is {', '.join(f'{word}-{size}' for size in sizes)}")
    return sizes[number]


def _tpu(text: str, name: str, size: str, slices: int) -> Topology:
    tpu = TPUS[name]
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", size) or size.count("x") != tpu.axes - 1:
        raise _unknown(text, f"a slice of {name} has {tpu.axes} sides, such as {name}:{tpu.slices[1]}")
    shape = tuple(map(int, size.split("x")))
    return Topology(
        f"{name}:{size}" + (f"*{slices}" if slices > 1 else ""), "tpu", tpu.kind, shape, slices, tpu.devices
    )


def _unknown(text: str, reason: str) -> UserError:
    return UserError(f"{text!r} is no hardware that is known here: {reason}; try v5e:4x4, v5litepod-16 or h100:8")
