"""Reference lines: samples of models so simple that a good network must do better."""

import numpy as np
from jaxtyping import UInt8

COMPONENTS = 30
LARGEST = 100  # dimensions in which a full covariance is fitted
MOST_IMAGES = 10_000  # images that the mixture is fitted on
REGULARISATION = 1e-3  # added to the variances, in units of the pixel range squared


def reference_samples(
    train: UInt8[np.ndarray, "n *site"], levels: int, count: int, seed: int
) -> dict[str, UInt8[np.ndarray, "count *site"]]:
    """`count` samples a reference, deterministic in `seed`.

    - `gaussian_mixture_30`: a mixture of 30 normals with full covariances, fitted by EM to the training pixels after
      uniform dequantisation, (u + U[0, 1)) / levels; its samples are rounded down to levels and clipped. On at most
      10,000 images; above 100 dimensions in the space of the first 100 principal components, so that its samples miss
      the finest detail. With fewer than 60 images it has one component for every two.
    - `independent_pixels`: each value drawn from its own histogram over the training images.
    - `noise`: uniform levels.
    """
    streams = np.random.default_rng(seed).spawn(3)
    shape = (count, *train.shape[1:])
    flat = train.reshape(len(train), -1)
    rows = streams[1].integers(len(flat), size=(count, flat.shape[1]))
    return {
        "gaussian_mixture_30": _mixture_samples(flat, levels, count, streams[0]).reshape(shape),
        "independent_pixels": np.take_along_axis(flat, rows, 0).reshape(shape),
        "noise": streams[2].integers(levels, size=shape).astype(np.uint8),
    }


def _mixture_samples(flat: np.ndarray, levels: int, count: int, rng: np.random.Generator) -> np.ndarray:
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    if len(flat) > MOST_IMAGES:
        flat = flat[rng.choice(len(flat), MOST_IMAGES, replace=False)]
    x = (flat + rng.random(flat.shape)) / levels
    seed = int(rng.integers(2**31))
    most = min(LARGEST, len(x))
    projection = PCA(most, svd_solver="randomized", random_state=seed).fit(x) if x.shape[1] > most else None
    mixture = GaussianMixture(
        min(COMPONENTS, max(1, len(x) // 2)), covariance_type="full", reg_covar=REGULARISATION, random_state=seed
    )
    mixture.fit(x if projection is None else projection.transform(x))
    samples = rng.permutation(mixture.sample(count)[0])  # they come sorted by component
    if projection is not None:
        samples = projection.inverse_transform(samples)
    return np.clip(np.floor(samples * levels), 0, levels - 1).astype(np.uint8)
