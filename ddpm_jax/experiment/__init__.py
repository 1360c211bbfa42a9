"""From a checked config and a data set's description to the parts of one experiment; nothing here samples or measures.

`base.py` says what comes of it; `gaussian.py` and `ordered.py` choose the parts of experiments with processes of these
kinds, `*_checks.py` say what cannot work together; `options.py` turns sections of a config into arguments. Imports
every room of the mathematics and `generative`; the commands, `evaluation` and `pipeline` import it.
"""

from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from ddpm_jax import data, plugins
from ddpm_jax.data import Dataset, Description
from ddpm_jax.errors import UserError
from ddpm_jax.experiment import gaussian, gaussian_checks, ordered, ordered_checks
from ddpm_jax.experiment.base import Experiment, Family
from ddpm_jax.experiment.options import own
from ddpm_jax.processes import PROCESSES, Refusal

FAMILIES: dict[str, Any] = {"gaussian": gaussian, "ordered": ordered}
"""What an experiment with a process of this kind is made of."""

_CHECKS: dict[str, Any] = {"gaussian": gaussian_checks, "ordered": ordered_checks}


def kind_of(config: ConfigDict) -> str:
    """The kind of the config's process. Raises ValueError for a name that there is not."""
    found = plugins.find(PROCESSES, config.process.name)
    if getattr(found, "kind", None) not in FAMILIES:
        raise ValueError(f"{config.process.name} has no kind: it must be a class, a dj.Gaussian or a dj.Ordered")
    return found.kind


def make(config: ConfigDict, description: Description) -> Experiment:
    """The experiment that a checked config describes, on data of this description."""
    family = FAMILIES[kind_of(config)]
    model = family.model(config, description)
    sampling = family.sampling(config, model, None, None)
    measures, facts = family.measures(config, model), family.facts(config, model)
    return Experiment(config, model, sampling, measures, facts, family)


def load_data(config: ConfigDict) -> Dataset:
    """The config's data set. Raises UserError, within seconds, where it is not there or cannot be read."""
    section = config.data
    splits = {name: words for name, words in section.splits.items() if words}
    return data.load(section.name, section.dir or None, splits or None, own(config, "data.name"))


def refusals(config: ConfigDict) -> Iterator[Refusal]:
    """What cannot work together of values that are each fine, each with its dotted key."""
    try:
        kind = kind_of(config)
    except ValueError as error:
        yield Refusal("process.name", str(error))
        return
    yield from _CHECKS[kind].refusals(config)


def check_data(config: ConfigDict, description: Description) -> None:
    """Refuse what cannot work on these data. Raises UserError: one line that starts with the key to change."""
    try:
        _CHECKS[kind_of(config)].check_data(config, description)
    except ValueError as error:
        raise UserError(f"config.model.name: {error}") from error


__all__ = ["FAMILIES", "Experiment", "Family", "check_data", "kind_of", "load_data", "make", "refusals"]
