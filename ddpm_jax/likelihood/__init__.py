"""Likelihood in bits per dimension of the discrete pixels, typed: value, standard error, kind, count.

`figures.py` holds the typed figure, `bound.py` the variational bound. Imports `processes` and `denoisers`.
"""

from ddpm_jax.likelihood.bound import Terms, bound, interval_groups
from ddpm_jax.likelihood.figures import Likelihood, bits_per_dimension

__all__ = ["Likelihood", "Terms", "bits_per_dimension", "bound", "interval_groups"]
