"""NCSNv2's process, loss and sampler on CIFAR-10 (Song and Ermon 2020), with DDPM's U-Net.

From configs/cifar10.yml of ermongroup/ncsnv2: 232 levels, which in our units of images in [-1, 1] fall geometrically
from 100 to 0.02 (theirs are 50 to 0.01 for images in [0, 1]), levels drawn uniformly, the loss weighted by the
variance, which makes it that of epsilon, Adam 1e-4 without warm-up or clipping, batch 128, flips, average of decay
0.999, 300,000 steps; annealed Langevin dynamics with five moves a level and a last denoising: 1161 network
evaluations. The step size is 2 * 6.2e-6/0.01^2 = 0.124 of a level's variance, for here a move is x + e/2 score +
sqrt(e) noise, theirs with e for e/2. Published: FID 10.87.

What differs: **the network**, theirs being a RefineNet with dilated convolutions, instance normalisation and ELU, and
told nothing of the level but by the division of its output by sigma; ours is DDPM's U-Net (35.7 M parameters), is told
the level, and has no dropout as theirs has none. Sampling starts from the prior N(0, 100^2), theirs from uniform noise
in [-1, 1]; the loss is a mean over values, theirs half a sum, which Adam does not see; batches are drawn with
replacement, and the average forgets its start sooner, which matters in the first 9,000 steps only. Their checkpoint is
the best in an FID of 1,000 samples; ours is the last.
"""

from ml_collections import ConfigDict

from ddpm_jax.config.base import cifar10


def get_config() -> ConfigDict:
    config = cifar10()
    config.data.flip = True
    config.process.schedule = "ve"
    config.process.steps = 232
    config.process.sigma_min = 0.02 / 5000 ** (1 / 231)  # so that sigma(1/232) = 0.02 and sigma(1) = 100
    config.process.sigma_max = 100.0
    config.model.variance = "fixed_small"
    config.model.dropout = 0.0
    config.sampler.name = "annealed_langevin"
    config.sampler.steps = 232
    config.sampler.spacing = "uniform"
    config.sampler.corrector_steps = 5
    config.sampler.langevin_step = 0.124 * 0.02**2  # epsilon, the step size at the last level
    config.sampler.clip = False
    config.sampler.ema = 0.999
    config.optimizer.learning_rate = 1e-4
    config.optimizer.warmup = 0
    config.optimizer.clip = 0.0
    config.optimizer.ema = (0.999,)
    config.training.steps = 300_000
    return config
