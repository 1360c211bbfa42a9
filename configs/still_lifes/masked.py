"""Masked diffusion (Austin et al. 2021) on still lifes with captions: `small` for two CPU cores, `full` for a GPU."""

from ml_collections import ConfigDict

from ddpm_jax.config import base, families


def get_config(size: str = "small") -> ConfigDict:
    config = base.still_lifes(size)
    families.masked(config)
    config.model.prediction = "logistics"  # which couples the colours of a pixel
    config.objective.name = "hidden"  # MaskGIT's: trained on the bound, captions come out a third as often
    config.sampler.temperature, config.sampler.guidance = 0.7, 2.0
    config.sampler.steps = 256  # a pixel a step at 16x16: with 64 a tenth fewer pictures are right
    config.training.steps = 100_000 if size == "full" else 24_000
    return config
