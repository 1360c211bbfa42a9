"""The study's runs: every arm on the same data, with the same backbone and the same training FLOPs.

    python -m ddpm_jax.train --config=experiments/why_diffusion/study.py:digits/raster
    python -m ddpm_jax.sweep --config=experiments/why_diffusion/study.py:digits

The argument is a tier and an arm, `known/raster` or `digits/flow`; of a sweep it is a tier (all its arms, three seeds),
`<tier>_rates` (the trials that chose the learning rates in learning_rates.json), or `known_data` (fewer different
training images). What an arm changes is below it; all else is the tier's, and the same for all of its arms.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from ddpm_jax.config import base, families
from ddpm_jax.errors import UserError, nearest

RATES = Path(__file__).with_name("learning_rates.json")
SEEDS = (0, 1, 2)


def _raster_mean(config: ConfigDict) -> None:
    """Pixel by pixel, each the average of what it might be: what is drawn has no chance in it."""
    families.autoregressive(config)
    config.model.prediction = "x0"
    config.objective.name = "causal_regression"


def _causal(order: str, chunk: int) -> Callable[[ConfigDict], None]:
    def change(config: ConfigDict) -> None:
        families.autoregressive(config)
        config.process.order, config.process.chunk = order, chunk

    return change


def _one_shot(config: ConfigDict) -> None:
    families.one_shot(config)
    config.model.name = "transformer"


def _any_order(order: str) -> Callable[[ConfigDict], None]:
    def change(config: ConfigDict) -> None:
        families.random_order(config)
        config.process.order = order
        config.sampler.steps = _steps(config)

    return change


def _noise(prediction: str, schedule: str = "vp") -> Callable[[ConfigDict], None]:
    """Noise on all sites at once; the loss is that of the prediction itself, unweighted."""

    def change(config: ConfigDict) -> None:
        families.vp(config)
        config.model.name = "transformer"
        config.process.schedule = schedule
        config.model.prediction = prediction
        config.objective.name = {"epsilon": "simple"}.get(prediction, prediction)
        config.objective.times = "stratified"
        config.evaluation.likelihood_groups = 32  # of each image's bound
        config.sampler.name = "dpm_2m"
        config.sampler.spacing = "quadratic"
        config.sampler.eta = 0.0
        config.sampler.steps = _steps(config)

    return change


def _with_unet(change: Callable[[ConfigDict], None]) -> Callable[[ConfigDict], None]:
    def with_unet(config: ConfigDict) -> None:
        change(config)
        config.model.name = "unet"

    return with_unet


ARMS: dict[str, Callable[[ConfigDict], None]] = {
    "one_shot": _one_shot,
    "raster_mean": _raster_mean,
    "raster": _causal("raster", 1),
    "blocks_4": _causal("raster", 4),
    "spread_4": _causal("spread", 4),
    "random": _any_order("random"),
    "masked": _any_order("independent"),
    "x0": _noise("x0"),
    "epsilon": _noise("epsilon"),
    "v": _noise("v"),
    "flow": _noise("velocity", "flow"),
    "masked_unet": _with_unet(_any_order("independent")),
    "v_unet": _with_unet(_noise("v")),
}
"""What removes information, what the network may see of it (its mask), and what it says of the rest (its head)."""

FREE = ("random", "masked", "x0", "epsilon", "v", "flow", "masked_unet", "v_unet")
"""Arms that can be sampled in any number of steps; the others take one a group."""


SITES = {"ising": 12, "digits": 64, "mnist": 28 * 28, "cifar10": 32 * 32}
MOST_STEPS = 128
"""Of samplers that may take any number of steps; where there are more sites, some are restored at once."""


def _steps(config: ConfigDict) -> int:
    return min(SITES[config.data.name], MOST_STEPS)


def _common(config: ConfigDict) -> None:
    config.model.dropout = 0.0
    config.optimizer.warmup = 50
    config.optimizer.schedule = "constant"  # so that an early checkpoint is what a smaller budget would have given
    config.optimizer.ema = (0.995,)
    config.sampler.ema = 0.995
    config.evaluation.validation_images = 512
    config.logging.wandb = "off"


def _known() -> ConfigDict:
    """Images of 3x4 from a known law, a new one each time: nothing is overfitted, and the distance to the law exact."""
    config = base.base()
    config.data.name = "ising"
    _common(config)
    config.model.channels, config.model.depth, config.model.heads, config.model.context = 32, 2, 4, 1
    config.model.sigma_data = 1.0
    config.data.batch = 256
    config.sampler.batch = 2048
    config.training.steps = 0
    config.training.flops = 7e11
    config.training.save_every = config.training.keep_every = 320
    config.evaluation.samples = 2**14
    config.evaluation.likelihood_images = 4096
    config.evaluation.decoder_noise = 0.2
    return config


def _digits() -> ConfigDict:
    """scikit-learn's 8x8 digits: real images, of which there are a thousand, so that every arm overfits in time."""
    config = base.digits()
    _common(config)
    config.model.channels, config.model.depth, config.model.heads = 64, 4, 4
    config.model.dropout = 0.1
    config.sampler.batch = 149
    config.training.steps = 0
    config.training.flops = 4e12
    config.training.save_every = config.training.keep_every = 165
    config.evaluation.likelihood_groups = 32
    config.evaluation.likelihood_images = 447
    return config


def _large(config: ConfigDict) -> ConfigDict:
    """A transformer for a GPU, and a budget of training to go with it."""
    _common(config)
    config.model.channels, config.model.depth, config.model.heads = 256, 8, 8
    config.model.dtype = "bfloat16"
    config.data.batch = 128
    config.sampler.batch = 512
    config.optimizer.ema = (0.9999,)
    config.sampler.ema = 0.9999
    config.optimizer.warmup = 1000
    config.training.steps = 0
    config.evaluation.likelihood_images = 1000
    config.evaluation.samples = 10_000
    return config


def _mnist() -> ConfigDict:
    """MNIST: a GPU, or overnight on CPUs with --config.training.flops=1e14."""
    config = _large(base.mnist())
    config.training.flops = 5e16
    config.training.save_every = config.training.keep_every = 5000
    return config


def _cifar10() -> ConfigDict:
    """CIFAR-10: one to eight GPUs, or a TPU pod by launch/."""
    config = _large(base.cifar10())
    config.model.channels, config.model.depth = 512, 12
    config.training.flops = 2e18
    config.training.save_every = config.training.keep_every = 25_000
    return config


@dataclass(frozen=True)
class Tier:
    """One data set and what it is tried with.

    Attributes:
        config: without what an arm changes.
        curve: numbers of sampler steps at which quality is measured too.
        trials: the learning rates that every arm is tried with.
        arms: by name.
        unet: the size of the U-Net that stands beside the transformer.
    """

    config: Callable[[], ConfigDict]
    curve: tuple[int, ...]
    trials: tuple[float, ...]
    arms: tuple[str, ...] = tuple(ARMS)
    unet: Mapping[str, Any] = field(default_factory=dict)


NO_UNET = tuple(arm for arm in ARMS if not arm.endswith("unet"))
LARGE = (1, 2, 4, 8, 16, 32, 64)
DIGITS_UNET = {"model.channels": 16, "model.heads": 1, "training.save_every": 525, "training.keep_every": 525}
"""Its steps are a third as dear as the transformer's."""

TIERS = {
    "known": Tier(_known, (1, 2, 3, 4, 6), (1e-3, 3e-3, 1e-2), NO_UNET),
    "digits": Tier(_digits, (1, 2, 4, 8, 16, 32), (5e-4, 1.5e-3, 4.5e-3), unet=DIGITS_UNET),
    "mnist": Tier(_mnist, LARGE, (1e-4, 3e-4, 1e-3), unet={"model.channels": 64, "model.heads": 4}),
    "cifar10": Tier(_cifar10, LARGE, (1e-4, 2e-4, 4e-4), unet={"model.channels": 128, "model.heads": 4}),
}

FEWER = ("raster", "random", "masked", "v", "flow")
"""Arms that are also trained on fewer different images, of the known law."""


def get_config(argument: str = "digits/raster") -> ConfigDict:
    """The config of one arm in one tier."""
    tier, _, arm = argument.partition("/")
    if tier not in TIERS:
        raise UserError(f"study.py: there is no tier {tier!r}; {nearest(tier, TIERS)}")
    of = TIERS[tier]
    if arm not in of.arms:
        raise UserError(f"study.py: there is no arm {arm!r} in {tier}; {nearest(arm, of.arms)}")
    config = of.config()
    ARMS[arm](config)
    if arm.endswith("unet"):
        config.update_from_flattened_dict(dict(of.unet))
    if config.data.name == "cifar10" and config.model.prediction == "categorical":
        config.model.prediction = "logistics"  # couples the channels of a pixel, which is one site
    config.name = arm
    config.evaluation.ode_images = 0
    if arm in FREE:
        config.evaluation.curve = of.curve
    if arm == "random":
        config.evaluation.curve = (*of.curve, _steps(config))
        config.evaluation.curve_orders = ("", "raster", "spread")
    rates = json.loads(RATES.read_text()) if RATES.exists() else {}
    config.optimizer.learning_rate = rates.get(tier, {}).get(arm, of.trials[1])
    return config


def sweep(argument: str = "digits") -> Iterator[dict[str, Any]]:
    """The members of a tier, of its trials of learning rates, or of the known law with fewer different images."""
    tier, _, kind = argument.partition("_")
    kinds = ("", "rates", "data") if tier == "known" else ("", "rates")
    if tier not in TIERS or kind not in kinds:
        names = [*TIERS, *(f"{name}_rates" for name in TIERS), "known_data"]
        raise UserError(f"study.py: there is no sweep {argument!r}; give one of {', '.join(names)}")
    for arm in TIERS[tier].arms:
        member = {"argument": f"{tier}/{arm}"}
        if kind == "rates":
            half = {"training.flops": get_config(f"{tier}/{arm}").training.flops / 2, "training.keep_every": 0}
            small = {"evaluation.at_end": False, "evaluation.pictures": False, "evaluation.history": False}
            for rate in TIERS[tier].trials:
                name = f"{arm} at {rate:g}"
                yield {**member, "name": name, "optimizer.learning_rate": rate, **half, **small}
        elif kind == "data":
            splits = {"data.splits.validation": "validation", "data.splits.test": "test"}
            for images in (100, 1000) if arm in FEWER else ():
                name = f"{arm} on {images}"
                train = {"name": name, "data.splits.train": f"train[:{images}]"}
                yield {**member, **train, **splits, "evaluation.curve": ()}
        else:
            for seed in SEEDS:
                yield {
                    **member,
                    "name": arm,
                    "seed": seed,
                    "evaluation.history": seed == 0,
                    "evaluation.raw": seed == 0,
                }
