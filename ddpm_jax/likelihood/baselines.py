"""Floor lines: what models of discrete images that any network must beat score, exactly, on the test split.

Both are proper distributions over images of integers 0 ... levels - 1, fitted to the training images alone, so their
figures are in one unit with a bound by a discrete decoder. Their settings are constants, chosen on the validation
split of scikit-learn's digits.
"""

import dataclasses
import json
import warnings

import numpy as np
from jaxtyping import Float, UInt8

from ddpm_jax import cache
from ddpm_jax import progress as shown
from ddpm_jax.errors import Unavailable
from ddpm_jax.likelihood.figures import Likelihood, bits_per_dimension

SMOOTHING = 0.5  # added to every count (Krichevsky and Trofimov 1981)
MIXED = 0.02  # weight of the smoothed histogram in each conditional of the regression
INVERSE_PENALTY = 0.1  # scikit-learn's C: weight of the summed log-likelihood against half the squared weights
ITERATIONS, TOLERANCE = 300, 1e-3  # of its solver, L-BFGS
MOST_DIMENSIONS, MOST_LEVELS = 128, 32  # above, the regression takes too long
MOST_IMAGES = 10_000  # that the regression is fitted to
VERSION = 1  # of what the code below does with these: part of the cache key
RECIPE = (VERSION, SMOOTHING, MIXED, INVERSE_PENALTY, ITERATIONS, TOLERANCE, MOST_DIMENSIONS, MOST_LEVELS, MOST_IMAGES)


def independent_pixels(
    train: UInt8[np.ndarray, "n *site"], test: UInt8[np.ndarray, "m *site"], levels: int
) -> Likelihood:
    """p(x) = product over d of (count of x_d at d among n images + 1/2) / (n + levels / 2).

    Images hold integers 0 ... levels - 1. Returns bits per dimension of `test`, exact.

    Raises:
        ValueError: a value is not below `levels`.
    """
    train, test = _flat(train, levels), _flat(test, levels)
    histograms = _histograms(train, levels)
    nats = np.zeros(len(test))
    for d, histogram in enumerate(histograms):
        nats -= np.log(histogram[test[:, d]])
    return bits_per_dimension(nats, test.shape[1], "exact")


def raster_logistic_regression(
    train: UInt8[np.ndarray, "n *site"], test: UInt8[np.ndarray, "m *site"], levels: int, progress: bool = True
) -> Likelihood:
    """p(x) = product over d of p(x_d | x_1 ... x_{d-1}), in raster order (channels last), each a logistic regression.

        p(k | before) = (1 - e) softmax_k(W_d f(before) + b_d) + e h_d(k),   e = 0.02

    f gives three numbers for each value before: the value scaled to [-1, 1], whether it is the lowest level, whether
    it is the highest (many pixels are plain paper or plain ink). W_d is penalised by its squares and fitted to the
    training images, at most 10,000 of them drawn by a fixed seed. The softmax is over the levels that training shows at
    d; h_d is the smoothed histogram of `independent_pixels`, which keeps every other level possible. Where training
    shows one level only, and at the first value, p is h_d.

    Images hold integers 0 ... levels - 1. Returns bits per dimension of `test`, exact.

    Raises:
        ValueError: a value is not below `levels`.
    """
    train, test = _flat(train, levels), _flat(test, levels)
    histograms = _histograms(train, levels)
    if len(train) > MOST_IMAGES:
        train = train[np.random.default_rng(0).choice(len(train), MOST_IMAGES, replace=False)]
    known, given = _inputs(train, levels), _inputs(test, levels)
    nats = np.zeros(len(test))
    for d in shown.bar(range(test.shape[1]), "fitting the floor line: value", "values", off=not progress):
        p = histograms[d, test[:, d]]
        if d and len(np.unique(train[:, d])) > 1:
            chances = _regression(known[:, : 3 * d], train[:, d], given[:, : 3 * d], levels)
            p = (1 - MIXED) * chances[np.arange(len(test)), test[:, d]] + MIXED * p
        nats -= np.log(p)
    return bits_per_dimension(nats, test.shape[1], "exact")


def floor_lines(
    train: UInt8[np.ndarray, "n *site"],
    test: UInt8[np.ndarray, "m *site"],
    levels: int,
    progress: bool = True,
) -> dict[str, Likelihood]:
    """Each line by name: `independent_pixels`, and `raster_logistic_regression` up to 128 values of up to 32 levels.

    Deterministic, so read from the cache where the same data and recipe were measured before. With one test image a
    standard error is NaN.

    Raises:
        Unavailable: there is no image to fit to, or none to measure.
        ValueError: a value is not below `levels`.
    """
    for split, images in (("training", train), ("test", test)):
        if not len(images):
            raise Unavailable(f"there are no {split} images")
    made_from = [RECIPE, levels, train, test]
    if (kept := cache.load("floors", made_from)) is not None:
        return {name: Likelihood(**line) for name, line in json.loads(kept).items()}
    lines = {"independent_pixels": independent_pixels(train, test, levels)}
    if test[0].size <= MOST_DIMENSIONS and levels <= MOST_LEVELS:
        lines["raster_logistic_regression"] = raster_logistic_regression(train, test, levels, progress)
    content = {name: dataclasses.asdict(line) for name, line in lines.items()}
    cache.save("floors", made_from, json.dumps(content).encode())  # NaN too, which a figure may be
    return lines


def _flat(images: np.ndarray, levels: int) -> np.ndarray:
    if images.size and images.max() >= levels:
        raise ValueError(f"images of {levels} levels hold a {images.max()}")
    return images.reshape(len(images), -1)


def _histograms(flat: np.ndarray, levels: int) -> Float[np.ndarray, "dimensions levels"]:
    counts = np.stack([np.bincount(column, minlength=levels) for column in np.ascontiguousarray(flat.T)])
    return (counts + SMOOTHING) / (len(flat) + levels * SMOOTHING)


def _inputs(flat: np.ndarray, levels: int) -> Float[np.ndarray, "images inputs"]:
    """Three numbers a value, side by side: those before value d are the first 3 d columns."""
    parts = [2 * flat / (levels - 1) - 1, flat == 0, flat == levels - 1]
    return np.stack(parts, axis=-1, dtype=np.float64).reshape(len(flat), -1)


def _regression(
    known: np.ndarray, targets: np.ndarray, given: np.ndarray, levels: int
) -> Float[np.ndarray, "images levels"]:
    """The chance of each level for every row of `given`; 0 for levels that are not among the targets."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=ITERATIONS, tol=TOLERANCE)
    # One thread: the matrices are small, and threads that wait for each other on a busy machine cost 40 times as much.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopped early it is a proper model still
        model.fit(known, targets)
    chances = np.zeros((len(given), levels))
    chances[:, model.classes_] = model.predict_proba(given)
    return chances
