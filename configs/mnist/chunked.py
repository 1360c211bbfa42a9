"""A transformer, sixteen neighbours at once, in raster order, on MNIST. `:small` is for two CPU cores."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import mnist, transformer
from ddpm_jax.config.families import chunked


def get_config(size: str = "full") -> ConfigDict:
    config = mnist(size)
    chunked(config)
    transformer(config, size)
    config.process.chunk = 16
    return config
