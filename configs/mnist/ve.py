"""The VE SDE (Song et al. 2021b) on MNIST. `--config=configs/mnist/ve.py:small` is for two CPU cores."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import mnist
from ddpm_jax.config.families import ve


def get_config(size: str = "full") -> ConfigDict:
    config = mnist(size)
    ve(config)
    return config
