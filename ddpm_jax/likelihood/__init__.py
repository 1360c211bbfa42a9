"""Likelihood in bits per dimension of the discrete pixels, typed: value, standard error, kind, count.

`figures.py` holds the typed figure, `bound.py` the variational bound, `ode.py` the density by the
probability-flow ODE, `baselines.py` what simple exact models score. Imports `files`, `processes` and `denoisers`.

>>> from ddpm_jax import likelihood
>>> import numpy as np
>>> likelihood.bits_per_dimension(np.array([8 * np.log(2)] * 2), dimensions=8, kind="exact").value
1.0
"""

from ddpm_jax.likelihood.baselines import floor_lines
from ddpm_jax.likelihood.bound import Terms, bound, interval_groups
from ddpm_jax.likelihood.figures import Kind, Likelihood, bits_per_dimension
from ddpm_jax.likelihood.ode import DIVERGENCES, ode

__all__ = [
    "DIVERGENCES",
    "Kind",
    "Likelihood",
    "Terms",
    "bits_per_dimension",
    "bound",
    "floor_lines",
    "interval_groups",
    "ode",
]
