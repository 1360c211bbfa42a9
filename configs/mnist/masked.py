"""Masked diffusion (Austin et al. 2021; Shi et al. 2024), on MNIST. `:small` is for two CPU cores."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import mnist
from ddpm_jax.config.families import masked


def get_config(size: str = "full") -> ConfigDict:
    config = mnist(size)
    masked(config)
    config.sampler.steps = 100
    return config
