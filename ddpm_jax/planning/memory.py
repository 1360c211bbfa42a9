"""The bytes of a run's state and data on one device, by part, and what of them stays whole: known without compiling."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
from jaxtyping import PyTree

from ddpm_jax.devices.groups import bytes_on_one
from ddpm_jax.models.shares import turn_of
from ddpm_jax.pipeline.job import Job


@dataclass(frozen=True)
class Part:
    """Arrays of one purpose.

    Attributes:
        name: what they are for.
        total: bytes of one copy.
        on_one: bytes on one device.
        whole: bytes of it that every device has, though it was to be shared.
    """

    name: str
    total: int
    on_one: int
    whole: int


def parts(job: Job, devices: int, group: int) -> list[Part]:
    """What a job keeps on each of so many devices, of which a group shares a state.

    Parameters, what is frozen, averages, the optimizer's moments, and data.
    """
    state = job.abstract
    named = {
        "parameters": state.params,
        "frozen": state.frozen,
        "averages": state.ema,
        "moments": state.opt_state,
    }
    found = [_part(name, tree, group) for name, tree in named.items()]
    if group > 1:  # those in a loop are there one block after another
        weights = bytes_on_one(jax.tree.leaves(_at_once(state.params, job.experiment.model.looped)), 1)[0]
        found.append(Part("weights in a step", weights, weights, 0))
    total = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(job.feed.example))
    if job.feed.resident:
        found.append(Part("data, all of it", total, total, 0))
    else:
        found.append(Part("data of a dispatch", total, total // devices, 0))
    return [part for part in found if part.total]


def _part(name: str, tree: PyTree, group: int) -> Part:
    total, _ = bytes_on_one(tree, 1)
    on_one, whole = bytes_on_one(tree, group)
    return Part(name, total, on_one, whole if group > 1 else 0)


def _at_once(params: PyTree, looped: Sequence[str]) -> PyTree:
    """The parameters that a device has whole at one time: of blocks in a loop those of the first."""
    return [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params) if not turn_of(path, looped)]
