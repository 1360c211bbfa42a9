"""Denoisers: from a network's raw output to a distribution over the clean image.

`parameterisation.py` says what the output means and what the network is told, `posteriors.py` holds the
distributions, `wrappers.py` changes a denoiser (clipping, guidance). Imports `processes` and `schedules`; losses,
samplers and likelihoods take what it makes as an argument.
"""

from ddpm_jax.denoisers.parameterisation import PREDICTIONS, VARIANCES, Denoise, gaussian_denoiser
from ddpm_jax.denoisers.posteriors import Normal
from ddpm_jax.denoisers.wrappers import as_point, clip, guide

__all__ = ["PREDICTIONS", "VARIANCES", "Denoise", "Normal", "as_point", "clip", "gaussian_denoiser", "guide"]
