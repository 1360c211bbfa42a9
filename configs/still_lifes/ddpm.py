"""DDPM (Ho et al. 2020) on still lifes with captions: `small` for two CPU cores, `full` for a GPU."""

from ml_collections import ConfigDict

from ddpm_jax.config import base, families


def get_config(size: str = "small") -> ConfigDict:
    config = base.still_lifes(size)
    families.ddpm(config)
    return config
