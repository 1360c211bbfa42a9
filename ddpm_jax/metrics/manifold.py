"""Improved precision and recall: how much of one set lies on the manifold of another."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True)
class PrecisionRecall:
    """Fractions in [0, 1]: of samples on the reference's manifold, and of references on the samples' manifold."""

    precision: float
    recall: float
    neighbours: int


def precision_recall(
    samples: Float[np.ndarray, "n features"], reference: Float[np.ndarray, "m features"], neighbours: int = 3
) -> PrecisionRecall:
    """Precision (quality) and recall (coverage) of `samples`: Kynkaanniemi et al. 2019, equations 1 and 2.

    A set's manifold is the union of closed balls around its points, each reaching to the point's k-th nearest other
    point (k = `neighbours`). Precision is the fraction of samples inside the reference's manifold, recall that of the
    reference inside the samples'. Both fall with the count, and one outlier has a large ball: compare at equal counts.
    """
    return PrecisionRecall(
        precision=float(inside_manifold(samples, reference, neighbours).mean()),
        recall=float(inside_manifold(reference, samples, neighbours).mean()),
        neighbours=neighbours,
    )


def inside_manifold(
    points: Float[np.ndarray, "n features"], manifold: Float[np.ndarray, "m features"], neighbours: int
) -> Bool[np.ndarray, " n"]:
    """Which `points` lie in the ball of at least one point of `manifold`. Memory is bounded whatever n and m.

    A ball of radius r reaches to r (1 + 1e-6) + 1e-6 times the manifold's scale: the rounding of distances that are
    taken through dot products, so that ties and duplicates count as inside.
    """
    from sklearn.metrics import pairwise_distances_chunked
    from sklearn.neighbors import NearestNeighbors

    if len(manifold) <= neighbours:
        raise ValueError(f"{len(manifold)} points are too few for {neighbours} neighbours each")
    centre = manifold.mean(0, dtype=np.float64)  # distances do not change, their rounding is smallest around zero
    points, manifold = points.astype(np.float64) - centre, manifold.astype(np.float64) - centre
    search = NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(manifold)
    distances, _ = search.kneighbors()  # no argument: a point is not its own neighbour
    scale = np.sqrt(np.mean(np.sum(manifold**2, 1)))
    radii = distances[:, -1] * (1 + 1e-6) + 1e-6 * scale
    blocks = pairwise_distances_chunked(
        points, manifold, reduce_func=lambda block, _: (block <= radii).any(1), working_memory=128
    )
    return np.concatenate(list(blocks))
