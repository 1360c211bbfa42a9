"""DDPM's CIFAR-10 recipe (Ho et al. 2020, section 4 and appendix B), which is the base config but for the data.

Linear betas, T = 1000, L_simple, fixed-large variance; 35.7 M parameters, dropout 0.1, Adam 2e-4 after 5000 steps of
warm-up, gradients clipped at norm 1, batch 128, random flips, average of decay 0.9999, 800,000 steps, all 50,000
training images. (So the validation loss is that of images which are trained on.) Two differences: batches are drawn
with replacement, and the average forgets its start sooner, which matters in the first 90,000 steps only.
"""

from ml_collections import ConfigDict

from ddpm_jax.config.base import cifar10


def get_config() -> ConfigDict:
    config = cifar10()
    config.data.flip = True
    config.process.decoder_variance = "second_step"  # as their code, to be compared with the published bits
    return config
