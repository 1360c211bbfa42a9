"""Every key of a config: its default, which decides its type, what it means, and its bounds; here and nowhere else."""

import ast
import decimal
import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Key:
    """What there is to know of a key.

    Attributes:
        default: of the type that a value must have; `{}` is a section for the options of a user's own part.
        meaning: in a few words.
        least: a value is at least this.
        above: a value is above this.
        most: a value is at most this.
        below: a value is below this.
        some: how many there must be, of what may also be none: fewer have no distance, or no standard error.
        bits: how many a whole number may have: a longer seed would be cut, and be another's twin.
        of: the kinds of process that alone read it, with a space between; empty: any.
        item: the type of a tuple's items, where its default has none.
        off: what says nothing, where it is not the default: what a process of another kind leaves it at.
    """

    default: Any
    meaning: str
    least: float | int | None = None
    above: float | int | None = None
    most: float | int | None = None
    below: float | int | None = None
    some: int = 0
    bits: int = 31
    of: str = ""
    off: Any = None
    item: type | None = None

    @property
    def silent(self) -> Any:
        """The value that says nothing."""
        return self.default if self.off is None else self.off

    def mistyped(self, value: Any) -> str | None:
        """What is wrong with the type of a value, or with a number that cannot be kept; None where nothing is."""
        kind = type(self.default)
        items = value if kind is tuple and isinstance(value, tuple) else ()
        of = self.item or (type(self.default[0]) if items and self.default else int)
        if not _of(kind, value):
            return f"{value!r} is not of type {kind.__name__}"
        bounds = ((value, kind, self.bits), *((item, of, 31) for item in items))
        return next((reason for number, kind, bits in bounds if (reason := _unkept(number, kind, bits))), None)

    def parsed(self, text: str) -> Any:
        """The value that a word of the command line means. Raises ValueError, in a few words, where it means none."""
        kind, words = type(self.default), f"{text!r} is not of type {type(self.default).__name__}"
        if kind is str:
            return text
        if kind is bool and text.lower() in ("true", "false", "1", "0"):
            return text.lower() in ("true", "1")
        if self.item is str and not text.strip().startswith(("(", "[")):
            return tuple(filter(None, (word.strip() for word in text.split(","))))
        try:
            value = float(text) if kind is float else ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise ValueError(words) from error
        if value == 0 and kind is float and decimal.Decimal(text):
            raise ValueError(f"{text} is too small to be told from 0; 0 means none where there may be none")
        if kind is tuple:
            value = (
                (value,) if isinstance(value, int | float | str) else tuple(value) if isinstance(value, list) else value
            )
        if not _of(kind, value):
            raise ValueError(words)
        return value

    def missed(self, value: Any) -> str | None:
        """How a number is out of bounds; None where it is not."""
        low = value < self.least if self.least is not None else self.above is not None and not value > self.above
        high = value > self.most if self.most is not None else self.below is not None and not value < self.below
        if 0 < value < self.some:
            return f"{value} is less than {self.some}; 0 is none"
        if not (low or high):
            return None
        if self.most is None and self.below is None:
            return f"{value} is not above {self.above}" if self.least is None else f"{value} is less than {self.least}"
        start = f"({self.above}" if self.least is None else f"[{self.least}"
        return f"{value} is not in {start}, " + (f"{self.below})" if self.most is None else f"{self.most}]")


def _of(kind: type, value: Any) -> bool:
    """Whether a value is of the type; a whole number is a real, and True is no number."""
    good = isinstance(value, kind) or (kind is float and isinstance(value, int))
    return good and (kind is bool or not isinstance(value, bool))


def _unkept(value: Any, kind: type, bits: int) -> str | None:
    """Why a value cannot be kept: of another type, not finite, or a float that float32 takes for 0 or infinity."""
    if not _of(kind, value):
        return f"{value!r} is not of type {kind.__name__}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not finite"
    if isinstance(value, float) and value and not SMALLEST_FLOAT <= abs(value) <= LARGEST_FLOAT:
        size = "small to be told from 0" if abs(value) < 1 else "large for float32"
        return f"{value:g} is too {size}; 0 means none where there may be none"
    if kind is int and value >= 2**bits:
        return f"{value} is not below 2^{bits}"
    return None


SMALLEST_FLOAT, LARGEST_FLOAT = 1.1754944e-38, 3.4028235e38
"""Of normal numbers in float32: below, a number may be taken for 0, and 0 means "none" for many keys."""

KEYS: dict[str, Key] = {
    # the run
    "seed": Key(0, "of all randomness of the run", least=0, bits=32),
    "name": Key("", "what reports call the run: runs of one name differ by their seed, and are one line"),
    # data
    "data.name": Key("digits", "digits, folder for your own pictures, or any image data set in a TFDS data directory"),
    "data.options": Key({}, "of a data set by a dotted path, package.module:function: its keyword arguments"),
    "data.dir": Key("", "your folder; or the TFDS data directory, empty: $TFDS_DATA_DIR, else TFDS's own default"),
    "data.size": Key(
        0, "of a folder's pictures: the shorter side becomes this, the middle is cut out; 0: as is", least=0
    ),
    "data.channels": Key(0, "likewise: 1, 3, or 4 with alpha; 0: 3, or 1 where no picture has colour", least=0, most=4),
    "data.background": Key("white", "likewise: the colour that transparent pictures are laid on, also as #rrggbb"),
    "data.skip_bad": Key(False, "likewise: leave out files that cannot be read, and say how many"),
    "data.held_out": Key(0.1, "likewise: the share for a split that is missing, by content", above=0, below=0.5),
    "data.split_seed": Key(0, "likewise: of that", least=0),
    "data.levels": Key(
        0, "round the data's to so many, which are fewer; 0: all that they have", least=0, some=2, most=255
    ),
    "data.views": Key(
        (), "pictures made of each image, as conditions: edges, grey, small, known (the image with a hole)", item=str
    ),
    "data.view_noise": Key(0.0, "the greatest deviation of noise that training adds to them; 0: none", least=0, most=2),
    "data.splits.train": Key("", "such as train[:55000]"),
    "data.splits.validation": Key("", "likewise, for the validation loss"),
    "data.splits.test": Key("", "likewise, for the figures"),
    "data.batch": Key(128, "global: all devices together", least=1),
    "data.flip": Key(False, "random horizontal flips in training"),
    "data.placement": Key("auto", "where training data live: device, host, or auto by size"),
    # process
    "process.name": Key("gaussian", "noise on all sites; ordered: sites are hidden; uniform: values are replaced"),
    "process.options": Key({}, "these and all `options` below: of a part by a dotted path, its keyword arguments"),
    "process.schedule_options": Key({}, "likewise"),
    "process.order_options": Key({}, "likewise"),
    "process.schedule": Key("ddpm_linear", "of noise, or of the share of sites that is kept, such as linear or cosine"),
    "process.steps": Key(1000, "T of training and the bound; 0: continuous time, or an order's chunks", least=0),
    "process.order": Key("raster", "of an ordered process", of="ordered"),
    "process.order_seed": Key(0, "of the order fixed", least=0, of="ordered"),
    "process.chunk": Key(1, "sites that are hidden or revealed at once; 0: all there are", least=0, of="ordered"),
    "process.sites": Key("pixels", "what is hidden at once: pixels, or channels apart", of="ordered"),
    "process.t_min": Key(0.0, "in continuous time, the least a network sees; 0: the schedule's own", least=0, below=1),
    "process.decoder_variance": Key(
        "first_step", "of the bound's last interval: first_step or second_step", of="gaussian"
    ),
    "process.beta_min": Key(0.0, "this and the next are of schedules; 0: their own default", least=0, of="gaussian"),
    "process.beta_max": Key(0.0, "likewise", least=0, of="gaussian"),
    "process.sigma_min": Key(0.0, "likewise", least=0, of="gaussian"),
    "process.sigma_max": Key(0.0, "likewise", least=0, of="gaussian"),
    "process.rho": Key(0.0, "likewise", least=0, of="gaussian"),
    "process.shift": Key(0.0, "likewise", least=0, of="gaussian"),
    "process.gamma_min": Key(0.0, "of a learned schedule: -log SNR where it starts", of="gaussian"),
    "process.gamma_max": Key(0.0, "likewise, where it ends", of="gaussian"),
    "process.offset": Key(0.0, "of ddpm_cosine; 0: its own default", least=0, of="gaussian"),
    "process.cap": Key(0.0, "likewise: its largest beta", least=0, below=1, of="gaussian"),
    "process.zero_terminal": Key(False, "rescale a table to end in pure noise (Lin et al. 2023)", of="gaussian"),
    "process.table_file": Key("", "of the schedule table: a .npy, .npz or .csv with T numbers", of="gaussian"),
    "process.table_values": Key("betas", "what it holds: betas, or alphas_cumprod", of="gaussian"),
    "process.exponent": Key(0.0, "of the share of visible sites polynomial; 0: its own", least=0, of="ordered uniform"),
    # model
    "model.name": Key("unet", "or a dotted path, as for every key that names a part: package.module:function"),
    "model.options": Key({}, "of a network by a dotted path"),
    "model.prediction": Key("epsilon", "what the raw output means"),
    "model.components": Key(10, "logistics in the mixture of the prediction logistics", least=1),
    "model.vocabulary": Key(0, "how many levels the data must have; 0: any number", least=0),
    "model.variance": Key("fixed_large", "of x given x_t: fixed or learned", of="gaussian", off="fixed_small"),
    "model.time": Key("index", "how the network is told the time (c_noise); hidden: the share of hidden sites"),
    "model.input": Key("none", "scaling of x_t (c_in): none, or unit for unit variance", of="gaussian"),
    "model.sigma_data": Key(0.5, "the deviation of a pixel, for unit inputs, F and the edm objective", above=0),
    "model.conditions": Key((), "what the network is told, by name, such as label or text", item=str),
    "model.text_encoder": Key("", "the folder of a frozen BERT that reads texts first; empty: trained words"),
    "model.text_channels": Key(64, "of the transformer that reads a text", least=8),
    "model.text_depth": Key(2, "its blocks", least=0),
    "model.text_tokens": Key(True, "a text is given word by word too, not only as a whole"),
    "model.channels": Key(128, "features, at full size", least=1),
    "model.multipliers": Key((1, 2, 2, 2), "channels at each resolution"),
    "model.blocks": Key(2, "residual blocks at each resolution", least=1),
    "model.attention_resolutions": Key((16,), "sizes of the first spatial axis at which there is attention"),
    "model.heads": Key(1, "of attention", least=1),
    "model.groups": Key(32, "of group normalisation", least=1),
    "model.scale_shift": Key(False, "the time scales and shifts what is normalised; else it is added"),
    "model.fourier_features": Key((), "powers n of sin(2^n pi x) and cos(2^n pi x) beside the input"),
    "model.patch": Key(2, "the transformer's: the side of a patch", least=1),
    "model.depth": Key(12, "the transformer's: blocks", least=1),
    "model.context": Key(2, "of sequences: a site is given its neighbours, this far along every axis", least=0),
    "model.dropout": Key(0.1, "the probability of dropping a value", least=0, below=1),
    "model.dtype": Key("float32", "of activations, or bfloat16; parameters are float32"),
    "model.remat": Key(False, "compute activations again in the backward pass and save their memory"),
    "model.remat_keep": Key("inputs", "what remat keeps of a block: inputs, or also products"),
    "model.attention": Key("xla", "or fused: in training not all weights are held; by a kernel where there is one"),
    # objective
    "objective.name": Key("simple", "what is minimised"),
    "objective.options": Key({}, "of an objective by a dotted path"),
    "objective.times_options": Key({}, "of training times by a dotted path"),
    "objective.times": Key("uniform", "where in time training looks"),
    "objective.log_mean": Key(-1.2, "of log sigma/alpha, for log_normal times"),
    "objective.log_deviation": Key(1.2, "likewise", above=0),
    "objective.logit_mean": Key(0.0, "of log(t/(1 - t)), for logit_normal times"),
    "objective.logit_deviation": Key(1.0, "likewise", above=0),
    "objective.decoder": Key(0.0, "in continuous time, the last interval's share", least=0, below=1, of="gaussian"),
    "objective.min_snr": Key(5.0, "gamma of min_snr", above=0),
    "objective.sigmoid_bias": Key(2.0, "b of sigmoid"),
    "objective.hybrid": Key(0.001, "weight of the bound in hybrid", least=0),
    "objective.condition_drop": Key(0.1, "how often a network is told nothing", least=0, below=1),
    "objective.condition_drop_each": Key(0.0, "how often it is not told one of several", least=0, below=1),
    "objective.condition_drop_own": Key((), "or a share of its own for some, name:share, such as text:0.1", item=str),
    # sampler
    "sampler.name": Key("first_order", "the solver; ddpm and ddim are first_order with eta 1 and 0"),
    "sampler.options": Key({}, "of a solver by a dotted path"),
    "sampler.steps": Key(1000, "intervals of the time grid; 0: one for each chunk of an order", least=0),
    "sampler.spacing": Key("trailing", "of the time grid"),
    "sampler.order": Key("", "another to reveal sites in; empty: the process's own", of="ordered"),
    "sampler.rho": Key(7.0, "of karras spacing", above=0),
    "sampler.sigma_min": Key(0.0, "of karras and log_snr: the last sigma/alpha; 0: at t_min", least=0, of="gaussian"),
    "sampler.sigma_max": Key(0.0, "likewise, the first; 0: at t = 1", least=0, of="gaussian"),
    "sampler.beta_a": Key(0.6, "of beta spacing: quantiles of Beta(a, b)", above=0, of="gaussian"),
    "sampler.beta_b": Key(0.6, "likewise", above=0, of="gaussian"),
    "sampler.times": Key((), "in place of steps and spacing: the times themselves, falling from 1 to 0", item=float),
    "sampler.sigmas": Key((), "likewise, by their sigma/alpha, falling to 0", item=float, of="gaussian"),
    "sampler.between": Key(False, "visit times between the T of training: a table is interpolated", of="gaussian"),
    "sampler.restarts": Key(0, "how often to go up and down a range again (Xu et al. 2023)", least=0, of="gaussian"),
    "sampler.restart_range": Key((0.06, 0.3), "which: from and to, in sigma/alpha", of="gaussian"),
    "sampler.eta": Key(1.0, "1: fresh noise (DDPM); 0: none (DDIM). How many sites are hidden again", least=0),
    "sampler.remask_cap": Key(
        1.0, "the greatest chance that a step hides a visible site again; 1: none", least=0, most=1, of="ordered"
    ),
    "sampler.noise_law": Key("ddim", "what eta means between 0 and 1, and above: ddim or sde", of="gaussian"),
    "sampler.noise_scale": Key(1.0, "S_noise, a factor on fresh noise, without churn", least=0, of="gaussian"),
    "sampler.solver_order": Key(
        0, "of adams_bashforth, deis, unipc: how many values they go by; 0: their own", least=0, most=4, of="gaussian"
    ),
    "sampler.coordinate": Key("line", "along which heun and adams_bashforth step: line or noise_ratio", of="gaussian"),
    "sampler.clip": Key(True, "keep the estimate of the clean image in a range", of="gaussian", off=False),
    "sampler.clip_range": Key((-1.0, 1.0), "which: its ends", of="gaussian"),
    "sampler.threshold": Key(0.0, "dynamic thresholding at this quantile; 0: none", least=0, below=1, of="gaussian"),
    "sampler.temperature": Key(1.0, "of the logits of levels", above=0, of="ordered uniform"),
    "sampler.top_k": Key(0, "the most likely levels to draw from; 0: all", least=0, of="ordered uniform"),
    "sampler.nucleus": Key(
        1.0, "the least probability of the levels to draw from", above=0, most=1, of="ordered uniform"
    ),
    "sampler.confidence_temperature": Key(0.0, "of confidence; 0: the surest sites first", least=0, of="ordered"),
    "sampler.guidance": Key(1.0, "weight of a conditional network; 1: none, 0: unconditional", least=0),
    "sampler.guidance_each": Key((), "or a weight for each condition, name:weight, told one after another", item=str),
    "sampler.guidance_interval": Key((0.0, 1.0), "the times (low, high] in which there is guidance"),
    "sampler.guidance_rescale": Key(0.0, "phi of Lin et al. 2024; 0: none", least=0, most=1, of="gaussian"),
    "sampler.guidance_parallel": Key(1.0, "eta of projected guidance; 1: none", least=0, most=1, of="gaussian"),
    "sampler.guidance_limit": Key(0.0, "greatest norm of projected guidance; 0: none", least=0, of="gaussian"),
    "sampler.weak": Key("", "guide away from another run, its folder, FOLDER:STEP, or :STEP of this run"),
    "sampler.classifier": Key(
        "", "the folder of a classifier's run, which leads to the label asked for", of="gaussian"
    ),
    "sampler.classifier_scale": Key(1.0, "of the classifier's gradient; 1: Bayes' rule", least=0, of="gaussian"),
    "sampler.churn": Key(0.0, "Karras et al. 2022: S_churn; 0: none", least=0),
    "sampler.churn_min": Key(0.0, "in sigma/alpha", least=0),
    "sampler.churn_max": Key(1e9, "likewise", least=0),
    "sampler.churn_noise": Key(1.0, "S_noise, the factor on the noise that is added", least=0),
    "sampler.predict": Key(True, "False: predictor_corrector without its predictor", of="gaussian"),
    "sampler.corrector_steps": Key(1, "Langevin steps at each time", least=1),
    "sampler.snr": Key(0.16, "of the corrector's step", above=0),
    "sampler.langevin_step": Key(2e-5, "epsilon of annealed_langevin", above=0),
    "sampler.rtol": Key(1e-4, "of tsit5", above=0),
    "sampler.atol": Key(1e-4, "likewise", above=0),
    "sampler.ema": Key(0.9999, "which average of the parameters is used; 0: the raw ones", least=0, below=1),
    "sampler.batch": Key(64, "global", least=1),
    # optimizer
    "optimizer.name": Key("adam", "adam, adamw or sgd"),
    "optimizer.learning_rate": Key(2e-4, "at its peak", above=0),
    "optimizer.warmup": Key(5000, "steps", least=0),
    "optimizer.schedule": Key("constant", "times the warm-up; over the fraction of the budget"),
    "optimizer.clip": Key(1.0, "global norm of the gradient; 0: none", least=0),
    "optimizer.b1": Key(0.9, "of Adam; the momentum of sgd", least=0, below=1),
    "optimizer.b2": Key(0.999, "of Adam", least=0, below=1),
    "optimizer.epsilon": Key(1e-8, "of Adam", above=0),
    "optimizer.weight_decay": Key(0.0, "adamw", least=0),
    "optimizer.ema": Key((0.9999,), "decays of the averages to keep"),
    # training
    "training.steps": Key(800_000, "the run ends at the first of these four; 0: no limit", least=0),
    "training.images": Key(0, "seen", least=0, bits=63),
    "training.seconds": Key(0.0, "in the loop, compilation included", least=0),
    "training.flops": Key(0.0, "of the model", least=0),
    "training.dispatch": Key(10, "steps in one compiled program", least=1),
    "training.accumulate": Key(1, "cut a batch into so many parts, to need less memory", least=1),
    "training.skip_bad": Key(0, "steps in a row whose gradient may be infinite; 0: the first ends the run", least=0),
    "training.log_every": Key(100, "steps between two rows of metrics.jsonl", least=1),
    "training.save_every": Key(5000, "steps, each time with the validation loss", least=1),
    "training.save_minutes": Key(0.0, "also save when so many minutes have gone by; 0: by steps alone", least=0),
    "training.keep_latest": Key(2, "checkpoints to keep", least=1),
    "training.keep_every": Key(0, "also keep, for good, each checkpoint at a multiple of this; 0: none", least=0),
    # evaluation
    "evaluation.features": Key(
        "classifier", "of sample quality: a small classifier suited to the data, or one by name"
    ),
    "evaluation.features_options": Key({}, "of features by a dotted path"),
    "evaluation.samples": Key(10_000, "for the distances, at most the test split's size; 0: none", least=0, some=4),
    "evaluation.curve": Key((), "numbers of sampler steps at which the quality of samples is measured as well"),
    "evaluation.curve_orders": Key(("",), "and the orders in which, as in sampler.order", of="ordered"),
    "evaluation.curve_guidance": Key((), "guidance weights to measure samples at as well", item=float),
    "evaluation.raw": Key(False, "measure the raw parameters too, where it is an average that is evaluated"),
    "evaluation.history": Key(False, "measure likelihood and quality at every checkpoint kept"),
    "evaluation.likelihood_images": Key(10_000, "at most, of training and test split; 0: none", least=0, some=2),
    "evaluation.likelihood_groups": Key(100, "evaluations of a bound; 0, and in a fixed order: all T", least=0),
    "evaluation.decoder_noise": Key(0.0, "sigma/alpha where the decoder takes over; 0: last", least=0, of="gaussian"),
    "evaluation.ode_images": Key(0, "test images for the probability-flow likelihood; 0: none", least=0, of="gaussian"),
    "evaluation.ode_draws": Key(1, "of the uniform dequantisation", least=1),
    "evaluation.ode_tolerance": Key(1e-3, "of the solver, in nats per dimension", above=0),
    "evaluation.ode_divergence": Key("hutchinson", "or exact: as many Jacobian products as an image has values"),
    "evaluation.exact_images": Key(0, "test images for one order's exact likelihood; 0: none", least=0, of="ordered"),
    "evaluation.order": Key("raster", "that order"),
    "evaluation.validation_images": Key(1000, "for the loss at each checkpoint", least=1),
    "evaluation.prompts": Key((), "captions to draw at each milestone, to watch a model learn them", item=str),
    "evaluation.at_end": Key(True, "evaluate when training ends, not only by the command"),
    "evaluation.pictures": Key(True, "draw a grid of samples and a film strip when training ends"),
    # parallel
    "parallel.map": Key("jit", "jit, or pmap for the devices of one process"),
    "parallel.shard": Key("replicated", "replicated, or fsdp: parameters are spread over the devices"),
    "parallel.group": Key(0, "of fsdp: how many devices share one state; 0: what leaves the least on each", least=0),
    "parallel.loop": Key("auto", "who repeats the steps of a dispatch: device (auto), in one program, or host"),
    "parallel.distributed": Key(False, "several processes: call jax.distributed.initialize() first"),
    # logging
    "logging.wandb": Key("offline", "offline, online or off"),
    "logging.project": Key("ddpm_jax", "of W&B"),
    "logging.group": Key("", "of W&B"),
    "logging.tensorboard": Key(False, "write event files for TensorBoard as well"),
}

OF_FOLDERS = ("size", "channels", "background", "skip_bad", "held_out", "split_seed")
"""Keys of data that are read for the user's own pictures alone: options of `data.folders.load`."""

ETA = {
    **dict.fromkeys(("ddpm", "reverse_diffusion", "predictor_corrector", "annealed_langevin"), 1.0),
    **dict.fromkeys(("ddim", "heun", "dpm_2s", "unipc", "adams_bashforth", "deis", "pndm"), 0.0),
    **dict.fromkeys(("tsit5", "cached", "confidence"), 0.0),
}
"""The one eta of a solver that can do no other. Whoever asks for such a solver by name need not give it."""

IN_PYTHON = "in Python"
"""The `model.name` of a run whose model was made in Python: its config has the settings of training only."""

OPTIONS = {
    "data.name": "data.options",
    "process.name": "process.options",
    "process.schedule": "process.schedule_options",
    "process.order": "process.order_options",
    "model.name": "model.options",
    "objective.name": "objective.options",
    "objective.times": "objective.times_options",
    "sampler.name": "sampler.options",
    "evaluation.features": "evaluation.features_options",
}
"""Where the options of a part by a dotted path stand, which are its keyword arguments."""


def is_option(key: str) -> bool:
    """Whether a dotted key is an option of a user's own part."""
    return any(key.startswith(f"{section}.") for section in OPTIONS.values())
