"""Variational diffusion (Kingma et al. 2021) on the embedded 8x8 digits: two CPU cores, about five minutes."""

from ml_collections import ConfigDict

from ddpm_jax.base import digits
from ddpm_jax.families import vdm


def get_config() -> ConfigDict:
    config = digits()
    vdm(config)
    return config
