"""The sub-variance-preserving score model on CIFAR-10: DDPM++ cont. (sub-VP) (Song et al. 2021b, appendix H).

From configs/subvp/cifar10_ddpmpp_continuous.py of yang-song/score_sde: beta from 0.1 to 20, times uniform in [1e-5,
1], L_simple, dropout 0.1, the network told 999 t, Adam 2e-4 after 5000 steps of warm-up, gradients clipped at norm 1,
batch 128, flips, average of decay 0.9999, 1,300,000 steps, all 50,000 training images. (So the validation loss is that
of images which are trained on.) Euler-Maruyama with 1000 steps, no clipping of estimates; likelihood by the
probability-flow ODE. Published: FID 2.61, 3.02 bits per dimension.

The network is theirs (models/ncsnpp.py), layer by layer and in the distributions of its first weights: DDPM++ with 128
channels at 32 and 256 at 16, 8 and 4, four blocks, attention at 16 (61.8 M parameters).

What differs: the last time of the sampler is 1e-5, theirs 1e-3, for training and sampling share it here. The
likelihood has one uniform draw an image, theirs five passes. Batches are drawn with replacement, and the average
forgets its start sooner, which matters in the first 90,000 steps only. Their FID is the best over checkpoints of each
50,000 steps, their likelihood that of the last one; ours are the last.
"""

from ml_collections import ConfigDict

from ddpm_jax.config.base import cifar10


def get_config() -> ConfigDict:
    config = cifar10()
    config.data.flip = True
    config.process.schedule = "subvp"
    config.process.steps = 0
    config.process.t_min = 1e-5
    config.process.beta_min = 0.1
    config.process.beta_max = 20.0
    config.model.name = "ddpmpp"
    config.model.variance = "fixed_small"
    config.model.time = "thousand"
    config.model.blocks = 4
    config.sampler.name = "euler"
    config.sampler.spacing = "uniform"
    config.sampler.clip = False
    config.training.steps = 1_300_000
    config.evaluation.ode_images = 10_000
    return config
