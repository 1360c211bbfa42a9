"""Compiles a run's programs for devices that are not there.

The packages that compile for an accelerator need none: `libtpu` for TPUs, a CUDA plugin of JAX for GPUs.
"""

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ddpm_jax import keys as random
from ddpm_jax.data import Dataset
from ddpm_jax.devices.plan import ROWS, Plan
from ddpm_jax.devices.topology import Topology
from ddpm_jax.errors import UserError
from ddpm_jax.evaluation import drawing
from ddpm_jax.pipeline.job import Job

INSTALL = "it needs a compiler for that hardware: pip install 'ddpm_jax[plan]', or --instant, which does not compile"

VARIABLES = {"TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1", "TPU_STDERR_LOG_LEVEL": "3"}
"""So that libtpu does not look for a TPU's host, nor mind a second process that compiles."""


@dataclass(frozen=True)
class Compiled:
    """A program.

    Attributes:
        text: as HLO.
        memory: bytes on one device: arguments, results that are not arguments again, and what lies between.
        accessed: bytes that it reads and writes, as the compiler counts them, loops once; 0 where it does not.
        seconds: that compiling took.
        refused: bytes that it would need, where it does not fit.
    """

    text: str
    memory: Mapping[str, float]
    accessed: float
    seconds: float
    refused: float = 0.0


def devices_of(topology: Topology) -> tuple[Any, ...]:
    """JAX's devices of a topology, to compile for.

    Raises:
        UserError: there is no compiler for them here.
    """
    os.environ.update({name: value for name, value in VARIABLES.items() if name not in os.environ})
    from jax.experimental import topologies

    if topology.platform != "tpu":
        raise UserError(f"--topology: {topology.name} is not compiled for yet, only TPUs are; use --instant")
    name, _, _ = topology.name.partition("*")
    options = {"num_slices": topology.slices} if topology.slices > 1 else {}
    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=name, **options)
    except Exception as error:  # libtpu is not there, or does not know it
        if "not installed" in str(error) or "libtpu" in str(error):
            raise UserError(f"--topology: {INSTALL}") from error
        raise UserError(f"--topology: the compiler knows no {topology.name}: {str(error).splitlines()[0]}") from error
    devices = tuple(found.devices)
    if len(devices) > topology.count:  # TPU v4 and v5p: JAX has a device a chip there, libtpu may name two
        devices = devices[:: len(devices) // topology.count]
    return devices


def placed(tree: PyTree, shardings: PyTree) -> PyTree:
    """Shapes with where they lie."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree, shardings
    )


def step(job: Job) -> Any:
    """A dispatch of training steps, lowered."""
    plan = job.plan
    state = placed(job.abstract, plan.state_sharding(job.abstract))
    spec = plan.sharding() if job.feed.resident else plan.sharding(None, ROWS)
    example = job.feed.example
    data = placed(example, jax.tree.map(lambda _: spec, example))
    count = job.experiment.config.training.dispatch
    if job.run.fresh is not None:
        metrics = placed(shapes := jax.eval_shape(job.run.fresh), jax.tree.map(lambda _: plan.sharding(), shapes))
        return job.run.program.lower(state, metrics, data, job.run.rows, np.float32(0))
    return job.run.program.lower(state, data, job.run.rows, count, np.float32(0))


def sample(job: Job) -> Any:
    """A batch of samples, lowered."""
    sampler = drawing.sampler(job.experiment, job.plan)
    told = jax.eval_shape(lambda: sampler.sampling.asked(job.experiment.model).null(sampler.each.batch))
    rows = {"row": jax.ShapeDtypeStruct((sampler.each.batch,), jnp.int32), "condition": told}
    key = jax.eval_shape(lambda: random.purpose_key(0, random.SAMPLES))
    joined = jax.eval_shape(sampler.sampling.joined, job.abstract.params)
    return _lowered(sampler.each, (joined, key), rows, job.plan)


def likelihood(job: Job, dataset: Dataset) -> Any:
    """The likelihood of a batch of images, or its bound, lowered."""
    model = job.experiment.model
    each = job.plan.each(model.likelihood, job.experiment.config.sampler.batch)
    images, told = dataset.split("test").arrays()
    rows = {"image": images, "condition": told, "row": jax.ShapeDtypeStruct((1,), jnp.int32)}
    rows = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((each.batch, *leaf.shape[1:]), leaf.dtype), rows)
    return _lowered(each, job.abstract.params, rows, job.plan)


def _lowered(each: Any, shared: PyTree, rows: PyTree, plan: Plan) -> Any:
    spread = jax.tree.map(lambda _: plan.sharding(ROWS), rows)
    return each.program.lower(placed(shared, plan.state_sharding(shared)), placed(rows, spread))


def compiled(lowered: Any) -> Compiled:
    """The program that the compiler makes of it; or what it would need, where that does not fit."""
    start = time.perf_counter()
    try:
        found = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if (asked := re.search(r"Used ([\d.]+)([KMGT]?) of [\d.]+[KMGT]? hbm", str(error))) is None:
            raise
        used = float(asked[1]) * 1024 ** " KMGT".index(asked[2] or " ")
        return Compiled("", {}, 0.0, time.perf_counter() - start, used)
    stats, costs = found.memory_analysis(), found.cost_analysis() or {}
    memory = {
        "arguments": float(stats.argument_size_in_bytes),
        "results": float(stats.output_size_in_bytes - stats.alias_size_in_bytes),
        "between": float(stats.temp_size_in_bytes),
        "code": float(stats.generated_code_size_in_bytes),
    }
    return Compiled(found.as_text(), memory, float(costs.get("bytes accessed", 0.0)), time.perf_counter() - start)
