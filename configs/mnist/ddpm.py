"""DDPM (Ho et al. 2020) on MNIST. `--config=configs/mnist/ddpm.py:small` is for two CPU cores."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import mnist
from ddpm_jax.config.families import ddpm


def get_config(size: str = "full") -> ConfigDict:
    config = mnist(size)
    ddpm(config)
    return config
