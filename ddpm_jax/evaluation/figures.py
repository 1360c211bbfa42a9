"""The figures of a run: bits per dimension, sample quality beside reference lines, and what they cost."""

import dataclasses
import time
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from ddpm_jax.conditions import Condition
from ddpm_jax.data import Dataset, Source
from ddpm_jax.devices.plan import Plan
from ddpm_jax.errors import Unavailable
from ddpm_jax.evaluation.accuracy import accuracy
from ddpm_jax.evaluation.adherence import adherence
from ddpm_jax.evaluation.adherence import headline as adherence_headline
from ddpm_jax.evaluation.drawing import Bar, draw, sampler
from ddpm_jax.evaluation.told import conditions_of
from ddpm_jax.experiment import Experiment
from ddpm_jax.files import Record
from ddpm_jax.generative import Measure
from ddpm_jax.likelihood import Likelihood, bits_per_dimension, floor_lines
from ddpm_jax.metrics.law import law_distance, law_references
from ddpm_jax.runs import provenance
from ddpm_jax.runs.book import Book


def rows_of(source: Source, count: int) -> Record:
    """The first `count` images of a split, or all that are affordable, as the rows that per-example functions take."""
    count = min(count, source.affordable)
    if count >= len(source):
        source.arrays()  # a decoded copy is kept, which later processes read without TFDS
    return source.rows(np.arange(count))


def likelihoods(
    experiment: Experiment, plan: Plan, params: PyTree, dataset: Dataset, bar: Bar, book: Book | None = None
) -> Record:
    """Bits per dimension on the training and the test split, of the model's kind, with its parts; exact floor lines.

    A model that gives images no probability has floor lines only. Each goes into the book as it comes.
    """
    book = Book() if book is None else book
    evaluation, estimator = experiment.config.evaluation, experiment.model.estimator
    book.put("likelihood.unit", "bits per dimension")
    if estimator is not None:
        for name, fact in experiment.facts.items():
            book.put(f"likelihood.{name}", fact)
        for split in ("train", "test"):
            book.compute(f"likelihood.{split}", partial(likelihood_of, experiment, plan, params, dataset, split, bar))
    for name, measure in experiment.measures.items():
        book.compute(f"likelihood.{name}", partial(_measured, experiment, plan, params, dataset, measure, bar))

    def floors() -> Record:
        train, test = (dataset.split(split).first()[0] for split in ("train", "test"))
        levels, test = len(dataset.description.values), test[: evaluation.likelihood_images]
        found = floor_lines(train, test, levels, progress=jax.process_index() == 0)
        if dataset.law is not None:
            nats = -np.log(dataset.law[tuple(test.reshape(len(test), -1).T)])
            found = {"the law itself": bits_per_dimension(nats, dataset.description.dimensions, "exact"), **found}
        return {name: _kept(line) for name, line in found.items()}

    book.compute("likelihood.floors", floors)
    return book.values["likelihood"]


def likelihood_of(
    experiment: Experiment, plan: Plan, params: PyTree, dataset: Dataset, split: str, bar: Bar
) -> Record | None:
    """Bits per dimension of a split with their parts; None for a model that gives images no probability."""
    estimator, dimensions = experiment.model.estimator, experiment.description.dimensions
    if estimator is None:
        return None
    kind = estimator.kind
    each = plan.each(experiment.model.likelihood, experiment.config.sampler.batch)
    rows = rows_of(dataset.split(split), experiment.config.evaluation.likelihood_images)
    if not len(rows["row"]):
        raise Unavailable(f"the split {split} has no images")
    terms = each(params, rows, bar(f"bits per dimension, {split}"))
    parts = {
        part.name: bits_per_dimension(getattr(terms, part.name), dimensions, kind).value
        for part in dataclasses.fields(terms)
    }
    return {**_kept(bits_per_dimension(terms.total, dimensions, kind)), "parts": parts}


def _kept(figure: Likelihood) -> Record:
    """A figure as data, in nats an image too: the unit in which binarised images are compared."""
    return {**dataclasses.asdict(figure), "nats": figure.nats, "nats_standard_error": figure.nats_standard_error}


def _measured(
    experiment: Experiment, plan: Plan, params: PyTree, dataset: Dataset, measure: Measure, bar: Bar
) -> Record:
    """A further likelihood of test images."""
    each = plan.each(partial(measure.estimator.nats, experiment.model), experiment.config.sampler.batch)
    rows = rows_of(dataset.split("test"), measure.images)
    nats, evaluations = each(params, rows, bar(f"bits per dimension, {measure.title}"))
    dimensions = experiment.description.dimensions
    figure = bits_per_dimension(nats, dimensions, measure.kind, measure.dequantisation, measure.draws)
    return {**_kept(figure), **measure.facts, "network_evaluations": float(np.mean(evaluations))}


def quality(experiment: Experiment, images: np.ndarray, dataset: Dataset) -> Record:
    """How near samples are to the test images, or to a known law.

    Raises:
        Unavailable: there are too few of either.
    """
    if dataset.law is not None:
        return law_distance(images, dataset.law).to_dict()
    from ddpm_jax.evaluation.embedding import features_of  # imports Flax, which is slow
    from ddpm_jax.metrics.quality import quality

    train, test = (dataset.split(split).first()[0] for split in ("train", "test"))
    levels = len(experiment.description.values)
    return quality(images, train, test, levels, features_of(experiment, dataset)).to_dict()


def references(experiment: Experiment, count: int, dataset: Dataset, book: Book) -> None:
    """Into the book: lines that give the quality of `count` samples, which the book has, a meaning."""
    if dataset.law is not None:
        book.put("quality.law", dataset.description.name)
        lines = law_references(dataset.law, count)
        book.put("quality.references", {name: line.to_dict() for name, line in lines.items()})
        return
    from ddpm_jax.evaluation.embedding import features_of
    from ddpm_jax.metrics.quality import reference_lines

    train, test = (dataset.split(split).first()[0] for split in ("train", "test"))
    levels, features = len(experiment.description.values), features_of(experiment, dataset)
    facts = {"name": features.name, "hash": features.hash, "accuracy": features.accuracy}
    book.put("quality.features", facts)
    found = reference_lines(train, test, levels, features, count, progress=jax.process_index() == 0)
    book.put("quality.references", {name: line.to_dict() for name, line in found.lines.items()})
    for name, reason in found.reasons.items():
        book.refuse(f"quality.references.{name}", reason)
    book.put("quality.test_copies", found.test_copies)
    book.put("quality.test_median_distance", found.test_median_distance)
    perfect = found.lines["train"].frechet if "train" in found.lines else 0.0
    ratio = book.values["quality"]["samples"]["frechet"] / perfect if perfect else None
    book.put("quality.frechet_against_train_line", ratio)


def evaluate(
    experiment: Experiment, plan: Plan, params: PyTree, dataset: Dataset, step: int, bar: Bar, book: Book | None = None
) -> Record:
    """All figures of a model trained for `step` steps, as `result.json` has them; each goes into the book as it comes.

    Samples come from the config's seed. With `evaluation.samples` 0 there are none, and no quality of them; with
    `evaluation.likelihood_images` 0 there are no likelihoods. Of a classifier there is its accuracy alone. Of a split
    that memory is small for the first images stand for all (`first_images` of `evaluated`).
    """
    config, book = experiment.config, Book() if book is None else book
    held = {name: one.affordable for name, one in dataset.sources.items() if one.affordable < len(one)}
    book.put("evaluated", {"step": step, **provenance(), **({"first_images": held} if held else {})})
    if experiment.sampling is None:
        told = rows_of(dataset.split("test"), len(dataset.split("test")))
        book.compute("accuracy", partial(accuracy, experiment, plan, params, told, bar("accuracy")))
        return book.values
    if config.evaluation.likelihood_images:
        likelihoods(experiment, plan, params, dataset, bar, book)
    if not config.evaluation.samples:
        return book.values
    count = samples_to_measure(config, dataset)
    started = time.perf_counter()
    drawn = book.attempt("sampling", lambda: draw(experiment, plan, params, dataset, count, bar("samples")))
    if drawn is None:
        book.put("sampling", None)
        book.refuse("quality", f"there are no samples ({book.reasons['sampling']})")
        return book.values
    images, _, evaluations = drawn
    book.put(
        "sampling",
        {
            "samples": count,
            "network_evaluations_per_sample": float(np.mean(evaluations)),
            "seconds_with_compilation": time.perf_counter() - started,
            "batch": config.sampler.batch,
            "weights": f"ema {config.sampler.ema}" if config.sampler.ema else "raw",
            **{name: dict(helper.facts) for name, helper in experiment.sampling_in().helpers.items()},
        },
    )
    found = book.attempt("quality", lambda: quality(experiment, images, dataset))
    if found is None:
        book.put("quality", None)
    else:
        book.put("quality", {"samples": found, "count": found["count"]})
        book.attempt("quality.references", lambda: references(experiment, found["count"], dataset, book))
    if experiment.asked:
        adherences(experiment, plan, params, dataset, images, bar, book)
    return book.values


def adherences(
    experiment: Experiment, plan: Plan, params: PyTree, dataset: Dataset, images: np.ndarray, bar: Bar, book: Book
) -> None:
    """Into the book: whether samples show what was asked, beside what the data's own images score; and those of the
    split `unseen`, whose combinations are in no image of training.
    """
    count = len(images)

    def real(split: str) -> Record:
        rows = rows_of(dataset.split(split), count)
        return adherence_of(experiment, dataset, rows["image"], rows["condition"])

    def unseen() -> Record:
        known: Any = rows_of(dataset.split("unseen"), count)["condition"]
        asked = experiment.asked.of(known)
        drawn = sampler(experiment, plan)(params, experiment.config.seed, len(next(iter(asked.values()))), asked)
        return adherence_of(experiment, dataset, drawn[0], asked)

    told = conditions_of(experiment.asked, dataset, count)
    book.compute("adherence.samples", lambda: adherence_of(experiment, dataset, images, told))
    book.compute("adherence.real", lambda: real("test"))
    if "unseen" in dataset.sources:
        book.compute("adherence.unseen", unseen)
        book.compute("adherence.unseen_real", lambda: real("unseen"))


def adherence_of(experiment: Experiment, dataset: Dataset, images: np.ndarray, condition: Condition) -> Record:
    """Whether images show what was asked of them."""
    predict = None
    if experiment.description.labels:
        from ddpm_jax.evaluation.embedding import classifier_of

        classifier = classifier_of(experiment, dataset)
        predict = classifier.predict if classifier is not None else None
    kinds = experiment.description.conditions
    return adherence(np.asarray(images), kinds.only(condition).of(condition), kinds, dataset, predict)


def samples_to_measure(config: Any, dataset: Dataset) -> int:
    """How many samples are measured: a set of test images is compared with as many; a law with any number."""
    return min(config.evaluation.samples, dataset.split("test").affordable if dataset.law is None else 2**31)


def headline(result: Record) -> dict[str, float]:
    """The few figures that go to the trackers."""
    figures = {
        f"{'train' if name == 'train' else 'test'}/bits_per_dimension_{figure['kind']}": figure["value"]
        for name, figure in (result.get("likelihood") or {}).items()
        if isinstance(figure, dict) and "kind" in figure
    }
    samples = (result.get("quality") or {}).get("samples") or {}
    names = {name: name for name in ("precision", "recall", "copies", "kl", "total_variation")}
    shown = {"frechet": "frechet_distance", **names}
    shown_words = adherence_headline((result.get("adherence") or {}).get("samples") or {})
    figures |= {f"test/adherence_{name}": value for name, value in shown_words.items()}
    return {**figures, **{f"test/{title}": samples[name] for name, title in shown.items() if name in samples}}
