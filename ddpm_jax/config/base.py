"""The base config, and those of the data sets at hand."""

from typing import Any

from ml_collections import ConfigDict

from ddpm_jax.config.keys import KEYS
from ddpm_jax.errors import UserError
from ddpm_jax.plugins import FOLDER


def base() -> ConfigDict:
    """The base config: DDPM's CIFAR-10 recipe (Ho et al. 2020, appendix B) on the embedded digits; see `keys.KEYS`."""
    config = ConfigDict()
    place: Any
    for name, key in KEYS.items():
        *sections, last = name.split(".")
        place = config
        for section in sections:
            if section not in place:
                place[section] = ConfigDict()
            place = place[section]
        place[last] = ConfigDict() if key.default == {} else key.default
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


def still_lifes(size: str = "small") -> ConfigDict:
    """The base on still lifes with captions: `small` is 16x16 for two CPU cores and less than an hour, `full` 32x32.

    Evaluated is what the pictures show (`adherence`) beside the distances.
    """
    config = base()
    full = size == "full"
    config.data.name = "still_lifes/32" if full else "still_lifes"
    config.data.levels = 16  # of 256 most bits are the ground's shade, which ordered members would learn first
    config.data.batch = 256 if full else 32
    config.model.conditions = ("text",)
    config.model.sigma_data = 0.4
    config.model.multipliers = (1, 2, 2)
    config.model.attention_resolutions = (16, 8) if full else (8,)
    config.model.dropout = 0.0
    _for_two_cores(config)
    if full:
        config.model.channels, config.model.blocks = 128, 2
        config.optimizer.learning_rate = 3e-4
    config.model.text_channels = 256 if full else 64
    config.sampler.guidance = 3.0
    config.training.steps = 100_000 if full else 24_000
    config.training.save_every = 2000
    config.evaluation.samples = 1000
    config.evaluation.prompts = (
        *("a red apple", "a green banana", "three small limes", "a large blue cup on a white plate"),
        *("two yellow pears left of a pink bottle", "a white mushroom above a purple watermelon"),
    )
    return config


def pictures(size: str = "32") -> ConfigDict:
    """The base on a folder of one's own pictures, of so many pixels a side, for two CPU cores; where it is is not said.

    The U-Net halves the side until it is at most 8, or odd, and has attention there if it is at most 16.

    Raises:
        UserError: the size is no whole number from 4 to 256.
    """
    if not (size.isdecimal() and 4 <= int(size) <= 256):
        raise UserError(f"size {size!r}: give the pixels of a side, 4 to 256, such as flow.py:32")
    config, side = base(), int(size)
    config.data.name = FOLDER
    config.data.size = side
    config.data.batch = 32
    multipliers = [1]
    while side > 8 and side % 2 == 0:
        multipliers.append(2)
        side //= 2
    config.model.multipliers = tuple(multipliers)
    config.model.attention_resolutions = (side,) if side <= 16 else ()
    _for_two_cores(config)
    config.training.steps = 4000
    config.training.save_every = 500
    return config


def _for_two_cores(config: ConfigDict) -> None:
    """The small U-Net of pictures in colour, and how it is trained."""
    config.model.channels = 32
    config.model.blocks = 1
    config.model.heads = 4
    config.model.groups = 8
    config.sampler.ema = 0.999
    config.optimizer.learning_rate = 1e-3
    config.optimizer.warmup = 200
    config.optimizer.schedule = "cosine"
    config.optimizer.ema = (0.999,)
    config.evaluation.likelihood_images = 0
