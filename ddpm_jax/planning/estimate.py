"""A time for a program on hardware that is not there, by a model that is said with it.

What the devices compute is, on TPUs of a known clock, the compiler's own estimate of cycles; else matrix products at
the peak, or at the memory's bandwidth where that takes longer, and then all other operations at that bandwidth.
What they send takes a ring: of n devices an all-reduce moves 2 (n - 1)/n of its bytes over each, the others (n - 1)/n,
at half of what all links of a device do in both directions; between slices at the network's rate. Nothing is taken to
overlap, so that it is no lower bound.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ddpm_jax.devices.topology import Topology
from ddpm_jax.planning.hlo import Program, Sent, Work

RING = {"all-reduce": 2.0}
"""How often a ring moves the bytes of a collective; the others once."""


@dataclass(frozen=True)
class Estimate:
    """Seconds of one turn of a program.

    Attributes:
        computing: on each device.
        products: of these, matrix products and convolutions with what is fused into them; None where nobody knows.
        sending: to other devices.
        basis: what `computing` is made of, in words.
    """

    computing: float
    products: float | None
    sending: float
    basis: str

    @property
    def total(self) -> float:
        """Nothing overlaps."""
        return self.computing + self.sending


def estimate(program: Program, topology: Topology, flops: float, dtype: str) -> Estimate:
    """The time of a turn of a program.

    Args:
        program: what it does on a device.
        topology: the hardware.
        flops: that are done in the whole turn, all devices together, what is computed again too.
        dtype: of the products, "float32" or "bfloat16".
    """
    row, generation = topology.accelerator, topology.generation
    sending = sum((seconds(one, topology) for one in program.sent), 0.0)
    total, products = program.total, program.work.get("products", Work())
    if total.cycles and generation and generation.clock:
        words = f"the compiler's cycles at {generation.clock / 1e9:.3g} GHz"
        return Estimate(total.cycles / generation.clock, products.cycles / generation.clock, sending, words)
    peak = (row.bfloat16 if dtype == "bfloat16" else None) or row.float32
    multiplying = max(flops / topology.count / peak, products.accessed / row.bandwidth)
    others = (total.accessed - products.accessed) / row.bandwidth
    words = "products at the peak, all else at the memory's bandwidth"
    return Estimate(multiplying + others, multiplying, sending, words)


def seconds(one: Sent, topology: Topology) -> float:
    """Of some collectives, one after another."""
    generation, rate = topology.generation, topology.accelerator.link / 2
    if one.crosses and generation and generation.network:
        rate = generation.network / topology.devices_per_chip
    return RING.get(one.kind, 1.0) * one.bytes * (one.devices - 1) / max(one.devices, 1) / rate


def largest_batch(batch: int, devices: int, fixed: float, between: float, memory: float) -> int:
    """The largest global batch that would fit, if what lies between grows with the batch; 0 where none does."""
    if fixed >= memory or not between:
        return 0
    return int((memory - fixed) / (between / batch) // devices * devices)


def parts_that_fit(batch: int, devices: int, fixed: float, between: float, memory: float) -> int | None:
    """Into how many parts a device's rows must be cut to fit, by the same rule; None where that is not enough."""
    rows = batch // devices
    able: Sequence[int] = [parts for parts in range(1, rows + 1) if rows % parts == 0]
    return next((parts for parts in able if fixed + between / parts <= memory), None)
