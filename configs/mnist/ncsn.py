"""NCSNv2 (Song and Ermon 2020) on MNIST. `--config=configs/mnist/ncsn.py:small` is for two CPU cores.

Levels and step size by their techniques 1, 2 and 4, for 784 values whose images are up to 32 apart.
"""

from ml_collections import ConfigDict

from ddpm_jax.config.base import mnist
from ddpm_jax.config.families import ncsn


def get_config(size: str = "full") -> ConfigDict:
    config = mnist(size)
    ncsn(config)
    config.process.sigma_max = 32.0
    config.process.steps = config.sampler.steps = 93
    config.sampler.langevin_step = 1e-4
    return config
