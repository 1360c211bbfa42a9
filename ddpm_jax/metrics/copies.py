"""How many samples are copies of training images."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

BLOCK = 2**29
"""Bytes of training images, as float32, that are searched at once; each block is searched for all samples."""


@dataclass(frozen=True)
class Copies:
    """Copies among some samples. Distances are Euclidean, over all values of an image in [-1, 1]."""

    fraction: float
    count: int
    median_distance: float  # over samples, to the nearest training image
    nearest: Int[np.ndarray, " samples"]  # the index of each sample's nearest training image
    ratio: Float[np.ndarray, " samples"]  # nearest over second nearest distance; 0 for an exact duplicate


def find_copies(
    samples: UInt8[np.ndarray, "samples *site"],
    train: UInt8[np.ndarray, "train *site"],
    levels: int,
    threshold: float = 1 / 3,
) -> Copies:
    """Count the samples that copy a training image, by distance in pixel space.

    A sample is a copy if its nearest training image is nearer than `threshold` times its second nearest: Yoon et al.
    2023, "Diffusion Probabilistic Models Generalize when They Fail to Memorize", with 1/3. An exact duplicate counts
    even where the training images hold it twice; near copies of an image that is there twice are missed, and so are
    shifted or recoloured ones. Needs two training images.
    """
    if len(train) < 2:
        raise ValueError("the second nearest training image needs at least two training images")
    distances, indices = _two_nearest(samples, train)
    distances = distances * 2 / (levels - 1)
    first, second = distances.T
    ratio = np.where(first == 0, 0.0, first / np.maximum(second, np.finfo(np.float64).tiny))
    copied = ratio < threshold
    return Copies(
        fraction=float(copied.mean()),
        count=int(copied.sum()),
        median_distance=float(np.median(first)),
        nearest=indices[:, 0],
        ratio=ratio,
    )


def _two_nearest(samples: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances, between levels, of each sample's two nearest training images, and their numbers, the nearest first."""
    from sklearn.neighbors import NearestNeighbors

    # Integers: their squared distances are exact (sums below 2^53), so that a duplicate is at distance 0.
    asked = samples.reshape(len(samples), -1).astype(np.float32)
    distances, indices = np.empty((len(samples), 0)), np.empty((len(samples), 0), np.int64)
    size = max(2, BLOCK // (4 * asked.shape[1]))
    for start in range(0, len(train), size):
        known = train[start : start + size].reshape(-1, asked.shape[1]).astype(np.float32)
        search = NearestNeighbors(n_neighbors=min(2, len(known)), algorithm="brute").fit(known)
        near, rows = search.kneighbors(asked)
        distances = np.concatenate([distances, near.astype(np.float64)], axis=1)
        indices = np.concatenate([indices, rows + start], axis=1)
        best = np.argsort(distances, axis=1, kind="stable")[:, :2]
        distances, indices = (np.take_along_axis(values, best, axis=1) for values in (distances, indices))
    return distances, indices
