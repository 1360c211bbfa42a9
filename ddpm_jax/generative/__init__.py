"""A generative model as a whole, made of its parts, without a config.

`model.py` has the `Model` (description, process, network, prediction, objective, times), `sampling.py` how images are
drawn from one, `estimators.py` how the likelihood of images is computed. Imports every folder of the mathematics, and
`data` for the description; `training`, `experiment` and what stands above import it.
"""

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
from ddpm_jax.generative.sampling import Helper, Sampler, Sampling

__all__ = [
    "Bound",
    "Estimator",
    "Helper",
    "Measure",
    "Model",
    "OnePass",
    "Prediction",
    "ProbabilityFlow",
    "Sampler",
    "Sampling",
    "bound_grid",
    "default_estimator",
]
