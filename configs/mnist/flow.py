"""Flow matching (Lipman et al. 2023) on MNIST. `--config=configs/mnist/flow.py:small` is for two CPU cores."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import mnist
from ddpm_jax.config.families import flow


def get_config(size: str = "full") -> ConfigDict:
    config = mnist(size)
    flow(config)
    return config
