"""A transformer, sixteen pixels at once, far apart in the image, on MNIST. `:small` is for two CPU cores."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import mnist, transformer
from ddpm_jax.config.families import spread


def get_config(size: str = "full") -> ConfigDict:
    config = mnist(size)
    spread(config)
    transformer(config, size)
    config.process.chunk = 16
    return config
