"""A causal transformer, pixel by pixel, on still lifes with captions: `small` for two CPU cores, `full` for a GPU."""

from ml_collections import ConfigDict

from ddpm_jax.config import base, families


def get_config(size: str = "small") -> ConfigDict:
    config = base.still_lifes(size)
    families.autoregressive(config)
    config.model.prediction = "logistics"  # which couples the colours of a pixel
    full = size == "full"
    config.model.channels, config.model.depth, config.model.heads = (512, 12, 8) if full else (64, 4, 4)
    config.data.batch = 128 if full else 16
    config.sampler.temperature, config.sampler.guidance = 0.7, 2.0  # a pixel at a time, rare mistakes add up
    config.training.steps = 100_000 if full else 33_000
    return config
