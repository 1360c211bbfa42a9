"""A Gaussian mixture under any Gaussian process stays one, so its posterior and density are known exactly."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Denoiser
from ddpm_jax.processes import Gaussian
from ddpm_jax.processes.process import Keys, Times


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MixturePosterior:
    """p(x | x_t), a mixture again: `logits [batch, K]`, `means [batch, K, D]`, Cholesky `factors`."""

    logits: Float[Array, "batch K"]
    means: Float[Array, "batch K D"]
    factors: Float[Array, "batch K D D"]
    variance = None  # the spread is in the draws; the bound takes this posterior as a point

    @property
    def mean(self) -> Float[Array, "batch D"]:
        """E[x | x_t]."""
        return jnp.einsum("bk,bkd->bd", jax.nn.softmax(self.logits), self.means)

    def sample(self, keys: Keys) -> Float[Array, "batch D"]:
        """A draw of x given x_t. Sampling with draws is exact for any grid; with the mean it narrows modes."""
        keys_mode, keys_noise = random.split(keys)
        mode = jnp.argmax(self.logits + random.gumbel(keys_mode, self.logits.shape), axis=-1)
        rows = jnp.arange(mode.shape[0])
        noise = random.normal(keys_noise, (mode.shape[0], self.means.shape[-1]), self.means.dtype)
        return self.means[rows, mode] + jnp.einsum("bij,bj->bi", self.factors[rows, mode], noise)

    def final(self, keys: Keys) -> Float[Array, "batch D"]:
        """What to end a chain with: a draw, for the spread of x given x_t is real here."""
        return self.sample(keys)

    def squared_error(self, x: Float[Array, "batch D"], z: Float[Array, "batch D"]) -> Float[Array, "batch D"]:
        """(x - E[x | x_t])^2 at each site."""
        return jnp.square(x - self.mean)


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """sum_k w_k N(m_k, C_k) over images flattened to `[D]`.

    Attributes:
        weights: `[K]`, summing to one.
        means: `[K, D]`.
        covariances: `[K, D, D]`, positive definite.
    """

    weights: Float[Array, " K"]
    means: Float[Array, "K D"]
    covariances: Float[Array, "K D D"]

    def log_density(self, x: Float[Array, "batch D"]) -> Float[Array, " batch"]:
        """log p(x) in nats."""
        one = jnp.ones(x.shape[:1], x.dtype)
        return jax.nn.logsumexp(self._component_logs(x, one, 0 * one), axis=1)

    def log_density_at(self, process: Gaussian, x_t: Float[Array, "batch D"], t: Times) -> Float[Array, " batch"]:
        """log q(x_t) in nats: that of sum_k w_k N(alpha m_k, alpha^2 C_k + sigma^2 I)."""
        return jax.nn.logsumexp(self._component_logs(x_t, *_levels(process, x_t, t)), axis=1)

    def score(self, process: Gaussian, x_t: Float[Array, "batch D"], t: Times) -> Float[Array, "batch D"]:
        """The gradient of log q(x_t) in x_t: sum_k p(k | x_t) S_k^-1 (alpha m_k - x_t), S_k = alpha^2 C_k + sigma^2 I.

        It does not cancel where sigma is small, as (alpha E[x | x_t] - x_t)/sigma^2 does.
        """
        alpha, sigma = _levels(process, x_t, t)
        means, covariances = self._marginal(alpha, sigma)
        pulls = jnp.linalg.solve(covariances, (means - x_t[:, None])[..., None])[..., 0]
        return jnp.einsum("bk,bkd->bd", jax.nn.softmax(self._component_logs(x_t, alpha, sigma)), pulls)

    def sample(self, keys: Keys, count: int) -> Float[Array, "count D"]:
        """Draws of x."""
        shape = (count, len(self.weights))
        logits = jnp.broadcast_to(jnp.log(self.weights), shape)
        means = jnp.broadcast_to(self.means, (*shape, self.means.shape[-1]))
        factors = jnp.linalg.cholesky(self.covariances)
        return MixturePosterior(logits, means, jnp.broadcast_to(factors, (*means.shape, means.shape[-1]))).sample(keys)

    def measured(self, matrix: Float[Array, "M D"], y: Float[Array, " M"], noise: float) -> "GaussianMixture":
        """p(x | y) of y = A x + noise of this deviation: a mixture again.

        Component k has the weight w_k N(y; A m_k, S_k) with S_k = A C_k A^T + s^2 I, the mean m_k + G_k (y - A m_k) and
        the covariance C_k - G_k A C_k, where G_k = C_k A^T S_k^-1.
        """
        spread = jnp.einsum("mi,kij,nj->kmn", matrix, self.covariances, matrix) + noise**2 * jnp.eye(len(y))
        gain = jnp.linalg.solve(spread, jnp.einsum("mi,kij->kmj", matrix, self.covariances)).swapaxes(-1, -2)
        expected = self.means @ matrix.T
        logs = jnp.log(self.weights) + jax.scipy.stats.multivariate_normal.logpdf(y, expected, spread)
        means = self.means + jnp.einsum("kim,km->ki", gain, y - expected)
        covariances = self.covariances - jnp.einsum("kim,mj,kjl->kil", gain, matrix, self.covariances)
        return GaussianMixture(jax.nn.softmax(logs), means, (covariances + covariances.swapaxes(-1, -2)) / 2)

    def shares(self, x: Float[Array, "batch D"]) -> Float[Array, "batch K"]:
        """p(k | x): how much each component has of each point."""
        one = jnp.ones(x.shape[:1], x.dtype)
        return jax.nn.softmax(self._component_logs(x, one, 0 * one), axis=1)

    def _marginal(self, alpha: Array, sigma: Array) -> tuple[Array, Array]:
        """Means `[batch, K, D]` and covariances `[batch, K, D, D]` of x_t's components."""
        identity = jnp.eye(self.means.shape[-1])
        means = alpha[:, None, None] * self.means
        return means, (alpha**2)[:, None, None, None] * self.covariances + (sigma**2)[:, None, None, None] * identity

    def _component_logs(self, x_t: Array, alpha: Array, sigma: Array) -> Array:
        """log w_k N(x_t; alpha m_k, alpha^2 C_k + sigma^2 I), `[batch, K]`."""
        means, covariances = self._marginal(alpha, sigma)
        log_normal = jax.scipy.stats.multivariate_normal.logpdf(x_t[:, None], means, covariances)
        return jnp.log(self.weights) + log_normal

    def denoiser(self, process: Gaussian) -> Denoiser:
        """`(x_t [batch, D], t, condition) -> MixturePosterior`, exact.

        With S_k = alpha^2 C_k + sigma^2 I, component k of p(x | x_t) has the mean
        m_k + alpha C_k S_k^-1 (x_t - alpha m_k) and the covariance C_k - alpha^2 C_k S_k^-1 C_k = sigma^2 C_k S_k^-1,
        whose second form does not cancel where sigma is small; its weight is that of x_t's component.
        """

        def denoise(x_t: Float[Array, "batch D"], t: Times, condition: PyTree = None) -> MixturePosterior:
            alpha, sigma = _levels(process, x_t, t)
            means, covariances = self._marginal(alpha, sigma)
            solved = jnp.linalg.solve(covariances, self.covariances[None])  # S^-1 C, symmetric: C and S commute
            gain = alpha[:, None, None, None] * solved
            posterior_means = self.means + jnp.einsum("bkij,bkj->bki", gain, x_t[:, None] - means)
            spread = (sigma**2)[:, None, None, None] * (solved + jnp.swapaxes(solved, -1, -2)) / 2
            return MixturePosterior(
                self._component_logs(x_t, alpha, sigma), posterior_means, jnp.linalg.cholesky(spread)
            )

        return denoise


def _levels(process: Gaussian, x_t: Array, t: Times) -> tuple[Array, Array]:
    """(alpha, sigma), a time an image: `[batch]` both."""
    return process.at(jnp.broadcast_to(t, x_t.shape[:1]), x_t[:, 0])
