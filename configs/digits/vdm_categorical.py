"""Variational diffusion with a chance for each of the 17 levels in place of one number for the noise.

The posterior of a value is the network's categorical times what x_t itself says of each level, so the step to t = 0
is a discrete model like an autoregressor's. All else is `vdm`: two CPU cores, about five minutes.
"""

from ml_collections import ConfigDict

from ddpm_jax.config.base import digits
from ddpm_jax.config.families import vdm


def get_config() -> ConfigDict:
    config = digits()
    vdm(config)
    config.process.gamma_min = -8.0
    config.model.prediction = "categorical"
    config.model.dropout = 0.1
    return config
