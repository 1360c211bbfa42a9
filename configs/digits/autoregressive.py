"""An autoregressive transformer, pixel by pixel, on the embedded 8x8 digits: two CPU cores, about ten minutes."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import digits, digits_transformer
from ddpm_jax.config.families import autoregressive


def get_config() -> ConfigDict:
    config = digits()
    autoregressive(config)
    digits_transformer(config)
    return config
