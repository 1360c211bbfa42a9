"""Sample quality: a few figures about a set of samples, each with what it was measured on, and reference lines.

Counts are equal on both sides of every comparison, and the figures of the training images against the test images
stand beside those of a model: that is what perfect samples would score, for a Frechet distance of finite sets is
never zero.
"""

import dataclasses
import json
import math

import numpy as np
from jaxtyping import UInt8

from ddpm_jax import cache
from ddpm_jax import progress as shown
from ddpm_jax.errors import Unavailable
from ddpm_jax.files import Record
from ddpm_jax.metrics.copies import find_copies
from ddpm_jax.metrics.features import Features
from ddpm_jax.metrics.frechet import frechet_distance
from ddpm_jax.metrics.manifold import precision_recall
from ddpm_jax.metrics.references import reference_samples

VERSION = 3  # of the reference lines' recipe: part of the cache key
LEAST = 4  # images a side


@dataclasses.dataclass(frozen=True)
class Quality:
    """The figures of one set of images against test images. Plain values only: `dataclasses.asdict` goes into JSON."""

    frechet: float  # squared units of the features; lower is better
    precision: float
    recall: float
    copies: float  # fraction that copies a training image
    variance: float  # of the images at each value, over that of the test images: 0 for one blurred average
    median_distance: float  # to the nearest training image, over all values in [-1, 1]
    count: int  # images on each side
    neighbours: int  # of precision and recall
    features: str
    features_hash: str
    frechet_deviation: float | None = None  # standard deviation between draws of `count` images, where several

    def to_dict(self) -> Record:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class ReferenceLines:
    """What known sets of images score: perfect samples ("train") and simple models (see `reference_samples`).

    The training images' own `copies` is 1 by definition; `test_copies` is the fraction of test images that the same
    criterion calls copies, its false alarms (or duplicates between the splits).
    """

    lines: dict[str, Quality]
    test_copies: float
    test_median_distance: float
    draws: int  # the Frechet distance is the mean over so many draws, the rest comes from the first
    reasons: dict[str, str] = dataclasses.field(default_factory=dict)  # by the name of a line that is missing

    def to_dict(self) -> Record:
        return dataclasses.asdict(self)


def subset(images: UInt8[np.ndarray, "n *site"], count: int, seed: int) -> UInt8[np.ndarray, "m *site"]:
    """`count` different images drawn with `seed`, in their old order; all of them if there are no more."""
    if len(images) <= count:
        return images
    return images[np.sort(np.random.default_rng(seed).choice(len(images), count, replace=False))]


def variance_ratio(samples: UInt8[np.ndarray, "n *site"], test: UInt8[np.ndarray, "m *site"]) -> float:
    """The variance of samples over that of test images, each summed over the values of an image.

    1 where samples vary as much as the data do. A model that answers with an average scores less, and 0 if it gives
    the same image every time: how blurred it is, as a number. NaN where the test images do not vary.
    """
    ours, theirs = (np.asarray(images, np.float64).var(axis=0).sum() for images in (samples, test))
    return float(ours / theirs) if theirs else math.nan


def quality(
    samples: UInt8[np.ndarray, "n *site"],
    train: UInt8[np.ndarray, "k *site"],
    test: UInt8[np.ndarray, "m *site"],
    levels: int,
    features: Features,
    count: int | None = None,
    seed: int = 0,
    neighbours: int = 3,
) -> Quality:
    """Measure `samples` against as many `test` images, and look for copies of `train` images among them.

    Images hold integers 0..levels-1. The count is the least of `count`, the samples and the test images; a side with
    more gives a subset drawn with `seed`, so that the same seed and count mean the same test images.
    """
    count = min(len(samples), len(test), len(test) if count is None else count)
    if count < max(LEAST, neighbours + 1):
        raise Unavailable(f"{count} images a side are too few to measure sample quality; it needs {LEAST}")
    if len(train) < 2:
        raise Unavailable("copies are looked for among at least two training images")
    samples = subset(samples, count, seed)
    ours, theirs = features.extract(samples), features.extract(subset(test, count, seed))
    manifold = precision_recall(ours, theirs, neighbours)
    copies = find_copies(samples, train, levels)
    return Quality(
        frechet=frechet_distance(ours, theirs),
        precision=manifold.precision,
        recall=manifold.recall,
        copies=copies.fraction,
        variance=variance_ratio(samples, subset(test, count, seed)),
        median_distance=copies.median_distance,
        count=count,
        neighbours=neighbours,
        features=features.name,
        features_hash=features.hash,
    )


def reference_lines(
    train: UInt8[np.ndarray, "n *site"],
    test: UInt8[np.ndarray, "m *site"],
    levels: int,
    features: Features,
    count: int | None = None,
    seed: int = 0,
    neighbours: int = 3,
    draws: int = 5,
    progress: bool = True,
) -> ReferenceLines:
    """`quality` of "train" (seeded subsets of the training images) and of each reference, at the same count and seed.

    Training images that are among the test images measured against take no part, for they would be at no distance from
    themselves. Where fewer than `count` are left there is no line "train", and `reasons` says so.

    Deterministic, so read from the cache where the same data, features and settings were measured before. `draws`
    subsets or samples a line show how far a Frechet distance moves by chance; the test images are the same in all.
    """
    count = min(len(train), len(test), len(test) if count is None else count)
    made_from = [VERSION, levels, count, seed, neighbours, draws, features.name, features.hash, train, test]
    if (kept := cache.load("reference_lines", made_from)) is not None:
        content = json.loads(kept)
        return ReferenceLines(**content | {"lines": {name: Quality(**line) for name, line in content["lines"].items()}})
    reference = subset(test, count, seed)
    theirs, among = features.extract(reference), {image.tobytes() for image in reference}
    apart = train[[image.tobytes() not in among for image in train]]
    sets = reference_samples(train, levels, count * draws, seed)
    lines, reasons = {}, {}
    if len(apart) < count:
        reasons["train"] = f"only {len(apart)} training images are not among the {count} test images measured against"
    names = [*([] if reasons else ["train"]), *sets]
    for name in shown.bar(names, "measuring the reference lines: line", "lines", off=not progress):
        drawn = [
            subset(apart, count, seed + draw) if name == "train" else sets[name][draw * count : (draw + 1) * count]
            for draw in range(draws)
        ]
        first = quality(drawn[0], train, test, levels, features, count, seed, neighbours)
        distances = [first.frechet, *(frechet_distance(features.extract(images), theirs) for images in drawn[1:])]
        deviation = float(np.std(distances, ddof=1)) if draws > 1 else None
        lines[name] = dataclasses.replace(first, frechet=float(np.mean(distances)), frechet_deviation=deviation)
    copies = find_copies(reference, train, levels)
    result = ReferenceLines(lines, copies.fraction, copies.median_distance, draws, reasons)
    cache.save("reference_lines", made_from, json.dumps(result.to_dict()).encode())
    return result
