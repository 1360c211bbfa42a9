"""How many samples are copies of training images."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8


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
    from sklearn.neighbors import NearestNeighbors

    if len(train) < 2:
        raise ValueError("the second nearest training image needs at least two training images")
    # Integers: their squared distances are exact (sums below 2^53), so that a duplicate is at distance 0.
    known = train.reshape(len(train), -1).astype(np.float32)
    search = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(known)
    distances, indices = search.kneighbors(samples.reshape(len(samples), -1).astype(np.float32))
    distances = distances.astype(np.float64) * 2 / (levels - 1)
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
