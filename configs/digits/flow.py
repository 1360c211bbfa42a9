"""Flow matching (Lipman et al. 2023) on the embedded 8x8 digits: two CPU cores, about five minutes."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import digits
from ddpm_jax.config.families import flow


def get_config() -> ConfigDict:
    config = digits()
    flow(config)
    return config
