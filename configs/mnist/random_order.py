"""A transformer that knows any order of the pixels (Hoogeboom et al. 2022), on MNIST.

`--config=configs/mnist/random_order.py:small` is for two CPU cores.
"""

from ml_collections import ConfigDict

from ddpm_jax.config.base import mnist, transformer
from ddpm_jax.config.families import random_order


def get_config(size: str = "full") -> ConfigDict:
    config = mnist(size)
    random_order(config)
    transformer(config, size)
    return config
