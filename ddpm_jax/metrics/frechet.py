"""The Frechet distance between two sets of features."""

import numpy as np
from jaxtyping import Float


def frechet_distance(a: Float[np.ndarray, "n features"], b: Float[np.ndarray, "m features"]) -> float:
    """The squared 2-Wasserstein distance between the normals with the means and covariances of two samples.

    |mean_a - mean_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2), with covariances over n - 1, in float64: Dowson & Landau
    1982; Heusel et al. 2017 (TTUR), equation 6, with Inception features. Its unit is the square of the features'. It
    is biased upwards by an amount that falls with n and m, so figures compare at equal counts only. Symmetric, zero
    for equal moments, and defined for fewer images than features.
    """
    return frechet_of_moments(*moments(a), *moments(b))


def moments(
    x: Float[np.ndarray, "n features"],
) -> tuple[Float[np.ndarray, " features"], Float[np.ndarray, "features features"]]:
    """The mean and the covariance (over n - 1) of the rows of `x`, in float64. Needs two rows."""
    if len(x) < 2:
        raise ValueError("a covariance needs at least two examples")
    x = x.astype(np.float64)
    mean = x.mean(0)
    return mean, (x - mean).T @ (x - mean) / (len(x) - 1)


def frechet_of_moments(
    mean_a: Float[np.ndarray, " features"],
    covariance_a: Float[np.ndarray, "features features"],
    mean_b: Float[np.ndarray, " features"],
    covariance_b: Float[np.ndarray, "features features"],
) -> float:
    """`frechet_distance` from the means and covariances themselves.

    The trace of the root is the sum of the roots of the eigenvalues of A^1/2 B A^1/2, which is symmetric: unlike the
    eigenvalues of A B they stay real where A or B is singular.
    """
    values, vectors = np.linalg.eigh(covariance_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    product = root @ covariance_b @ root
    crossed = np.sqrt(np.maximum(np.linalg.eigvalsh((product + product.T) / 2), 0)).sum()
    distance = np.sum((mean_a - mean_b) ** 2) + np.trace(covariance_a) + np.trace(covariance_b) - 2 * crossed
    return max(0.0, float(distance))  # rounding can take equal moments just below zero
