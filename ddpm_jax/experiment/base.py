"""What a checked config describes, on data of a description: a model, and how it is sampled and measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from ml_collections import ConfigDict

from ddpm_jax.conditions import Conditions
from ddpm_jax.data import Description
from ddpm_jax.errors import UserError
from ddpm_jax.files import Facts, Record
from ddpm_jax.generative import Helper, Measure, Model, Sampling


@runtime_checkable
class Family(Protocol):
    """The parts of experiments with processes of one kind, chosen from a checked config; a module of functions."""

    @staticmethod
    def model(config: ConfigDict, description: Description) -> Model:
        """What is trained."""
        ...

    @staticmethod
    def sampling(config: ConfigDict, model: Model, steps: int | None, order: str | None) -> Sampling | None:
        """How images are drawn, in another number of steps or another order if given; None: they are not."""
        ...

    @staticmethod
    def measures(config: ConfigDict, model: Model) -> dict[str, Measure]:
        """Further likelihoods by name."""
        ...

    @staticmethod
    def facts(config: ConfigDict, model: Model) -> Record:
        """How the likelihood is computed, to be kept beside the figures."""
        ...


@dataclass(frozen=True, eq=False)
class Experiment:
    """A model, and how it is sampled and measured.

    Attributes:
        config: the settings of training and of figures; the model does not know it.
        model: what is trained.
        sampling: how images are drawn; None of a classifier, which draws none.
        measures: further likelihoods by name.
        facts: how the likelihood is computed, to be kept beside the figures.
        family: which made the parts; None where they were made by hand.
    """

    config: ConfigDict
    model: Model
    sampling: Sampling | None
    measures: Mapping[str, Measure] = field(default_factory=dict)
    facts: Facts = field(default_factory=dict)
    family: Family | None = None

    @property
    def description(self) -> Description:
        """Of the data."""
        return self.model.description

    @property
    def asked(self) -> Conditions:
        """What samples can be asked to be. Raises UserError: there are none."""
        return self.sampling_in().asked(self.model)

    def helped(self, helpers: Mapping[str, Helper]) -> "Experiment":
        """The same, whose sampler asks these other models."""
        return replace(self, sampling=replace(self.sampling_in(), **helpers)) if helpers else self

    def sampling_in(self, steps: int | None = None, order: str | None = None) -> Sampling:
        """How images are drawn, in another number of steps or another order if given.

        Raises:
            UserError: none are.
        """
        if self.sampling is None:
            raise UserError("this run is a classifier, which draws no images")
        if self.family is None or (steps is None and order is None):
            return self.sampling
        made: Any = self.family.sampling(self.config, self.model, steps, order)
        return replace(made, **self.sampling.helpers)
