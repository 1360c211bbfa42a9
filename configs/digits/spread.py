"""Four pixels at once, far apart in the image, on the embedded 8x8 digits: two CPU cores, about ten minutes."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import digits, digits_transformer
from ddpm_jax.config.families import spread


def get_config() -> ConfigDict:
    config = digits()
    spread(config)
    digits_transformer(config)
    return config
