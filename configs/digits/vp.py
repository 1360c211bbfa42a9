"""The VP SDE (Song et al. 2021b) on the embedded 8x8 digits: two CPU cores, about five minutes."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import digits
from ddpm_jax.config.families import vp


def get_config() -> ConfigDict:
    config = digits()
    vp(config)
    return config
