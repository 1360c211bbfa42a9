"""The one base config: every key there is, its type by its value, and what it means."""

from ml_collections import ConfigDict


def base() -> ConfigDict:
    """The base config: DDPM's CIFAR-10 recipe (Ho et al. 2020, appendix B) on the embedded digits."""
    config = ConfigDict()
    config.seed = 0

    config.data = data = ConfigDict()
    data.name = "digits"  # digits, or any image data set in a TFDS data directory
    data.dir = ""  # the TFDS data directory; empty: $TFDS_DATA_DIR, else TFDS's own default
    data.splits = splits = ConfigDict()  # in TFDS's words, all three or none; empty: the set's own
    splits.train = ""  # such as train[:55000]
    splits.validation = ""
    splits.test = ""
    data.batch = 128  # global: all devices together
    data.flip = False  # random horizontal flips in training
    data.placement = "auto"  # where training data live: device, host, or auto by size

    config.process = process = ConfigDict()
    process.name = "gaussian"
    process.schedule = "ddpm_linear"
    process.steps = 1000  # T

    config.model = model = ConfigDict()
    model.name = "unet"
    model.prediction = "epsilon"  # what the raw output means
    model.variance = "fixed_large"  # of x given x_t: fixed_large (beta) or fixed_small (beta tilde)
    model.conditional = False  # tell the network the label
    model.channels = 128
    model.multipliers = (1, 2, 2, 2)  # channels at each resolution
    model.blocks = 2  # residual blocks at each resolution
    model.attention_resolutions = (16,)
    model.groups = 32  # of group normalisation
    model.dropout = 0.1
    model.dtype = "float32"  # of activations, or bfloat16; parameters are float32

    config.objective = objective = ConfigDict()
    objective.name = "simple"
    objective.condition_drop = 0.1  # how often a conditional network is trained without its label

    config.sampler = sampler = ConfigDict()
    sampler.name = "first_order"
    sampler.steps = 1000  # network evaluations
    sampler.spacing = "trailing"
    sampler.eta = 1.0  # 1: ancestral, DDPM; 0: DDIM
    sampler.clip = True  # keep the estimate of the clean image in [-1, 1]
    sampler.guidance = 1.0  # of a conditional network; 1: none
    sampler.ema = 0.9999  # which average of the parameters samples and is evaluated; 0: the raw ones
    sampler.batch = 64  # global

    config.optimizer = optimizer = ConfigDict()
    optimizer.name = "adam"
    optimizer.learning_rate = 2e-4
    optimizer.warmup = 5000  # steps
    optimizer.schedule = "constant"  # times the warm-up; over the fraction of the budget
    optimizer.clip = 1.0  # global norm of the gradient; 0: none
    optimizer.b1 = 0.9
    optimizer.b2 = 0.999
    optimizer.epsilon = 1e-8
    optimizer.weight_decay = 0.0  # adamw
    optimizer.ema = (0.9999,)  # decays of the averages to keep

    config.training = training = ConfigDict()
    training.steps = 800_000  # the run ends at the first of these four that is reached; 0: no limit
    training.images = 0
    training.seconds = 0.0
    training.flops = 0.0
    training.dispatch = 10  # steps in one compiled program
    training.log_every = 100
    training.save_every = 5000
    training.keep_latest = 2
    training.keep_every = 0  # also keep, for good, each checkpoint at a multiple of this; 0: none

    config.evaluation = evaluation = ConfigDict()
    evaluation.samples = 10_000  # for the distances; at most the size of the test split counts
    evaluation.likelihood_images = 10_000  # at most, of the training and of the test split
    evaluation.likelihood_groups = 100  # network evaluations for one image's bound; 0: all T
    evaluation.validation_images = 1000  # for the loss at each checkpoint
    evaluation.at_end = True  # evaluate when training ends, not only by the command
    evaluation.pictures = True  # draw a grid of samples and a film strip when training ends

    config.parallel = parallel = ConfigDict()
    parallel.map = "jit"
    parallel.shard = "replicated"
    parallel.loop = "auto"  # who repeats the steps of a dispatch: device, host, or auto by what is faster
    parallel.distributed = False  # several processes: call jax.distributed.initialize() first

    config.logging = logging = ConfigDict()
    logging.wandb = "offline"
    logging.project = "ddpm_jax"
    logging.group = ""
    logging.tensorboard = False
    return config
