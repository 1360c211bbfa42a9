"""The study's runs: still lifes told in words, by every kind of model, at equal training FLOPs.

    python -m ddpm_jax.train --config=experiments/text_to_image/study.py:flow
    python -m ddpm_jax.sweep --config=experiments/text_to_image/study.py
    python -m ddpm_jax.sweep --config=experiments/text_to_image/study.py:flow,pooled/0,1

The argument is a member; of a sweep it is some members and some seeds, or either: `flow,pooled`, `/0,1`. All have one
U-Net, but for the autoregressor, which needs a causal network. All else that is not the kind's own is the same for all
too: data, text, training FLOPs, guidance, and what is measured.
"""

from collections.abc import Callable, Iterator
from typing import Any

from ml_collections import ConfigDict

from ddpm_jax.config import base, families
from ddpm_jax.errors import UserError, nearest

TRAINING_FLOPS = 3e14
"""Of every run: at most about an hour on two cores that do nothing else."""

SEEDS = (0, 1, 2)

WEIGHTS = (0.0, 1.0, 2.0, 3.0, 5.0, 7.0)
"""Of guidance, at which samples are measured; the others are measured at `WEIGHT`."""
WEIGHT = 3.0

STEPS = (1, 2, 4, 8, 16, 32)
"""Of the sampler, the last its own. Guidance asks the network twice a step: 2 to 64 evaluations."""

SAMPLES = 500
"""At each point of a curve."""


def _of_noise(config: ConfigDict) -> None:
    """One solver for both: it takes any number of steps, and one evaluation a step."""
    config.sampler.name = "dpm_2m"
    config.sampler.eta = 0.0
    config.sampler.clip = True
    config.sampler.steps = STEPS[-1]


def _flow(config: ConfigDict) -> None:
    families.flow(config)
    _of_noise(config)


def _ddpm(config: ConfigDict) -> None:
    families.ddpm(config)
    _of_noise(config)
    config.sampler.spacing = "trailing"


def _masked(config: ConfigDict) -> None:
    families.masked(config)
    config.objective.name = "hidden"
    config.model.prediction = "logistics"  # which couples the colours of a pixel
    config.sampler.steps = STEPS[-1]
    config.sampler.temperature = 0.7  # sites that are drawn together do not know of one another


def _autoregressive(config: ConfigDict) -> None:
    families.autoregressive(config)
    config.model.prediction = "logistics"
    config.model.channels, config.model.depth, config.model.heads = 64, 4, 4
    config.data.batch = 16
    config.sampler.temperature = 0.7  # a pixel at a time, rare mistakes add up


def _pooled(config: ConfigDict) -> None:
    """The control: told the caption as a whole, not its words, which cannot say what belongs to what."""
    _flow(config)
    config.model.text_tokens = False


MEMBERS: dict[str, Callable[[ConfigDict], None]] = {
    "flow": _flow,
    "ddpm": _ddpm,
    "masked": _masked,
    "autoregressive": _autoregressive,
    "pooled": _pooled,
}

FREE = ("flow", "ddpm", "masked", "pooled")
"""Members that can be sampled in any number of steps; an autoregressor takes one a pixel."""


def get_config(member: str = "flow") -> ConfigDict:
    """The config of a member."""
    if member not in MEMBERS:
        raise UserError(f"study.py: there is no member {member!r}; {nearest(member, MEMBERS)}")
    config = base.still_lifes()
    MEMBERS[member](config)
    config.name = member
    config.training.steps = 0
    config.training.flops = TRAINING_FLOPS
    config.sampler.guidance = WEIGHT
    config.evaluation.samples = SAMPLES
    config.evaluation.curve = STEPS if member in FREE else ()
    config.evaluation.curve_guidance = WEIGHTS
    config.logging.wandb = "off"
    return config


def sweep(argument: str = "") -> Iterator[dict[str, Any]]:
    """Each member with each seed: all, or those that the argument names."""
    names, _, numbers = argument.partition("/")
    members = dict.fromkeys(filter(None, names.split(","))) or MEMBERS
    seeds = dict.fromkeys(filter(None, numbers.split(","))) or SEEDS
    for member in members:
        if member not in MEMBERS:
            raise UserError(f"study.py: there is no member {member!r}; {nearest(member, MEMBERS)}")
    for seed in seeds:
        if not str(seed).isdecimal():
            raise UserError(f"study.py: {seed!r} is no seed; give whole numbers, such as 0,1,2")
    for seed in seeds:  # seed by seed, so that a sweep that is cut off has all members
        for member in members:
            yield {"argument": member, "name": member, "seed": int(seed)}
