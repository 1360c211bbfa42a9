"""EDM (Karras et al. 2022) on MNIST. `--config=configs/mnist/edm.py:small` is for two CPU cores."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import mnist
from ddpm_jax.config.families import edm


def get_config(size: str = "full") -> ConfigDict:
    config = mnist(size)
    edm(config)
    return config
