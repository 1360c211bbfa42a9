"""Improved DDPM (Nichol and Dhariwal 2021) on MNIST; with `:small` for two CPU cores."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import mnist
from ddpm_jax.config.families import improved_ddpm


def get_config(size: str = "full") -> ConfigDict:
    config = mnist(size)
    improved_ddpm(config)
    return config
