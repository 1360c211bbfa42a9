"""The sub-VP SDE (Song et al. 2021b) on MNIST. `--config=configs/mnist/subvp.py:small` is for two CPU cores."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import mnist
from ddpm_jax.config.families import subvp


def get_config(size: str = "full") -> ConfigDict:
    config = mnist(size)
    subvp(config)
    return config
