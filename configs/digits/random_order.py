"""A transformer that knows the digits in any order: two CPU cores, about ten minutes."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import digits, digits_transformer
from ddpm_jax.config.families import random_order


def get_config() -> ConfigDict:
    config = digits()
    random_order(config)
    digits_transformer(config)
    config.model.dropout = 0.1  # many orders are as many tasks: it underfits
    config.training.steps = 3000
    config.training.save_every = 500
    config.evaluation.exact_images = 10_000
    return config
