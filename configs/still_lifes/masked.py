"""Masked diffusion (Austin et al. 2021) on still lifes with captions: `small` for two CPU cores, `full` for a GPU."""

from ml_collections import ConfigDict

from ddpm_jax.config import base, families


def get_config(size: str = "small") -> ConfigDict:
    config = base.still_lifes(size)
    families.masked(config)
    config.model.prediction = "logistics"  # which couples the colours of a pixel
    config.model.name = "transformer"
    full = size == "full"
    config.model.channels, config.model.depth, config.model.heads = (512, 12, 8) if full else (96, 5, 4)
    config.data.batch = 128 if full else 32
    return config
