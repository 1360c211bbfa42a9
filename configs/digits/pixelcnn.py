"""PixelCNN++ (Salimans et al. 2017) on the embedded 8x8 digits: two CPU cores, about five minutes."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import digits
from ddpm_jax.config.families import pixelcnn


def get_config() -> ConfigDict:
    config = digits()
    pixelcnn(config)
    config.model.multipliers = (1,)
    config.model.channels = 32
    config.model.blocks = 2
    config.model.dropout = 0.6
    config.optimizer.learning_rate = 3e-3
    config.optimizer.ema = (0.99,)
    config.sampler.ema = 0.99
    config.training.steps = 1200
    config.training.save_every = 200
    return config
