"""PixelCNN++ (Salimans et al. 2017) on the embedded 8x8 digits: two CPU cores, about ten minutes."""

from ml_collections import ConfigDict

from ddpm_jax.base import digits
from ddpm_jax.families import pixelcnn


def get_config() -> ConfigDict:
    config = digits()
    pixelcnn(config)
    config.model.multipliers = (1,)
    config.model.channels = 32
    config.model.blocks = 2
    config.model.components = 5
    config.model.dropout = 0.5
    return config
