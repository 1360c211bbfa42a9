"""Run by test_plan.py in a process of its own, which has eight emulated devices: trains, samples and evaluates.

Prints one JSON object with the figures of each way of using devices. With the argument `host`, data come from the host
and only training is looked at.
"""

import json
import sys

import jax
import numpy as np

from ddpm_jax import data
from ddpm_jax.config.base import base
from ddpm_jax.devices.plan import Plan
from ddpm_jax.evaluation import drawing, figures
from ddpm_jax.experiment import make
from ddpm_jax.pipeline.job import make_job


def tiny():
    config = base()
    config.data.batch = 16
    config.data.placement = "host" if "host" in sys.argv else "device"
    config.model.channels = 8
    config.model.multipliers = (1,)
    config.model.blocks = 1
    config.model.attention_resolutions = ()
    config.model.groups = 4
    config.model.conditions = ("label",)
    config.objective.times = "importance"  # its history is added up over the devices
    config.sampler.steps = 3
    config.sampler.ema = 0.5
    config.sampler.batch = 8
    config.optimizer.ema = (0.5,)
    config.optimizer.warmup = 2
    config.optimizer.epsilon = 1e-3  # Adam turns rounding of a gradient near zero into a full step otherwise
    config.training.dispatch = 4
    config.training.steps = 6
    config.evaluation.likelihood_images = 11
    config.evaluation.likelihood_groups = 4
    config.evaluation.validation_images = 13
    return config


def train(plan, accumulate=1):
    """A short run: its losses, and what the rest is computed from."""
    config = tiny()
    config.training.accumulate = accumulate
    dataset = data.load("digits")
    experiment = make(config, dataset.description)
    job = make_job(experiment, plan, dataset)
    state, losses = job.fresh(), []
    with job.data(0) as feed:
        for step, count in ((0, 4), (4, 2)):
            state, metrics = job.run(state, feed(step, count), count, np.float32(0))
            losses.append(float(metrics.loss))
    params = state.ema["0.5"]
    told = {
        "losses": losses,
        "weights": float(sum(np.abs(np.asarray(leaf)).sum() for leaf in jax.tree.leaves(params))),
        "history": {name: np.asarray(leaf, float).tolist() for name, leaf in state.extra.items()},
        "sharded": any(not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state)),
    }
    return told, config, dataset, experiment, job, state


def train_and_evaluate(plan):
    """The same, and a validation loss, samples and bounds."""
    told, _, dataset, experiment, job, state = train(plan)
    params = state.ema["0.5"]
    images, _, _ = drawing.sampler(experiment, plan)(params, 1, 11)
    likelihood = figures.likelihoods(experiment, plan, params, dataset, lambda name: None)
    return {
        **told,
        "validation": job.validation_loss(state),
        "samples": np.asarray(images, int).ravel().tolist(),
        "count": len(images),
        "bound": [likelihood["train"]["value"], likelihood["test"]["value"]],
        "images": likelihood["test"]["images"],
    }


if __name__ == "__main__":
    one, all_devices = tuple(jax.devices()[:1]), tuple(jax.devices())
    ways = {
        "jit 1": Plan(devices=one),
        "jit 8": Plan(devices=all_devices),
        "fsdp 8": Plan(shard="fsdp", smallest_sharded=64, devices=all_devices),
        "pmap 8": Plan(map="pmap", devices=all_devices),
        "jit 8, loop on device": Plan(loop="device", devices=all_devices),
    }
    if "host" in sys.argv:
        ways = {name: ways[name] for name in ("jit 1", "jit 8", "pmap 8")}
        print(json.dumps({name: train(plan)[0] for name, plan in ways.items()}))
    else:
        looped = ways.pop("jit 8, loop on device")
        results = {name: train_and_evaluate(plan) for name, plan in ways.items()}
        groups = Plan(shard="fsdp", group=4, smallest_sharded=64, devices=all_devices)
        short = {"jit 8, loop on device": train(looped)[0], "fsdp 8, in groups": train(groups)[0]}
        short |= {f"{name}, accumulated": train(ways[name], accumulate=2)[0] for name in ("jit 8", "pmap 8")}
        print(json.dumps({**results, **short}))
