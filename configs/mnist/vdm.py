"""Variational diffusion (Kingma et al. 2021) on MNIST. `--config=configs/mnist/vdm.py:small` is for two CPU cores."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import mnist
from ddpm_jax.config.families import vdm


def get_config(size: str = "full") -> ConfigDict:
    config = mnist(size)
    vdm(config)
    return config
