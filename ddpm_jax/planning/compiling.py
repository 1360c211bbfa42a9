"""Compiles a run's programs for devices that are not there.

The packages that compile for an accelerator need none: `libtpu` for TPUs, JAX's CUDA plugin and `ptxas` for GPUs.
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
from ddpm_jax.planning import gpus

INSTALL = {"tpu": "pip install -e '.[plan]'", "cuda": "pip install 'jax[cuda13]'"}
"""What brings the compiler of a platform."""

VARIABLES = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_STDERR_LOG_LEVEL": "3",
}
"""So that libtpu does not look for a TPU's host, nor complain of there being none, nor mind a second process."""


@dataclass(frozen=True)
class Compiled:
    """A program.

    Attributes:
        text: as HLO.
        memory: bytes on one device: arguments, results that are not arguments again, and what lies between.
        seconds: that compiling took.
        refused: bytes that it would need, where it does not fit.
    """

    text: str
    memory: Mapping[str, float]
    seconds: float
    refused: float = 0.0


def devices_of(topology: Topology) -> tuple[Any, ...]:
    """JAX's devices of a topology, to compile for.

    Raises:
        UserError: there is no compiler for them here.
    """
    from jax.experimental import topologies

    platform, name = topology.platform, topology.name.partition("*")[0]
    if platform == "cpu":
        return tuple(jax.devices()[: topology.count])
    if platform == "tpu":
        os.environ.update({name: value for name, value in VARIABLES.items() if name not in os.environ})
        options: dict[str, Any] = {"topology_name": name}
        options |= {"num_slices": topology.slices} if topology.slices > 1 else {}
    else:
        options = gpus.options(name.partition(":")[0], topology.count)
        gpus.find_assembler()
    try:
        found = topologies.get_topology_desc(platform=platform, **options)
    except Exception as error:  # the compiler is not there, or does not know it
        line = str(error).splitlines()[0]
        if any(word in str(error) for word in ("not installed", "libtpu", "not implemented")):
            install = (
                f"it needs a compiler for that hardware: {INSTALL[platform]}, or --instant, which does not compile"
            )
            raise UserError(f"--topology: {install}") from error
        raise UserError(f"--topology: the compiler knows no {topology.name}: {line}") from error
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
    """A dispatch of training steps, traced (`jax.stages.Traced`)."""
    plan = job.plan
    state = placed(job.abstract, plan.state_sharding(job.abstract))
    spec = plan.sharding() if job.feed.resident else plan.sharding(None, ROWS)
    example = job.feed.example
    data = placed(example, jax.tree.map(lambda _: spec, example))
    count = job.experiment.config.training.dispatch
    if job.run.fresh is not None:
        metrics = placed(shapes := jax.eval_shape(job.run.fresh), jax.tree.map(lambda _: plan.sharding(), shapes))
        return job.run.program.trace(state, metrics, data, job.run.rows, np.float32(0))
    return job.run.program.trace(state, data, job.run.rows, count, np.float32(0))


def sample(job: Job) -> Any:
    """A batch of samples, traced."""
    sampler = drawing.sampler(job.experiment, job.plan)
    told = jax.eval_shape(lambda: sampler.sampling.asked(job.experiment.model).null(sampler.each.batch))
    rows = {"row": jax.ShapeDtypeStruct((sampler.each.batch,), jnp.int32), "condition": told}
    key = jax.eval_shape(lambda: random.purpose_key(0, random.SAMPLES))
    joined = jax.eval_shape(sampler.sampling.joined, job.abstract.params)
    return _traced(sampler.each, (joined, key), rows, job.plan)


def likelihood(job: Job, dataset: Dataset) -> Any:
    """The likelihood of a batch of images, or its bound, traced."""
    model = job.experiment.model
    each = job.plan.each(model.likelihood, job.experiment.config.sampler.batch)
    images, told = dataset.split("test").arrays()
    rows = {"image": images, "condition": told, "row": jax.ShapeDtypeStruct((1,), jnp.int32)}
    rows = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((each.batch, *leaf.shape[1:]), leaf.dtype), rows)
    return _traced(each, job.abstract.params, rows, job.plan)


def _traced(each: Any, shared: PyTree, rows: PyTree, plan: Plan) -> Any:
    spread = jax.tree.map(lambda _: plan.sharding(ROWS), rows)
    return each.program.trace(placed(shared, plan.state_sharding(shared)), placed(rows, spread))


def compiled(lowered: Any, platform: str) -> Compiled:
    """The program that the compiler makes of it; or what it would need, where that does not fit."""
    start = time.perf_counter()
    try:
        found = lowered.compile(gpus.OPTIONS if platform == "cuda" else None)
    except jax.errors.JaxRuntimeError as error:
        if (asked := re.search(r"Used ([\d.]+)([KMGT]?) of [\d.]+[KMGT]? hbm", str(error))) is None:
            raise
        used = float(asked[1]) * 1024 ** " KMGT".index(asked[2] or " ")
        return Compiled("", {}, time.perf_counter() - start, used)
    stats = found.memory_analysis()
    memory = {
        "arguments": float(stats.argument_size_in_bytes),
        "results": float(stats.output_size_in_bytes - stats.alias_size_in_bytes),
        "between": float(stats.temp_size_in_bytes),
        "code": float(stats.generated_code_size_in_bytes),
    }
    return Compiled(found.as_text(), memory, time.perf_counter() - start)
