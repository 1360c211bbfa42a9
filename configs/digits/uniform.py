"""Uniform corruption of the embedded 8x8 digits: values are replaced by chance and not hidden; two CPU cores."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import digits
from ddpm_jax.config.families import uniform


def get_config() -> ConfigDict:
    config = digits()
    uniform(config)
    config.model.dropout = 0.1
    return config
