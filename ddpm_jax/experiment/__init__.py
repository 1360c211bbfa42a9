"""From a checked config and a data set's description to the objects of one experiment. Commands share this room.

`base.py` holds what every experiment does (loss, samples); `gaussian.py` and `ordered.py` say what a process of that
name is made of, what its network is told and puts out, its time grids and its likelihoods; `*_checks.py` refuse what
cannot work together; `options.py` turns sections of a config into arguments. Imports every room below; the commands,
`evaluation` and `pipeline` import it.
"""

from typing import Any

from ml_collections import ConfigDict

from ddpm_jax.data import Description
from ddpm_jax.experiment import gaussian_checks, ordered_checks
from ddpm_jax.experiment.base import (
    LIKELIHOOD,
    PARAMETERS,
    SAMPLES,
    TRAINING,
    VALIDATION,
    Experiment,
    Measure,
    purpose_key,
)
from ddpm_jax.experiment.gaussian import GaussianExperiment
from ddpm_jax.experiment.ordered import OrderedExperiment

EXPERIMENTS: dict[str, type[Experiment]] = {"gaussian": GaussianExperiment, "ordered": OrderedExperiment}
"""What an experiment with a process of this name is made of."""

_CHECKS: dict[str, Any] = {"gaussian": gaussian_checks, "ordered": ordered_checks}


def make(config: ConfigDict, description: Description) -> Experiment:
    """The experiment that a checked config describes, on data of this description."""
    return EXPERIMENTS[config.process.name](config, description)


def check(config: ConfigDict) -> None:
    """Refuse values that are each fine and cannot work together. Raises UserError: one line that starts with a key."""
    _CHECKS[config.process.name].check(config)


def check_data(config: ConfigDict, description: Description) -> None:
    """Refuse what cannot work on these data. Raises UserError as `check`."""
    _CHECKS[config.process.name].check_data(config, description)


__all__ = [
    "EXPERIMENTS",
    "LIKELIHOOD",
    "PARAMETERS",
    "SAMPLES",
    "TRAINING",
    "VALIDATION",
    "Experiment",
    "Measure",
    "check",
    "check_data",
    "make",
    "purpose_key",
]
