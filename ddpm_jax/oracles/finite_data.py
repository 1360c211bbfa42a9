"""A finite set of images: what remains of one under a Gaussian process, and the best denoiser there is for the set."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Denoiser
from ddpm_jax.denoisers.categorical import Categorical
from ddpm_jax.processes import Gaussian
from ddpm_jax.processes.process import Images, Keys, Times

CHUNK = 64  # images whose distances are computed at once: what bounds the memory


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FinitePosterior:
    """p(x_n | x_t) over the set's images: `logits [batch, N]`, `images [N, *site]`."""

    logits: Float[Array, "batch N"]
    images: Float[Array, "N *site"]
    variance = None  # the spread is in the draws; the bound takes this posterior as a point

    @property
    def probabilities(self) -> Float[Array, "batch N"]:
        """Of each image, summing to one."""
        return jax.nn.softmax(self.logits)

    @property
    def mean(self) -> Images:
        """E[x | x_t]."""
        return jnp.tensordot(self.probabilities, self.images, 1, precision="highest")

    def sample(self, keys: Keys) -> Images:
        """One of the images, drawn given x_t."""
        return self.images[jnp.argmax(self.logits + random.gumbel(keys, self.logits.shape), axis=-1)]

    def final(self, keys: Keys) -> Images:
        """What to end a chain with: a draw, which is an image of the set."""
        return self.sample(keys)

    def squared_error(self, x: Images, z: Images) -> Images:
        """(x - E[x | x_t])^2 at each site."""
        return jnp.square(x - self.mean)

    def discretise(self, values: Float[Array, " levels"], variance: Array) -> Categorical:
        """The chance of each of `values` at each site, summed over the images that have it there.

        These are the marginals: sites that depend on one another given x_t are taken as independent. `variance` is
        what a point would need, and is not used.
        """

        def chance(value: Array) -> Array:
            here = (jnp.abs(self.images - value) < (values[1] - values[0]) / 2).astype(self.images.dtype)
            return jnp.tensordot(self.probabilities, here, 1, precision="highest")

        return Categorical(jnp.log(jnp.moveaxis(jax.lax.map(chance, values), 0, -1)), values)


@dataclass(frozen=True, eq=False)
class FiniteData:
    """Image n of N with the probability w_n.

    Attributes:
        images: `[N, *site]`, in [-1, 1].
        weights: `[N]`, positive and summing to one; None where all are equally likely.
    """

    images: np.ndarray
    weights: np.ndarray | None = None

    @property
    def bits_per_dimension(self) -> float:
        """The entropy in bits over D, the least mean of any likelihood: log2(N)/D for N equally likely images.

        Images that are equal count as one. Computed in float64.
        """
        flat = np.asarray(self.images).reshape(len(self.images), -1)
        weights = np.full(len(flat), 1 / len(flat)) if self.weights is None else np.asarray(self.weights, np.float64)
        _, which = np.unique(flat, axis=0, return_inverse=True)
        chances = np.bincount(which.reshape(-1), weights)
        return float(-np.sum(chances * np.log2(chances)) / flat.shape[1])

    def _logits(self, process: Gaussian, x_t: Images, t: Times) -> tuple[Array, Array]:
        """log w_n - |x_t - alpha x_n|^2 / (2 sigma^2), `[batch, N]`, and the images in x_t's dtype.

        Distances are not expanded into products, which cancel where sigma is small.
        """
        alpha, sigma = process.at(t, x_t)
        images = jnp.asarray(self.images, x_t.dtype)

        def closeness(image: Array) -> Array:
            return -0.5 * jnp.square((x_t - alpha * image) / sigma).reshape(len(x_t), -1).sum(axis=1)

        logits = jax.lax.map(closeness, images, batch_size=min(CHUNK, len(images))).T
        log_weights = -math.log(len(images)) if self.weights is None else jnp.log(jnp.asarray(self.weights, x_t.dtype))
        return logits + log_weights, images

    def log_density_at(self, process: Gaussian, x_t: Images, t: Times) -> Float[Array, " batch"]:
        """log q(x_t) = log sum_n w_n N(x_t; alpha x_n, sigma^2), in nats, for t > 0."""
        logits = self._logits(process, x_t, t)[0]
        sigma = jnp.broadcast_to(process.at(t, x_t)[1], x_t.shape).reshape(len(x_t), -1)
        scale = jnp.sum(jnp.log(sigma) + math.log(2 * math.pi) / 2, axis=1)
        return jax.nn.logsumexp(logits, axis=1) - scale

    def denoiser(self, process: Gaussian) -> Denoiser:
        """`(x_t [batch, *site], t, condition) -> FinitePosterior`, exact: softmax of the logits above.

        It is the best denoiser for a training set of these images, and a sampler with it reproduces them: what a
        network is kept from by its size and its training. Memory is that of `[batch, N]` and of 64 images a row.
        """

        def denoise(x_t: Images, t: Times, condition: PyTree = None) -> FinitePosterior:
            return FinitePosterior(*self._logits(process, x_t, t))

        return denoise
