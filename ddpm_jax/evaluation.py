"""The figures of a run: bits per dimension, sample quality beside reference lines, and what they cost."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ddpm_jax import keys as random
from ddpm_jax import pictures
from ddpm_jax.data import Dataset, Description, Source
from ddpm_jax.experiment import SAMPLES, Experiment, Measure, purpose_key
from ddpm_jax.likelihood import Likelihood, bits_per_dimension, floor_lines
from ddpm_jax.metrics.law import law_distance, law_references
from ddpm_jax.parallel import Plan
from ddpm_jax.runs import provenance

Bar = Callable[[str], Callable[[Any], Any]]


def labels_for(description: Description, count: int, label: int | None = None) -> np.ndarray:
    """`[count]` int32: the label, or all of them in turn."""
    return (
        np.arange(count, dtype=np.int32) % max(1, description.labels)
        if label is None
        else np.full(count, label, np.int32)
    )


def sampler(experiment: Experiment, plan: Plan, steps: int | None = None, frames: tuple[int, ...] = ()) -> Callable:
    """`(params, seed, count, label=None, progress=None) -> images, film, evaluations`, over all devices.

    Image i depends on the seed and i alone. Labels go round the classes unless one is given. The film's two arrays are
    `[count, frames, *site]`; `evaluations` counts the network's for each image.
    """

    def some(shared: tuple, rows: dict[str, Any]) -> tuple:
        params, root = shared
        keys = random.per_example(root, rows["row"])
        images, film, evaluations = experiment.sample(params, keys, rows["label"], steps, frames)
        return images, jax.tree.map(lambda frame: frame.swapaxes(0, 1), film), evaluations

    each = plan.each(some, experiment.config.sampler.batch)

    def sample(params: Any, seed: int, count: int, label: int | None = None, progress: Any = None) -> tuple:
        rows = np.arange(count, dtype=np.int32)
        labels = labels_for(experiment.description, count, label)
        return each((params, purpose_key(seed, SAMPLES)), {"row": rows, "label": labels}, progress)

    return sample


def rows_of(source: Source, count: int) -> dict[str, np.ndarray]:
    """The first `count` images of a split, or all, as the rows that per-example functions take."""
    if count >= len(source):
        source.arrays()  # a decoded copy is kept, which later processes read without TFDS
    number = np.arange(min(count, len(source)))
    return {**source.rows(number), "row": number.astype(np.int32)}


def likelihoods(experiment: Experiment, plan: Plan, params: Any, dataset: Dataset, bar: Bar) -> dict[str, Any]:
    """Bits per dimension on the training and the test split, of the model's kind, with its parts; exact floor lines.

    A model that gives images no probability has floor lines only.
    """
    evaluation, kind = experiment.config.evaluation, experiment.likelihood_kind
    figures: dict[str, Any] = {}
    if kind:
        for split in ("train", "test"):
            figures[split] = likelihood_of(experiment, plan, params, dataset, split, bar)
        figures.update(experiment.likelihood_facts())
    for name, measure in experiment.measures().items():
        figures[name] = _measured(experiment, plan, params, dataset, measure, bar)
    train, test = (dataset.split(split).arrays()[0] for split in ("train", "test"))
    levels, test = len(dataset.description.values), test[: evaluation.likelihood_images]
    floors = floor_lines(train, test, levels, progress=jax.process_index() == 0)
    if dataset.law is not None:
        nats = -np.log(dataset.law[tuple(test.reshape(len(test), -1).T)])
        floors = {"the law itself": bits_per_dimension(nats, dataset.description.dimensions, "exact"), **floors}
    return {
        **figures,
        "floors": {name: _kept(line) for name, line in floors.items()},
        "unit": "bits per dimension",
    }


def likelihood_of(
    experiment: Experiment, plan: Plan, params: Any, dataset: Dataset, split: str, bar: Bar
) -> dict[str, Any] | None:
    """Bits per dimension of a split with their parts; None for a model that gives images no probability."""
    kind, dimensions = experiment.likelihood_kind, experiment.description.dimensions
    if not kind:
        return None
    each = plan.each(experiment.likelihood, experiment.config.sampler.batch)
    rows = rows_of(dataset.split(split), experiment.config.evaluation.likelihood_images)
    terms = each(params, rows, bar(f"bits per dimension, {split}"))
    parts = {
        part.name: bits_per_dimension(getattr(terms, part.name), dimensions, kind).value
        for part in dataclasses.fields(terms)
    }
    return {**_kept(bits_per_dimension(terms.total, dimensions, kind)), "parts": parts}


def _kept(figure: Likelihood) -> dict[str, Any]:
    """A figure as data, in nats an image too: the unit in which binarised images are compared."""
    return {**dataclasses.asdict(figure), "nats": figure.nats, "nats_standard_error": figure.nats_standard_error}


def _measured(
    experiment: Experiment, plan: Plan, params: Any, dataset: Dataset, measure: Measure, bar: Bar
) -> dict[str, Any]:
    """A further likelihood of test images."""
    each = plan.each(measure.nats, experiment.config.sampler.batch)
    rows = rows_of(dataset.split("test"), measure.images)
    nats, evaluations = each(params, rows, bar(f"bits per dimension, {measure.title}"))
    dimensions = experiment.description.dimensions
    figure = bits_per_dimension(nats, dimensions, measure.kind, measure.dequantisation, measure.draws)
    return {**_kept(figure), **measure.facts, "network_evaluations": float(np.mean(evaluations))}


def quality(experiment: Experiment, images: np.ndarray, dataset: Dataset) -> dict[str, Any]:
    """How near samples are to the test images, or to a known law, with reference lines that give that a meaning."""
    if dataset.law is not None:
        references = law_references(dataset.law, len(images))
        return {
            "samples": law_distance(images, dataset.law).to_dict(),
            "references": {name: line.to_dict() for name, line in references.items()},
            "law": dataset.description.name,
            "count": len(images),
        }
    from ddpm_jax.metrics.features import load_features
    from ddpm_jax.metrics.quality import quality, reference_lines

    train, labels = dataset.split("train").arrays()
    test, test_labels = dataset.split("test").arrays()
    levels, classes = len(experiment.description.values), experiment.description.labels
    speaks = jax.process_index() == 0
    features = load_features(train, labels, levels, classes, test, test_labels, progress=speaks)
    ours = quality(images, train, test, levels, features)
    references = reference_lines(train, test, levels, features, ours.count, progress=speaks)
    return {
        "samples": ours.to_dict(),
        "references": {name: line.to_dict() for name, line in references.lines.items()},
        "test_copies": references.test_copies,
        "test_median_distance": references.test_median_distance,
        "frechet_against_train_line": ours.frechet / references.lines["train"].frechet,
        "features": {"name": features.name, "hash": features.hash, "accuracy": features.accuracy},
        "count": ours.count,
    }


def evaluate(experiment: Experiment, plan: Plan, params: Any, dataset: Dataset, step: int, bar: Bar) -> dict[str, Any]:
    """All figures of a model trained for `step` steps, ready for `result.json`. Samples come from the config's seed."""
    config = experiment.config
    result: dict[str, Any] = {"likelihood": likelihoods(experiment, plan, params, dataset, bar)}
    count = samples_to_measure(config, dataset)
    started = time.perf_counter()
    images, _, evaluations = sampler(experiment, plan)(params, config.seed, count, progress=bar("samples"))
    seconds = time.perf_counter() - started
    result["quality"] = quality(experiment, images, dataset)
    result["evaluated"] = {"step": step, **provenance()}
    result["sampling"] = {
        "samples": count,
        "network_evaluations_per_sample": float(np.mean(evaluations)),
        "seconds_with_compilation": seconds,
        "batch": config.sampler.batch,
        "weights": f"ema {config.sampler.ema}" if config.sampler.ema else "raw",
    }
    return result


def samples_to_measure(config: Any, dataset: Dataset) -> int:
    """How many samples are measured: a set of test images is compared with as many; a law with any number."""
    return min(config.evaluation.samples, len(dataset.split("test")) if dataset.law is None else 2**31)


def headline(result: dict[str, Any]) -> dict[str, float]:
    """The few figures that go to the trackers."""
    figures = {
        f"{'train' if name == 'train' else 'test'}/bits_per_dimension_{figure['kind']}": figure["value"]
        for name, figure in result["likelihood"].items()
        if isinstance(figure, dict) and "kind" in figure
    }
    samples = result["quality"]["samples"]
    names = {name: name for name in ("precision", "recall", "copies", "kl", "total_variation")}
    shown = {"frechet": "frechet_distance", **names}
    return {**figures, **{f"test/{title}": samples[name] for name, title in shown.items() if name in samples}}


GRID, FILM, FRAMES = 64, 6, 10


def draw_pictures(experiment: Experiment, plan: Plan, params: Any, folder: Path, bar: Bar) -> dict[str, Path]:
    """A grid of samples and a film strip of the sampling, as PNG in the folder. Images of two spatial axes only."""
    if len(experiment.description.space) != 2:
        return {}
    config = experiment.config
    images, _, _ = sampler(experiment, plan)(params, config.seed, GRID, progress=bar("samples"))
    shown = np.asarray(experiment.description.encode(images))
    steps = len(experiment.grid()) - 1
    late = 1 - (1 - np.linspace(0, 1, FRAMES)) ** 2  # most is to be seen towards the end
    frames = tuple(sorted({round(share * (steps - 1)) for share in late}))
    _, film, _ = sampler(experiment, plan, frames=frames)(params, config.seed, FILM, progress=bar("film"))
    noisy, estimates = film
    return {
        "samples": pictures.grid(folder / "samples.png", shown),
        "film": pictures.film(folder / "film.png", noisy.swapaxes(0, 1), estimates.swapaxes(0, 1)),
    }
