"""DDPM (Ho et al. 2020) on MNIST. `--config=configs/mnist/ddpm.py:small` is for two CPU cores, half an hour."""

from ml_collections import ConfigDict

from ddpm_jax.base import base


def get_config(size: str = "full") -> ConfigDict:
    config = base()
    config.data.name = "mnist"
    config.model.multipliers = (1, 2, 2)
    config.model.attention_resolutions = (14,)
    config.training.steps = 100_000
    config.evaluation.likelihood_images = 2000
    if size == "small":
        config.data.batch = 64
        config.model.channels = 16
        config.model.multipliers = (1, 2, 4)
        config.model.blocks = 1
        config.model.attention_resolutions = (7,)
        config.model.groups = 8
        config.optimizer.learning_rate = 1e-3
        config.optimizer.warmup = 200
        config.optimizer.schedule = "cosine"
        config.optimizer.ema = (0.999,)
        config.sampler.ema = 0.999
        config.sampler.steps = 100
        config.training.steps = 3000
        config.training.save_every = 500
        config.evaluation.samples = 500
        config.evaluation.likelihood_images = 128
    elif size != "full":
        raise ValueError(f"size {size!r} is not 'full' or 'small'")
    return config
