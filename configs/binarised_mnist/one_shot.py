"""A plain regressor that sees nothing and answers with the average of all images, on MNIST drawn black and white.

`--config=configs/binarised_mnist/one_shot.py:small` is for two CPU cores.
"""

from ml_collections import ConfigDict

from ddpm_jax.config.base import binarised_mnist
from ddpm_jax.config.families import one_shot


def get_config(size: str = "full") -> ConfigDict:
    config = binarised_mnist(size)
    one_shot(config)
    config.training.steps = 2000 if size == "full" else 500
    return config
