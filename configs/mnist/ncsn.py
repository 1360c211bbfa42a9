"""NCSNv2 (Song and Ermon 2020) on MNIST. `--config=configs/mnist/ncsn.py:small` is for two CPU cores.

Levels by their techniques 1 and 2, for 784 values whose images are up to 32 apart.
"""

from ml_collections import ConfigDict

from ddpm_jax.config.base import mnist
from ddpm_jax.config.families import ncsn


def get_config(size: str = "full") -> ConfigDict:
    config = mnist(size)
    ncsn(config)
    config.process.sigma_max = 32.0
    config.process.steps = 93
    return config
