"""Run by test_communication.py in a process of its own, which has eight emulated devices.

Prints one JSON object: for each way of using devices, the compiled dispatch's collective and host operations.
"""

import json
import math
import re
import sys
from collections import Counter
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

sys.path.insert(0, str(Path(__file__).parent))

from devices_program import tiny

from ddpm_jax import data
from ddpm_jax.devices.plan import Plan
from ddpm_jax.experiment import make
from ddpm_jax.pipeline.job import make_job
from ddpm_jax.planning.hlo import size

WATCHED = re.compile(
    r"(all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|infeed|outfeed|send|recv|custom-call|while)"
)


def operations(plan):
    config, dataset = tiny(), data.load("digits")
    job = make_job(make(config, dataset.description), plan, dataset)
    state = job.fresh()
    with job.data(0) as feed:
        text = job.run.compiled(state, feed(0, 4), 4, np.float32(0)).as_text()
    found = (re.match(r"\s*(?:ROOT )?%?\S+ = .*? ([a-z][a-z-]*)\(", line) for line in text.splitlines())
    names = [match.group(1) for match in found if match]
    reduced = re.search(r"= \((.*?)\) all-reduce\(", text)
    moved = Counter()
    for shapes, name in re.findall(
        r"= (.*?) (all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute)\(", text
    ):
        for sizes in re.findall(r"f32\[([\d,]*)\]", shapes):
            moved[name] += 4 * math.prod(int(size) for size in sizes.split(",") if size)
    return {
        "counts": Counter(name for name in names if WATCHED.match(name)),
        "callbacks": text.count("callback"),
        "reduced": 0 if reduced is None else len(re.findall(r"f32\[", reduced.group(1))),
        "parameters": len(jax.tree.leaves(state.params)),
        "bytes": moved,
        "weights": sum(leaf.nbytes for leaf in jax.tree.leaves(state.params)),
    }


def in_bfloat16(plan):
    """The types of what crosses devices where activations are bfloat16, as lowered, and a step's FLOPs."""
    config, dataset = tiny(), data.load("digits")
    config.model.dtype = "bfloat16"
    job = make_job(make(config, dataset.description), plan, dataset)
    state = job.fresh()
    with job.data(0) as feed:
        text = job.run.program.lower(state, feed(0, 4), job.run.rows, 4, np.float32(0)).as_text()
    sums = r'stablehlo\.(?:all_reduce|reduce_scatter)"\(.*?\}\) : \(tensor<(?:[\dx]*x)?(\w+)>'
    types = re.findall(sums, text, re.DOTALL)
    return {"types": Counter(types), "flops": job.count_flops()}


def deep(plan):
    """Of a transformer whose blocks are a loop: losses, the largest result of a gather, and bytes of all weights."""
    config, dataset = tiny(), data.load("digits")
    config.model = ConfigDict({**config.model, "name": "dit", "channels": 32, "depth": 8, "heads": 2, "patch": 2})
    config.objective.times, config.model.multipliers = "uniform", ()
    job = make_job(make(config, dataset.description), plan, dataset)
    state, losses = job.fresh(), []
    with job.data(0) as feed:
        text = job.run.compiled(state, feed(0, 4), 4, np.float32(0)).as_text()
        for step in (0, 4):
            state, metrics = job.run(state, feed(step, 4), 4, np.float32(0))
            losses.append(float(metrics.loss))
    gathers = [size(words) for words in re.findall(r"= (.*?) all-gather(?:-start)?\(", text)]
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves(state.params))
    return {"losses": losses, "largest": max(gathers, default=0), "weights": weights}


if __name__ == "__main__":
    devices = tuple(jax.devices())
    ways = {"jit": Plan(devices=devices), "pmap": Plan(map="pmap", devices=devices), "one": Plan(devices=devices[:1])}
    ways["fsdp"] = Plan(shard="fsdp", smallest_sharded=64, devices=devices)
    ways["groups"] = Plan(shard="fsdp", group=4, smallest_sharded=64, devices=devices)
    found = {name: operations(plan) for name, plan in ways.items()}
    found |= {f"{name}, bfloat16": in_bfloat16(ways[name]) for name in ("one", "jit", "pmap", "fsdp")}
    found |= {f"{name}, deep": deep(ways[name]) for name in ("one", "fsdp", "groups")}
    print(json.dumps(found))
