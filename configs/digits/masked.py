"""Masked diffusion on the embedded 8x8 digits: two CPU cores, about five minutes."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import digits
from ddpm_jax.config.families import masked


def get_config() -> ConfigDict:
    config = digits()
    masked(config)
    config.model.dropout = 0.1
    config.evaluation.exact_images = 10_000
    return config
