"""Improved DDPM (Nichol and Dhariwal 2021) on the embedded 8x8 digits: two CPU cores, about five minutes."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import digits
from ddpm_jax.config.families import improved_ddpm


def get_config() -> ConfigDict:
    config = digits()
    improved_ddpm(config)
    return config
