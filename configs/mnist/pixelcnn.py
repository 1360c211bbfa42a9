"""PixelCNN++ (Salimans et al. 2017), on MNIST. `:small` is for two CPU cores."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import mnist
from ddpm_jax.config.families import pixelcnn


def get_config(size: str = "full") -> ConfigDict:
    config = mnist(size)
    pixelcnn(config)
    config.model.multipliers = (1, 1)
    config.model.dropout = 0.5 if size == "full" else 0.1
    config.model.channels, config.model.blocks = (128, 4) if size == "full" else (32, 2)
    return config
