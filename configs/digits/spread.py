"""Four pixels at once, far apart in the image, on the embedded 8x8 digits: two CPU cores, about ten minutes."""

from ml_collections import ConfigDict

from ddpm_jax.base import digits
from ddpm_jax.families import spread


def get_config() -> ConfigDict:
    config = digits()
    spread(config)
    config.model.channels = 96
    config.model.depth = 4
    config.model.heads = 4
    config.model.dropout = 0.2
    config.training.steps = 1000
    config.training.save_every = 250
    return config
