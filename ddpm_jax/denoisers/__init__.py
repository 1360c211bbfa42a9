"""Denoisers: from a network's raw output to a distribution over the clean image.

`gaussian.py`, `ordered.py` and `uniform.py` (of the processes of these names) say what the output means and what the
network is told.
`posteriors.py` says what every posterior and denoiser answers; it, `categorical.py`, `logistics.py` and `chained.py`
hold the distributions, `wrappers.py` changes a denoiser (clipping, temperature), `guidance.py` makes one of several, by
the rules of `guidance_rules.py`; `labels.py` has what a classifier of noisy images says instead. Imports `processes`
and `schedules`; losses, samplers and likelihoods take what it makes as an argument.

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
    LEARNED,
    PREDICTIONS,
    VARIANCES,
    GaussianDenoiser,
    GaussianPrediction,
    point,
)
from ddpm_jax.denoisers.guidance import ClassifierGuided, Guided, Told
from ddpm_jax.denoisers.guidance_rules import Plain, Projected, Rescaled, Rule
from ddpm_jax.denoisers.labels import LABEL, Classifier, LabelPrediction, Labels
from ddpm_jax.denoisers.logistics import LogisticMixture
from ddpm_jax.denoisers.ordered import HEADS, LIKELY, OrderedDenoiser, OrderedPrediction
from ddpm_jax.denoisers.posteriors import Denoiser, Normal, Posterior, Wrapper, cost
from ddpm_jax.denoisers.uniform import UniformDenoiser, UniformPrediction
from ddpm_jax.denoisers.wrappers import Clipped, Only, Pointed, Tempered, Thresholded

__all__ = [
    "BLIND_AT_ZERO_ALPHA",
    "CATEGORICAL",
    "C_IN",
    "C_NOISE",
    "HEADS",
    "LABEL",
    "LEARNED",
    "LIKELY",
    "PREDICTIONS",
    "VARIANCES",
    "Categorical",
    "Classifier",
    "ClassifierGuided",
    "Clipped",
    "Denoiser",
    "GaussianDenoiser",
    "GaussianPrediction",
    "Guided",
    "LabelPrediction",
    "Labels",
    "LogisticMixture",
    "Normal",
    "Only",
    "OrderedDenoiser",
    "OrderedPrediction",
    "Plain",
    "Pointed",
    "Posterior",
    "Projected",
    "Rescaled",
    "Rule",
    "Tempered",
    "Thresholded",
    "Told",
    "UniformDenoiser",
    "UniformPrediction",
    "Wrapper",
    "cost",
    "point",
]
