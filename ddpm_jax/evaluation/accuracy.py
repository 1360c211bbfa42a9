"""How often a classifier of noisy images is right, from nearly clean images to noise."""

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, PyTree

from ddpm_jax import keys as random
from ddpm_jax.denoisers import LABEL
from ddpm_jax.devices.plan import Plan
from ddpm_jax.errors import Unavailable
from ddpm_jax.experiment import Experiment
from ddpm_jax.files import Record
from ddpm_jax.generative import Model
from ddpm_jax.generative.model import Rows

LEVELS = 5
"""Noise levels, even in time: from the least that the network has seen to t = 1."""


def accuracy(experiment: Experiment, plan: Plan, params: PyTree, rows: Rows, progress: Any) -> Record:
    """The share of images whose label is told, at each level of noise.

    Args:
        experiment: of a classifier.
        plan: the devices.
        params: of the classifier.
        rows: images that it was not trained on; those without a label do not count.
        progress: a bar.

    Raises:
        Unavailable: none has a label.
    """
    model, batch = experiment.model, experiment.config.sampler.batch
    process: Any = model.process
    known = rows["condition"][LABEL] < experiment.description.labels
    if not known.any():
        raise Unavailable("no image has a label")
    steps = model.times.steps
    least = 1 / steps if steps else model.times.t_min
    times = np.sort(process.grid(min(LEVELS, steps or LEVELS), "uniform", least, steps)[:-1])
    right = np.asarray(plan.each(partial(hits, model, times), batch)(params, rows, progress))[known]
    alpha, sigma = (np.asarray(part) for part in process.at(jnp.asarray(times, jnp.float32), jnp.zeros(len(times))))
    shares = right.mean(axis=0)
    errors = np.sqrt(shares * (1 - shares) / len(right))
    noise = zip(times, sigma / alpha, shares, errors, strict=True)
    names = "t", "noise", "value", "standard_error"
    return {"images": len(right), "levels": [dict(zip(names, map(float, level), strict=True)) for level in noise]}


def hits(model: Model, times: np.ndarray, params: PyTree, rows: Rows) -> Bool[Array, "batch levels"]:
    """Whether the likeliest label is the right one at each time; noise belongs to row numbers."""
    keys = random.per_example(random.purpose_key(0, random.VALIDATION), rows["row"])
    x, condition = model.description.encode(rows["image"]), model.condition(rows["condition"])
    process, classify = model.bound_process(params), model.denoiser(params)
    z = process.noise(keys, x.shape)
    said = [classify(process.corrupt(x, z, t), t, condition) for t in jnp.asarray(times, x.dtype)]
    return jnp.stack([jnp.argmax(one.logits, axis=1) == condition[LABEL] for one in said], axis=1)
