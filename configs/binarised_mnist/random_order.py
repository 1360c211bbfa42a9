"""A transformer that knows any order of the pixels (Hoogeboom et al. 2022), on MNIST drawn black and white.

`--config=configs/binarised_mnist/random_order.py:small` is for two CPU cores.
"""

from ml_collections import ConfigDict

from ddpm_jax.config.base import binarised_mnist, transformer
from ddpm_jax.config.families import random_order


def get_config(size: str = "full") -> ConfigDict:
    config = binarised_mnist(size)
    random_order(config)
    transformer(config, size)
    return config
