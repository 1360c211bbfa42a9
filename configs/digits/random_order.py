"""A transformer that knows the digits in any order: two CPU cores, about ten minutes."""

from ml_collections import ConfigDict

from ddpm_jax.base import digits
from ddpm_jax.families import random_order


def get_config() -> ConfigDict:
    config = digits()
    random_order(config)
    config.model.channels = 96
    config.model.depth = 4
    config.model.heads = 4
    config.model.dropout = 0.2
    config.training.steps = 1000
    config.training.save_every = 250
    config.evaluation.exact_images = 10_000
    return config
