"""An autoregressive transformer, pixel by pixel, on MNIST drawn black and white. `:small` is for two CPU cores."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import binarised_mnist, transformer
from ddpm_jax.config.families import autoregressive


def get_config(size: str = "full") -> ConfigDict:
    config = binarised_mnist(size)
    autoregressive(config)
    transformer(config, size)
    return config
