"""VDM on CIFAR-10 without augmentation, in continuous time (Kingma et al. 2021).

From configs/cifar10.py of google-research/vdm: a learned schedule that starts at -log SNR = -13.3 ... 5, trained with
the network on the variational bound, times spread evenly over the batch, a U-Net that never halves, of 32 + 33 blocks
of 128 channels (30.6 M parameters) with one attention in the middle, sines and cosines of 2^7 pi x and 2^8 pi x beside
the input, dropout 0.1, AdamW 2e-4 with b2 = 0.99, weight decay 0.01 and 100 steps of warm-up, no clipping, batch 128,
no flips, average of decay 0.9999, 10,000,000 steps, all 50,000 training images. (So the validation loss is that of
images which are trained on.) Ancestral sampling with 1000 steps, no clipping of estimates. Published: 2.65 bits per
dimension.

What differs: the last interval is a draw of its own, which takes an eighth of the batch, and its decoder is a normal
around the network's estimate; theirs is added to every example's loss and uses no network, only how likely each level
makes x_t. Their network's raw output is epsilon - x_t, ours epsilon. Their schedule is a straight line with two
learned ends (in the code; a monotone network in the paper), ours the same but for its shape, a little off a straight
line and held. Weight decay falls on all parameters, theirs not on biases. Levels lie on [-1, 1] with both ends, theirs
inside by 1/256. Blocks have DDPM's first weights. Samples are rounded estimates, which their argmax is too. Batches
are drawn with replacement, and the average forgets its start sooner, which matters in the first 90,000 steps only.
"""

from ml_collections import ConfigDict

from ddpm_jax.config.base import cifar10


def get_config() -> ConfigDict:
    config = cifar10()
    config.process.schedule = "learned"
    config.process.steps = 0
    config.process.gamma_min = -13.3
    config.process.gamma_max = 5.0
    config.model.variance = "fixed_small"
    config.model.time = "log_snr"
    config.model.multipliers = (1,)
    config.model.blocks = 32
    config.model.attention_resolutions = ()
    config.model.fourier_features = (7, 8)
    config.objective.name = "bound"
    config.objective.times = "stratified"
    config.objective.decoder = 0.125
    config.sampler.spacing = "uniform"
    config.sampler.clip = False
    config.optimizer.name = "adamw"
    config.optimizer.b2 = 0.99
    config.optimizer.weight_decay = 0.01
    config.optimizer.warmup = 100
    config.optimizer.clip = 0.0
    config.training.steps = 10_000_000
    return config
