"""Models known in closed form, as denoisers: no network, no error. For tests, and for research on samplers.

Imports `processes` and `denoisers`; nothing imports it but tests and experiments.

>>> from ddpm_jax import oracles
>>> import numpy as np
>>> oracles.FiniteData(np.zeros((3, 8, 8, 1), np.float32)).images.shape
(3, 8, 8, 1)
"""

from ddpm_jax.oracles.finite_data import FiniteData
from ddpm_jax.oracles.gaussian_mixture import GaussianMixture
from ddpm_jax.oracles.joint_table import JointTable

__all__ = ["FiniteData", "GaussianMixture", "JointTable"]
