"""NCSNv2 (Song and Ermon 2020) on the embedded 8x8 digits: two CPU cores, about five minutes."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import digits
from ddpm_jax.config.families import ncsn


def get_config() -> ConfigDict:
    config = digits()
    ncsn(config)
    return config
