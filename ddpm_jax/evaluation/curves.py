"""Figures along an axis: what more network evaluations, other orders, longer training and averaged weights bring."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from ddpm_jax.data import Dataset
from ddpm_jax.devices import flops
from ddpm_jax.devices.plan import Plan
from ddpm_jax.evaluation.drawing import Bar, draw
from ddpm_jax.evaluation.figures import adherence_of, likelihood_of, quality, samples_to_measure
from ddpm_jax.evaluation.told import conditions_of
from ddpm_jax.experiment import Experiment
from ddpm_jax.files import Record
from ddpm_jax.generative import Sampling
from ddpm_jax.runs.book import Book


def curve(experiment: Experiment, plan: Plan, params: PyTree, dataset: Dataset, bar: Bar, book: Book) -> None:
    """Quality against the cost of a sample: a point for each order, number of steps and guidance the config asks for.

    The first is the config's own, whose figures the book has already from `evaluation.evaluate`. FLOPs of a sample are
    those of products, at batch 1. The points go into the book as they come.
    """
    config, count = experiment.config, samples_to_measure(experiment.config, dataset)
    if not config.evaluation.samples:
        return
    sampling = experiment.sampling_in()
    own = config.sampler.order, len(sampling.grid) - 1, sampling.guidance
    known = {
        "network_evaluations_per_sample": (book.values["sampling"] or {}).get("network_evaluations_per_sample"),
        "quality": (book.values["quality"] or {}).get("samples"),
    }
    if adheres := (book.values.get("adherence") or {}).get("samples"):
        known["adherence"] = adheres
    orders = [order or config.sampler.order for order in config.evaluation.curve_orders]
    points: dict[tuple[str, int, float], Record] = {}
    asked = [own, *((order, steps, own[2]) for order in orders for steps in config.evaluation.curve)]
    asked += [(*own[:2], weight) for weight in config.evaluation.curve_guidance]
    for order, steps, weight in asked:
        other = replace(experiment.sampling_in(steps, order), guidance=weight)
        taken = len(other.grid) - 1  # an order may have fewer groups than steps were asked for
        if (order, taken, weight) in points:
            continue
        guided = "" if weight == own[2] else f".guidance_{weight:g}"
        title = f"samples, {steps} steps" + (f" in {order} order" if order else "") + guided.replace(".", ", ")
        measure = partial(_point, experiment, other, plan, params, count, dataset, bar(title))
        name = f"curve.{order or 'own'}.{taken}{guided}"
        measured = known if (order, taken, weight) == own else book.attempt(name, measure)
        if measured is not None:
            cost = {"steps": taken, "order": order, "flops_per_sample": flops_per_sample(experiment, other)}
            guidance = {"guidance": weight} if experiment.asked else {}
            points[order, taken, weight] = {**cost, **guidance, **measured}
            book.put("curve", list(points.values()))


def _point(
    experiment: Experiment, other: Sampling, plan: Plan, params: PyTree, count: int, dataset: Dataset, progress: Any
) -> Record:
    images, _, evaluations = draw(experiment, plan, params, dataset, count, progress, other)
    point = {
        "network_evaluations_per_sample": float(np.mean(evaluations)),
        "quality": quality(experiment, images, dataset),
    }
    if conditions := experiment.asked:
        told = conditions_of(conditions, dataset, count)
        point["adherence"] = adherence_of(experiment, dataset, images, told)
    return point


def flops_per_sample(experiment: Experiment, sampling: Sampling) -> float | None:
    """FLOPs of one sample at batch 1, those of matrix products and convolutions; None for an adaptive sampler.

    Heun's last step counts as the others do, though it needs one evaluation only.
    """
    params = jax.eval_shape(lambda: sampling.joined(experiment.model.init(jax.random.key(0))))
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1))
    told = jax.eval_shape(lambda: sampling.asked(experiment.model).null(1))
    images = lambda *inputs: sampling.draw(experiment.model, *inputs)[0]  # noqa: E731
    count = flops.of_function(images, params, keys, told)
    return count if math.isfinite(count) else None


def measured(
    experiment: Experiment, plan: Plan, params: PyTree, dataset: Dataset, bar: Bar, book: Book, key: str
) -> Record:
    """The likelihood of the test split and the quality of samples, with these parameters; null what the config leaves
    out, or what fails, whose reason the book has under the key.
    """
    config, count = experiment.config, samples_to_measure(experiment.config, dataset)

    def drawn() -> Record:
        images, _, _ = draw(experiment, plan, params, dataset, count, bar("samples"))
        return quality(experiment, images, dataset)

    likelihood = partial(likelihood_of, experiment, plan, params, dataset, "test", bar)
    return {
        "likelihood": book.attempt(f"{key}.likelihood", likelihood) if config.evaluation.likelihood_images else None,
        "quality": book.attempt(f"{key}.quality", drawn) if config.evaluation.samples else None,
    }


def history(
    experiment: Experiment,
    plan: Plan,
    params_at: Callable[[int], Any],
    steps: Sequence[int],
    flops_per_step: float,
    dataset: Dataset,
    bar: Bar,
    book: Book,
) -> None:
    """Likelihood and quality at each of these kept steps: what a training budget buys, from one run.

    The book has the figures of one of them already, from `evaluation.evaluate`. The points go into it as they come.
    """
    points, batch, known = [], experiment.config.data.batch, book.values
    for step in steps:
        if step == known["evaluated"]["step"]:
            figures: Any = {
                "likelihood": (known.get("likelihood") or {}).get("test"),
                "quality": (known.get("quality") or {}).get("samples"),
            }
        else:
            figures = None
            if (params := book.attempt(f"history.{step}", partial(params_at, step))) is not None:
                figures = measured(experiment, plan, params, dataset, bar, book, f"history.{step}")
        if figures is not None:
            point = {"step": step, "images_seen": step * batch, "training_flops": step * flops_per_step}
            points.append({**point, **figures})
            book.put("history", points)
