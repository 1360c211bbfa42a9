"""DDPM (Ho et al. 2020) on the embedded 8x8 digits, sized for two CPU cores and about five minutes."""

from ml_collections import ConfigDict

from ddpm_jax.base import base


def get_config() -> ConfigDict:
    config = base()
    config.data.batch = 64
    config.model.channels = 16
    config.model.multipliers = (1, 2)
    config.model.blocks = 2
    config.model.attention_resolutions = (4,)
    config.model.groups = 8
    config.model.dropout = 0.0  # so small a network does not fit the 1,000 images closely
    config.sampler.steps = 100
    config.sampler.ema = 0.995
    config.optimizer.learning_rate = 2e-3
    config.optimizer.warmup = 100
    config.optimizer.schedule = "cosine"
    config.optimizer.ema = (0.995,)
    config.training.steps = 3000
    config.training.save_every = 500
    return config
