"""PixelCNN++ (Salimans et al. 2017) on MNIST drawn black and white: 45 minutes on two CPU cores with `:small`."""

from ml_collections import ConfigDict

from ddpm_jax.config.base import binarised_mnist
from ddpm_jax.config.families import pixelcnn


def get_config(size: str = "full") -> ConfigDict:
    config = binarised_mnist(size)
    pixelcnn(config)
    config.model.prediction = "categorical"
    config.model.multipliers = (1, 1)
    config.model.channels, config.model.blocks, config.model.dropout = 128, 4, 0.5
    if size == "small":
        config.data.batch = 16
        config.model.channels, config.model.blocks, config.model.dropout = 32, 2, 0.0
        config.optimizer.learning_rate = 2e-3
        config.training.steps = 0
        config.training.seconds = 2700.0
        config.training.save_every = 250
        config.evaluation.likelihood_images = 10_000
    return config
