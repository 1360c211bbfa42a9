"""NCSNv2 (Song and Ermon 2020) on MNIST. `--config=configs/mnist/ncsn.py:small` is for two CPU cores."""

from ml_collections import ConfigDict

from ddpm_jax.base import mnist
from ddpm_jax.families import ncsn


def get_config(size: str = "full") -> ConfigDict:
    config = mnist(size)
    ncsn(config)
    return config
