"""The known laws that solvers are measured on, with denoisers that are exactly right and cheap.

A mixture of normals remains one under a Gaussian process, so the posterior mean is known (`oracles.GaussianMixture`).
Here the covariances are held by their eigenvectors, which are those of x_t's covariances too: a call costs two products
with matrices, where the oracle solves a system for each image and component.
"""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ddpm_jax.denoisers import Denoiser
from ddpm_jax.denoisers.posteriors import Normal
from ddpm_jax.processes import Gaussian

COMPONENTS, LEAST_VARIANCE = 10, 1e-3
"""Of the mixture of digits. A step between levels is 1/8, so that the least deviation is a quarter of one."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """sum_k w_k N(m_k, U_k diag(v_k) U_k^T), in float64.

    Attributes:
        weights: `[K]`, summing to one.
        means: `[K, D]`.
        vectors: `[K, D, D]`, eigenvectors in columns.
        variances: `[K, D]`, above 0.
    """

    weights: Float[np.ndarray, " K"]
    means: Float[np.ndarray, "K D"]
    vectors: Float[np.ndarray, "K D D"]
    variances: Float[np.ndarray, "K D"]

    @classmethod
    def of(cls, weights: Any, means: Any, covariances: Any) -> "Mixture":
        """From covariances `[K, D, D]`."""
        variances, vectors = np.linalg.eigh(np.asarray(covariances, np.float64))
        return cls(np.asarray(weights, np.float64), np.asarray(means, np.float64), vectors, variances)

    @property
    def covariances(self) -> Float[np.ndarray, "K D D"]:
        """C_k."""
        return np.einsum("kde,ke,kfe->kdf", self.vectors, self.variances, self.vectors)

    def mean(self, x: Array, alpha: Array, sigma: Array) -> Float[Array, "batch D"]:
        """E[x_0 | alpha x_0 + sigma z = x], where alpha and sigma are numbers, or `[batch]`."""
        alpha, sigma = (jnp.reshape(level, (-1, 1, 1)) for level in (alpha, sigma))
        weights, means, vectors, variances = (
            jnp.asarray(part, x.dtype) for part in (self.weights, self.means, self.vectors, self.variances)
        )
        along = jnp.einsum("bd,kde->bke", x, vectors) - alpha * jnp.einsum("kd,kde->ke", means, vectors)
        spread = alpha**2 * variances + sigma**2
        chances = jax.nn.softmax(jnp.log(weights) - (along**2 / spread + jnp.log(spread)).sum(-1) / 2)
        pulled = chances[..., None] * alpha * variances / spread * along
        return chances @ means + jnp.einsum("bke,kde->bd", pulled, vectors)

    def denoiser(self, process: Gaussian) -> Denoiser:
        """`(x_t [batch, D], t, condition) -> Normal`, a point at the posterior's mean."""

        def denoise(x_t: Array, t: Any, condition: Any = None) -> Normal:
            alpha, sigma = process.at(jnp.broadcast_to(t, x_t.shape[:1]), x_t[:, 0])
            return Normal(self.mean(x_t, alpha, sigma))

        return denoise

    def sample(self, count: int, seed: int) -> Float[np.ndarray, "count D"]:
        """Draws of x."""
        rng = np.random.default_rng(seed)
        chosen = rng.choice(len(self.weights), count, p=self.weights)
        noise = np.sqrt(self.variances[chosen]) * rng.standard_normal((count, self.means.shape[1]))
        return self.means[chosen] + np.einsum("bde,be->bd", self.vectors[chosen], noise)


def plane() -> Mixture:
    """Five normals in two dimensions, of several sizes and shapes, about as wide as images are."""
    angles = 2 * np.pi * np.arange(5) / 5
    means = 0.8 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    turns = np.stack([np.stack([np.cos(angles), -np.sin(angles)], 1), np.stack([np.sin(angles), np.cos(angles)], 1)], 1)
    deviations = np.array([[0.05, 0.05], [0.3, 0.05], [0.1, 0.1], [0.05, 0.2], [0.15, 0.05]])
    return Mixture(np.array([0.3, 0.25, 0.2, 0.15, 0.1]), means, turns, deviations**2)


@functools.cache
def digits() -> Mixture:
    """Ten normals with full covariances, fitted by EM to the thousand training images of the embedded digits."""
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    from ddpm_jax import data

    dataset = data.load("digits")
    images = np.asarray(dataset.description.encode(dataset.split("train").first()[0]), np.float64)
    with threadpool_limits(1):
        fitted = GaussianMixture(COMPONENTS, reg_covar=LEAST_VARIANCE, random_state=0)
        fitted.fit(images.reshape(len(images), -1))
    return Mixture.of(fitted.weights_, fitted.means_, fitted.covariances_)


LAWS = {"digits": digits, "plane": plane}
"""Each by its name."""
