"""A generative model as a whole, made of its parts, without a config.

`model.py` has the `Model` (description, process, network, prediction, objective, times), `sampling.py` how images are
drawn from one, `drawing.py` what draws them, `estimators.py` how the likelihood of images is computed. Imports every
folder of the mathematics, and `data` for the description; `training`, `experiment` and all above import it.
"""

from ddpm_jax.generative.drawing import Frame, Sampler, Steps
from ddpm_jax.generative.estimators import (
    Bound,
    Estimator,
    Measure,
    OnePass,
    ProbabilityFlow,
    bound_grid,
    default_estimator,
)
from ddpm_jax.generative.model import Model, Prediction
from ddpm_jax.generative.sampling import Chain, Helper, Sampling

__all__ = [
    "Bound",
    "Chain",
    "Estimator",
    "Frame",
    "Helper",
    "Measure",
    "Model",
    "OnePass",
    "Prediction",
    "ProbabilityFlow",
    "Sampler",
    "Sampling",
    "Steps",
    "bound_grid",
    "default_estimator",
]
