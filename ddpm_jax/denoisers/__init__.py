"""Denoisers: from a network's raw output to a distribution over the clean image.

`parameterisation.py` says what the output means and what the network is told, `posteriors.py` and `categorical.py` hold
the distributions, `wrappers.py` changes a denoiser (clipping, guidance). Imports `processes` and `schedules`; losses,
samplers and likelihoods take what it makes as an argument.
"""

from ddpm_jax.denoisers.categorical import Categorical
from ddpm_jax.denoisers.parameterisation import (
    BLIND_AT_ZERO_ALPHA,
    C_IN,
    C_NOISE,
    CATEGORICAL,
    PREDICTIONS,
    VARIANCES,
    Denoise,
    gaussian_denoiser,
    outputs,
    point,
)
from ddpm_jax.denoisers.posteriors import Normal
from ddpm_jax.denoisers.wrappers import as_point, clip, guide, threshold

__all__ = [
    "BLIND_AT_ZERO_ALPHA",
    "CATEGORICAL",
    "C_IN",
    "C_NOISE",
    "PREDICTIONS",
    "VARIANCES",
    "Categorical",
    "Denoise",
    "Normal",
    "as_point",
    "clip",
    "gaussian_denoiser",
    "guide",
    "outputs",
    "point",
    "threshold",
]
