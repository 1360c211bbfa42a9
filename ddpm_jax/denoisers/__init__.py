"""Denoisers: from a network's raw output to a distribution over the clean image.

`gaussian.py` and `ordered.py` (of the processes of these names) say what the output means and what the network is told.
`posteriors.py` says what every posterior and denoiser answers; it, `categorical.py`, `logistics.py` and `chained.py`
hold the distributions, `wrappers.py` changes a denoiser (clipping, guidance, temperature). Imports `processes` and
`schedules`; losses, samplers and likelihoods take what it makes as an argument.

>>> from ddpm_jax import denoisers
>>> sorted(denoisers.HEADS)
['categorical', 'logistics', 'x0']
"""

from ddpm_jax.denoisers.categorical import Categorical
from ddpm_jax.denoisers.gaussian import (
    BLIND_AT_ZERO_ALPHA,
    C_IN,
    C_NOISE,
    CATEGORICAL,
    PREDICTIONS,
    VARIANCES,
    GaussianDenoiser,
    GaussianPrediction,
    point,
)
from ddpm_jax.denoisers.logistics import LogisticMixture
from ddpm_jax.denoisers.ordered import HEADS, LIKELY, OrderedDenoiser, OrderedPrediction
from ddpm_jax.denoisers.posteriors import Denoiser, Normal, Posterior
from ddpm_jax.denoisers.wrappers import Clipped, Guided, Pointed, Tempered, Thresholded

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
    "Clipped",
    "Denoiser",
    "GaussianDenoiser",
    "GaussianPrediction",
    "Guided",
    "LogisticMixture",
    "Normal",
    "OrderedDenoiser",
    "OrderedPrediction",
    "Pointed",
    "Posterior",
    "Tempered",
    "Thresholded",
    "point",
]
