"""Flow matching on CIFAR-10: 1-rectified flow (Liu et al. 2023), whose recipe is published in full.

From configs/rectified_flow/cifar10_rf_gaussian_ddpmpp.py of gnobitab/RectifiedFlow: straight paths x_t = (1 - t) x + t
z, the loss of their velocity, times uniform, dropout 0.15, Adam 2e-4 after 5000 steps of warm-up, gradients clipped at
norm 1, batch 128, flips, average of decay 0.999999 with the same warm-up as here, all 50,000 training images. (So the
validation loss is that of images which are trained on.) The ODE is solved by adaptive Runge-Kutta 5(4) with tolerances
of 1e-5 (127 network evaluations), no clipping of estimates. The config says 1,300,000 steps; the released checkpoint
is at 800,000, which are done here. Published: FID 2.58. Lipman et al. 2023 publish FID 6.35 and 2.99 bits per
dimension (importance-weighted over 50 draws) with another network and budget, and no code of it.

The network is theirs (ImageGeneration/models/ncsnpp.py), layer by layer and in the distributions of its first weights:
score SDE's DDPM++ with 128 channels at 32 and 256 at 16, 8 and 4, four blocks, attention at 16 (61.8 M parameters).

What differs: the network is told 999 t, theirs 999 (1 - t), and its output has the opposite sign. Their times end at
0.999 towards noise, ours begin at t_min towards data. The solver is Tsitouras', theirs Dormand and Prince's, and steps
are an example's own, theirs a batch's. Batches are drawn with replacement.
"""

from ml_collections import ConfigDict

from ddpm_jax.config.base import cifar10


def get_config() -> ConfigDict:
    config = cifar10()
    config.data.flip = True
    config.process.schedule = "flow"
    config.process.steps = 0
    config.model.name = "ddpmpp"
    config.model.prediction = "velocity"
    config.model.variance = "fixed_small"
    config.model.time = "thousand"
    config.model.blocks = 4
    config.model.dropout = 0.15
    config.objective.name = "velocity"
    config.sampler.name = "tsit5"
    config.sampler.spacing = "uniform"
    config.sampler.eta = 0.0
    config.sampler.rtol = 1e-5
    config.sampler.atol = 1e-5
    config.sampler.clip = False
    config.sampler.ema = 0.999999
    config.optimizer.ema = (0.999999,)
    config.training.steps = 800_000
    config.evaluation.ode_images = 10_000
    return config
