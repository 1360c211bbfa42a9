"""Models known in closed form, as denoisers: no network, no error. For tests, and for research on samplers.

Imports `processes` and `denoisers`; nothing imports it but tests and experiments.
"""

from ddpm_jax.oracles.finite_data import FiniteData
from ddpm_jax.oracles.gaussian_mixture import GaussianMixture
from ddpm_jax.oracles.joint_table import JointTable

__all__ = ["FiniteData", "GaussianMixture", "JointTable"]
