"""A plain regressor that sees nothing and answers with the average of all digits: two CPU cores, a minute."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import digits
from ddpm_jax.config.families import one_shot


def get_config() -> ConfigDict:
    config = digits()
    one_shot(config)
    config.training.steps = 500
    return config
