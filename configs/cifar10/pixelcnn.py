"""PixelCNN++'s CIFAR-10 recipe (Salimans et al. 2017, and their code): published 2.92 bits per dimension, exact.

160 filters, five gated blocks a resolution, ten logistics with coupled colours, dropout 0.5, Adam 1e-3 (0.95, 0.9995),
average of decay 0.9995, batch 128, no flips, no clipping; all 50,000 training images. Differences: no
weight normalisation with data-dependent initialisation; their rate falls by 0.999995 a step (half in 138,629 steps),
ours along a cosine; draws are levels, where theirs are not rounded; the number of steps to 2.92 is not published.
53.6 M parameters.
"""

from ml_collections import ConfigDict

from ddpm_jax.config.base import cifar10
from ddpm_jax.config.families import pixelcnn


def get_config() -> ConfigDict:
    config = cifar10()
    pixelcnn(config)
    config.model.channels = 160
    config.model.blocks = 5
    config.model.dropout = 0.5
    config.optimizer.learning_rate = 1e-3
    config.optimizer.warmup = 0
    config.optimizer.schedule = "cosine"
    config.optimizer.clip = 0.0
    config.optimizer.b1 = 0.95
    config.optimizer.b2 = 0.9995
    config.optimizer.ema = (0.9995,)
    config.sampler.ema = 0.9995
    return config
