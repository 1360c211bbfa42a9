"""The one base config: every key there is, its type by its value, and what it means."""

from ml_collections import ConfigDict


def base() -> ConfigDict:
    """The base config: DDPM's CIFAR-10 recipe (Ho et al. 2020, appendix B) on the embedded digits."""
    config = ConfigDict()
    config.seed = 0
    config.name = ""  # what reports call the run: runs of one name differ by their seed, and are one line

    config.data = data = ConfigDict()
    data.name = "digits"  # digits, or any image data set in a TFDS data directory
    data.options = ConfigDict()  # of a data set by a dotted path, package.module:function: its keyword arguments
    data.dir = ""  # the TFDS data directory; empty: $TFDS_DATA_DIR, else TFDS's own default
    data.splits = splits = ConfigDict()  # in TFDS's words, all three or none; empty: the set's own
    splits.train = ""  # such as train[:55000]
    splits.validation = ""
    splits.test = ""
    data.batch = 128  # global: all devices together
    data.flip = False  # random horizontal flips in training
    data.placement = "auto"  # where training data live: device, host, or auto by size

    config.process = process = ConfigDict()
    process.name = "gaussian"  # noise on all sites at once; or ordered: sites are hidden one after another
    process.options = ConfigDict()  # these and all `options` below: of a part by a dotted path, its keyword arguments
    process.schedule_options = ConfigDict()
    process.order_options = ConfigDict()
    process.schedule = "ddpm_linear"  # of noise; of an ordered process the share of visible sites: linear or cosine
    process.steps = 1000  # T, for training and the bound; 0: continuous time, or as many as an order has chunks
    process.order = "raster"  # of an ordered process
    process.order_seed = 0  # of the order fixed
    process.chunk = 1  # sites that are hidden or revealed at once; 0: all there are
    process.sites = (
        "pixels"  # what is hidden at once: pixels with their channels (which only logistics couple), or channels apart
    )
    process.t_min = 0.0  # in continuous time, the least time a network sees; 0: the schedule's own
    process.beta_min = 0.0  # this and the following are options of schedules; 0: the schedule's own default
    process.beta_max = 0.0
    process.sigma_min = 0.0
    process.sigma_max = 0.0
    process.rho = 0.0
    process.shift = 0.0
    process.gamma_min = 0.0  # of a learned schedule: -log SNR where it starts
    process.gamma_max = 0.0

    config.model = model = ConfigDict()
    model.name = "unet"  # or a dotted path, as for every key that names a part: package.module:function
    model.options = ConfigDict()
    model.prediction = "epsilon"  # what the raw output means
    model.components = 10  # logistics in the mixture of the prediction logistics
    model.vocabulary = 0  # how many levels the data must have, to be refused where they have not; 0: any number
    model.variance = "fixed_large"  # of x given x_t: fixed_large (beta), fixed_small (beta tilde) or learned
    model.time = "index"  # how the network is told the time (c_noise); hidden: the share of hidden sites
    model.input = "none"  # scaling of x_t (c_in): none, or unit for unit variance
    model.sigma_data = 0.5  # the deviation of a pixel of the data, for unit inputs, F and the edm objective
    model.conditional = False  # tell the network the label
    model.channels = 128
    model.multipliers = (1, 2, 2, 2)  # channels at each resolution
    model.blocks = 2  # residual blocks at each resolution
    model.attention_resolutions = (16,)
    model.heads = 1  # of attention
    model.groups = 32  # of group normalisation
    model.scale_shift = False  # the time scales and shifts what is normalised; else it is added
    model.fourier_features = ()  # powers n of sin(2^n pi x) and cos(2^n pi x) beside the input
    model.patch = 2  # the transformer's: the side of a patch
    model.depth = 12  # the transformer's: blocks
    model.context = 2  # the sequence transformers': a site is given its neighbours' values, this far along every axis
    model.dropout = 0.1
    model.dtype = "float32"  # of activations, or bfloat16; parameters are float32
    model.remat = False  # compute activations again in the backward pass and save their memory
    model.remat_keep = "inputs"  # what remat keeps of a block: its inputs, or also products (of matrices, convolutions)
    model.attention = "xla"  # or fused: cuDNN's kernel in training, for bfloat16 on an NVIDIA GPU

    config.objective = objective = ConfigDict()
    objective.name = "simple"
    objective.options = ConfigDict()
    objective.times_options = ConfigDict()
    objective.times = "uniform"  # where in time training looks
    objective.log_mean = -1.2  # of log sigma/alpha, for log_normal times
    objective.log_deviation = 1.2
    objective.logit_mean = 0.0  # of log(t/(1 - t)), for logit_normal times
    objective.logit_deviation = 1.0
    objective.decoder = 0.0  # in continuous time, the share of a batch that is spent on the last interval (0, t_min]
    objective.min_snr = 5.0  # gamma of min_snr
    objective.sigmoid_bias = 2.0  # b of sigmoid
    objective.hybrid = 0.001  # weight of the bound in hybrid
    objective.condition_drop = 0.1  # how often a conditional network is trained without its label

    config.sampler = sampler = ConfigDict()
    sampler.name = "first_order"
    sampler.options = ConfigDict()
    sampler.steps = 1000  # intervals of the time grid; 0: one for each chunk of an order
    sampler.spacing = "trailing"
    sampler.order = ""  # another order to reveal hidden sites in, for a network of any order; empty: the process's own
    sampler.rho = 7.0  # of karras spacing
    sampler.eta = 1.0  # 1: fresh noise (DDPM); 0: none (DDIM). Of hidden sites: how many are hidden again
    sampler.clip = True  # keep the estimate of the clean image in [-1, 1]
    sampler.threshold = 0.0  # dynamic thresholding at this quantile in place of clip, such as 0.995; 0: none
    sampler.temperature = 1.0  # of an ordered process: of the logits of levels
    sampler.top_k = 0  # the most likely levels to draw from; 0: all
    sampler.nucleus = 1.0  # the least probability of the most likely levels to draw from
    sampler.confidence_temperature = 0.0  # of the sampler confidence; 0: the surest sites first
    sampler.guidance = 1.0  # of a conditional network; 1: none
    sampler.churn = 0.0  # Karras et al. 2022: S_churn; 0: none
    sampler.churn_min = 0.0  # in sigma/alpha
    sampler.churn_max = 1e9
    sampler.churn_noise = 1.0
    sampler.corrector_steps = 1  # Langevin steps at each time, of predictor_corrector and annealed_langevin
    sampler.snr = 0.16  # of the corrector's step
    sampler.langevin_step = 2e-5  # epsilon of annealed_langevin
    sampler.rtol = 1e-4  # of tsit5
    sampler.atol = 1e-4
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
    training.accumulate = 1  # cut a batch into so many parts, one after the other, to need less memory
    training.skip_bad = 0  # pass over so many steps in a row whose gradient is not finite; 0: the first ends the run
    training.log_every = 100
    training.save_every = 5000  # steps, each time with the validation loss
    training.save_minutes = 0.0  # also save when so many minutes have gone by; 0: by steps alone
    training.keep_latest = 2
    training.keep_every = 0  # also keep, for good, each checkpoint at a multiple of this; 0: none

    config.evaluation = evaluation = ConfigDict()
    evaluation.features = "classifier"  # of sample quality: a small classifier of the data set's labels
    evaluation.features_options = ConfigDict()
    evaluation.samples = 10_000  # for the distances; at most the size of the test split counts; 0: none
    evaluation.curve = ()  # numbers of sampler steps at which the quality of samples is measured as well
    evaluation.curve_orders = ("",)  # and the orders in which, as in sampler.order
    evaluation.raw = False  # measure the raw parameters too, where it is an average that is evaluated
    evaluation.history = False  # measure likelihood and quality at every checkpoint that is kept, not only the last
    evaluation.likelihood_images = 10_000  # at most, of the training and of the test split; 0: no likelihoods
    evaluation.likelihood_groups = 100  # network evaluations for one image's bound; 0, and in a fixed order: all T
    evaluation.decoder_noise = 0.0  # sigma/alpha below which the bound's decoder takes over; 0: after the last step
    evaluation.ode_images = 0  # at most, of the test split, for the likelihood by the probability-flow ODE; 0: none
    evaluation.ode_draws = 1  # of the uniform dequantisation
    evaluation.ode_tolerance = 1e-3  # of the solver, in nats per dimension
    evaluation.ode_divergence = "hutchinson"  # or exact: as many Jacobian products as an image has values
    evaluation.exact_images = 0  # of the test split, for the exact likelihood of a random order's model in one order
    evaluation.order = "raster"  # that order
    evaluation.validation_images = 1000  # for the loss at each checkpoint
    evaluation.at_end = True  # evaluate when training ends, not only by the command
    evaluation.pictures = True  # draw a grid of samples and a film strip when training ends

    config.parallel = parallel = ConfigDict()
    parallel.map = "jit"
    parallel.shard = "replicated"
    parallel.loop = "auto"  # who repeats the steps of a dispatch: device (auto), in one program, or host
    parallel.distributed = False  # several processes: call jax.distributed.initialize() first

    config.logging = logging = ConfigDict()
    logging.wandb = "offline"
    logging.project = "ddpm_jax"
    logging.group = ""
    logging.tensorboard = False
    return config


def digits() -> ConfigDict:
    """The base on the embedded 8x8 digits, sized for two CPU cores and about five minutes."""
    config = base()
    config.data.batch = 64
    config.model.sigma_data = 0.75
    config.model.channels = 16
    config.model.multipliers = (1, 2)
    config.model.blocks = 2
    config.model.attention_resolutions = (4,)
    config.model.groups = 8
    config.model.dropout = 0.0  # so small a network does not fit the 1,000 images closely
    config.sampler.steps = 100
    config.sampler.ema = 0.995
    config.optimizer.learning_rate = 2e-3
    config.optimizer.warmup = 100
    config.optimizer.schedule = "cosine"
    config.optimizer.ema = (0.995,)
    config.training.steps = 3000
    config.training.save_every = 500
    config.evaluation.decoder_noise = 0.02  # the levels are 0.125 apart
    config.evaluation.ode_images = 10_000
    return config


def cifar10() -> ConfigDict:
    """The base on CIFAR-10, trained on all 50,000 training images as papers do.

    The last 5,000 of them also serve for the validation loss, which is thus one of images that are trained on.
    """
    config = base()
    config.data.name = "cifar10"
    config.data.splits.train = "train"
    config.data.splits.validation = "train[45000:]"
    config.data.splits.test = "test"
    return config


def digits_transformer(config: ConfigDict) -> None:
    """The transformers' size and training on the digits, for two CPU cores and about ten minutes."""
    config.model.channels, config.model.depth, config.model.heads = 96, 4, 4
    config.model.dropout = 0.2
    config.training.steps = 1000
    config.training.save_every = 250


def transformer(config: ConfigDict, size: str = "small") -> None:
    """The transformers' size on images of MNIST: `full` for a GPU, `small` for two CPU cores."""
    full = size == "full"
    config.model.channels, config.model.depth, config.model.heads = (256, 8, 8) if full else (64, 4, 4)
    config.model.dropout = 0.1
    config.data.batch = 128 if full else 32
    config.optimizer.learning_rate = 3e-4 if full else 2e-3


def binarised_mnist(size: str = "full") -> ConfigDict:
    """The base on MNIST with every pixel drawn once, black or white, with its intensity as the chance of white.

    Our own draw: not the static set of the literature.
    """
    config = mnist(size)
    config.data.name = "binarised_mnist"
    config.model.sigma_data = 0.65
    config.evaluation.likelihood_images = 10_000 if size == "full" else 2000
    return config


def mnist(size: str = "full") -> ConfigDict:
    """The base on MNIST: `full` for a GPU, `small` for two CPU cores and about half an hour."""
    config = base()
    config.data.name = "mnist"
    config.model.sigma_data = 0.6
    config.model.multipliers = (1, 2, 2)
    config.model.attention_resolutions = (14,)
    config.training.steps = 100_000
    config.evaluation.likelihood_images = 2000
    if size == "small":
        config.data.batch = 64
        config.model.channels = 16
        config.model.multipliers = (1, 2, 4)
        config.model.blocks = 1
        config.model.attention_resolutions = (7,)
        config.model.groups = 8
        config.optimizer.learning_rate = 1e-3
        config.optimizer.warmup = 200
        config.optimizer.schedule = "cosine"
        config.optimizer.ema = (0.999,)
        config.sampler.ema = 0.999
        config.sampler.steps = 100
        config.training.steps = 3000
        config.training.save_every = 500
        config.evaluation.samples = 500
        config.evaluation.likelihood_images = 128
    elif size != "full":
        raise ValueError(f"size {size!r} is not 'full' or 'small'")
    return config
