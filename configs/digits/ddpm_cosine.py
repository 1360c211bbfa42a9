"""DDPM with the cosine schedule (Nichol and Dhariwal 2021) on the embedded 8x8 digits: two cores, five minutes."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import digits
from ddpm_jax.config.families import ddpm_cosine


def get_config() -> ConfigDict:
    config = digits()
    ddpm_cosine(config)
    return config
