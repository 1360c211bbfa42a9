"""The variance-exploding score model on CIFAR-10: NCSN++ cont. (VE) (Song et al. 2021b, appendices G and H).

From configs/ve/cifar10_ncsnpp_continuous.py of yang-song/score_sde: sigma from 0.02 to 100 in our units of images in
[-1, 1] (theirs are 0.01 to 50 for images in [0, 1]), times uniform in [1e-5, 1], the loss of epsilon, x_t unscaled,
the network told log(sigma/2), dropout 0.1, Adam 2e-4 after 5000 steps of warm-up, gradients clipped at norm 1, batch
128, flips, average of decay 0.999, 950,000 steps (appendix H.2; the config says 1,300,000). Reverse diffusion with
1000 steps and one Langevin move each at a signal-to-noise ratio of 0.16: 2000 network evaluations, 1999 here. No
clipping of estimates. Published: FID 2.38, no likelihood.

The network is theirs (models/ncsnpp.py), layer by layer and in the distributions of its first weights: NCSN++ with 128
channels at 32 and 256 at 16, 8 and 4, four blocks, attention at 16, filters (1, 3, 3, 1), the input again at each
lower resolution, 128 Fourier frequencies of deviation 16 (62.8 M parameters).

What differs: the frequencies are from a fixed seed here, theirs from the run's, kept untrained among its parameters.
The output has the opposite sign: theirs, divided by sigma, is the score. The loss is a mean over values, theirs half a
sum: Adam does not see it, but gradients clipped at norm 1 are clipped far less often. The Langevin move comes after
each step but the last, theirs before each; its size is an example's own, theirs a batch's. Batches are drawn with
replacement, and the average forgets its start sooner, which matters in the first 9,000 steps only. Their FID is the
best over checkpoints of each 50,000 steps; ours is the last.
"""

from ml_collections import ConfigDict

from ddpm_jax.config.base import cifar10


def get_config() -> ConfigDict:
    config = cifar10()
    config.data.flip = True
    config.process.schedule = "ve"
    config.process.steps = 0
    config.process.t_min = 1e-5
    config.process.sigma_min = 0.02
    config.process.sigma_max = 100.0
    config.model.name = "ncsnpp"
    config.model.variance = "fixed_small"
    config.model.time = "log_sigma"
    config.model.blocks = 4
    config.sampler.name = "predictor_corrector"
    config.sampler.spacing = "uniform"
    config.sampler.corrector_steps = 1
    config.sampler.snr = 0.16
    config.sampler.clip = False
    config.sampler.ema = 0.999
    config.optimizer.ema = (0.999,)
    config.training.steps = 950_000
    return config
