"""EDM on CIFAR-10 with NCSN++, unconditional (Karras et al. 2022, table 1, section 5 and appendix F).

From train.py --cond=0 --arch=ncsnpp of NVlabs/edm: the network F with unit inputs and targets, sigma_data 0.5, told
log(sigma)/4; log sigma normal with mean -1.2 and deviation 1.2, and a weight that makes F's loss even; dropout 0.13,
Adam 1e-3 after 10 million images of warm-up, no clipping, batch 512, 200 million images, an average with a half-life
of 500,000 images (a decay of 0.5^(512/500,000)), all 50,000 training images. (So the validation loss is that of images
which are trained on.) Heun with 18 steps from 80 to 0.002, rho 7: 35 network evaluations. Published: FID 1.98, or 1.79
with labels (--config.model.conditions=label --config.objective.condition_drop=0).

The network is theirs (SongUNet of training/networks.py), layer by layer and in the distributions of its first weights:
NCSN++ with 256 channels at 32, 16 and 8, four blocks, attention at 16, filters (1, 3, 3, 1), the input again at each
lower resolution, 128 Fourier frequencies of deviation 16 (56.4 M parameters).

What differs: **no augmentation** but flips. Theirs makes each of five geometric changes with probability 0.12 and
tells the network; without it they publish FID 1.99 (1.86 with labels), which is the figure to compare with. (Telling
it takes them 2,304 weights more.) The Fourier frequencies are from a fixed seed, theirs from the run's. The loss is a
mean over values, theirs a sum, which Adam does not see; gradients that are not finite become 0 there. The average's
start is forgotten at another pace, (1 + k)/(10 + k) after k steps for a half-life of 0.05 of the images seen there.
Levels outside [0.002, 80], two in 100,000 draws, are put at its ends. Batches are drawn with replacement. Their FID is
the least of three. Our Heun averages the two estimates of the image, theirs the two slopes in sigma: both are of
second order, and on 18 steps they are not the same numbers.
"""

from ml_collections import ConfigDict

from ddpm_jax.config.base import cifar10


def get_config() -> ConfigDict:
    config = cifar10()
    config.data.batch = 512
    config.data.flip = True
    config.process.schedule = "edm"
    config.process.steps = 0
    config.process.sigma_min = 0.002
    config.process.sigma_max = 80.0
    config.process.rho = 7.0
    config.model.name = "ncsnpp"
    config.model.prediction = "F"
    config.model.variance = "fixed_small"
    config.model.time = "quarter_log_sigma"
    config.model.input = "unit"
    config.model.sigma_data = 0.5
    config.model.multipliers = (2, 2, 2)
    config.model.blocks = 4
    config.model.dropout = 0.13
    config.objective.name = "edm"
    config.objective.times = "log_normal"
    config.objective.log_mean = -1.2
    config.objective.log_deviation = 1.2
    config.sampler.name = "heun"
    config.sampler.steps = 18
    config.sampler.spacing = "karras"
    config.sampler.rho = 7.0
    config.sampler.eta = 0.0
    config.sampler.clip = False
    config.sampler.ema = 0.9992905
    config.optimizer.learning_rate = 1e-3
    config.optimizer.warmup = 19_531
    config.optimizer.clip = 0.0
    config.optimizer.ema = (0.9992905,)
    config.training.steps = 0
    config.training.images = 200_000_000
    return config
