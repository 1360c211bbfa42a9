"""A mixture of two normals with diagonal covariances, whose posterior mean costs next to nothing to compile."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.denoisers import Normal
from ddpm_jax.oracles import GaussianMixture


@dataclass(frozen=True)
class DiagonalMixture:
    weights = np.array([0.3, 0.7])
    means = np.array([[-1.0, 0.5], [0.8, -0.6]])  # 9 deviations apart
    variances = np.array([[0.02, 0.04], [0.05, 0.03]])

    def mean(self, process):
        """A denoiser: the exact posterior mean, as a point, in the dtype of x_t."""

        def denoise(x_t, t, condition=None):
            alpha, sigma = process.at(t, x_t)
            means, variances, weights = (
                jnp.asarray(field, x_t.dtype) for field in (self.means, self.variances, self.weights)
            )
            alpha, sigma, apart = alpha[..., None], sigma[..., None], x_t[:, None] - alpha[..., None] * means
            spread = alpha**2 * variances + sigma**2
            logits = jnp.log(weights) - 0.5 * (apart**2 / spread + jnp.log(spread)).sum(-1)
            each = means + alpha * variances / spread * apart
            return Normal((jax.nn.softmax(logits)[..., None] * each).sum(1))

        return denoise

    def draws(self, process):
        """A denoiser: the exact posterior."""
        covariances = np.stack([np.diag(variances) for variances in self.variances])
        exact = (jnp.asarray(field, jnp.float32) for field in (self.weights, self.means, covariances))
        return GaussianMixture(*exact).denoiser(process)


@pytest.fixture
def mixture():
    """The mixture that samplers are to recover."""
    return DiagonalMixture()
