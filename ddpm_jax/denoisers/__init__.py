"""Denoisers: from a network's raw output to a distribution over the clean image.

`gaussian.py` and `ordered.py` (of the processes of these names) say what the output means and what the network is told.
`posteriors.py`, `categorical.py`, `logistics.py` and `chained.py` hold the distributions, `wrappers.py` changes a
denoiser (clipping, guidance, temperature). Imports `processes` and `schedules`; losses, samplers and likelihoods take
what it makes as an argument.
"""

from ddpm_jax.denoisers.categorical import Categorical
from ddpm_jax.denoisers.gaussian import (
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
from ddpm_jax.denoisers.logistics import LogisticMixture
from ddpm_jax.denoisers.ordered import HEADS, LIKELY, OrderedDenoiser, ordered_denoiser, ordered_outputs
from ddpm_jax.denoisers.posteriors import Normal
from ddpm_jax.denoisers.wrappers import as_point, clip, guide, temper, threshold

__all__ = [
    "BLIND_AT_ZERO_ALPHA",
    "CATEGORICAL",
    "C_IN",
    "C_NOISE",
    "HEADS",
    "LIKELY",
    "PREDICTIONS",
    "VARIANCES",
    "Categorical",
    "Denoise",
    "LogisticMixture",
    "Normal",
    "OrderedDenoiser",
    "as_point",
    "clip",
    "gaussian_denoiser",
    "guide",
    "ordered_denoiser",
    "ordered_outputs",
    "outputs",
    "point",
    "temper",
    "threshold",
]
