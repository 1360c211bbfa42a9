"""Which features an experiment's samples are measured on, and which classifier says of what class they are."""

from typing import Any

import jax
import numpy as np

from ddpm_jax import plugins
from ddpm_jax.data import Dataset
from ddpm_jax.errors import UserError
from ddpm_jax.experiment import Experiment
from ddpm_jax.metrics.features import Features, load_features
from ddpm_jax.metrics.kept import KEPT, load_kept, suited, tells_classes


def features_of(experiment: Experiment, dataset: Dataset) -> Features:
    """The features of sample quality that the config names.

    Raises:
        UserError: they do not fit the images, or a user's own function returns no `Features`.
    """
    name, description = experiment.config.evaluation.features, experiment.description
    if plugins.dotted(name):
        return _users(experiment, dataset)
    if name == "classifier":
        name = suited(description.name, description.shape) or "trained"
    if name == "trained":
        return _trained(experiment, dataset)
    if len(description.shape) != 3 or description.channels not in (1, KEPT[name].shape[-1]):
        words = f"{name!r} is for pictures of {KEPT[name].shape[-1]} channels, these are {description.shape}"
        raise UserError(f"config.evaluation.features: {words}; choose trained")
    return load_kept(name, len(description.values))


def classifier_of(experiment: Experiment, dataset: Dataset) -> Features | None:
    """Features that tell the data's classes: kept ones if there are and not `trained` is asked; None without labels."""
    asked, description = experiment.config.evaluation.features, experiment.description
    if plugins.dotted(asked):
        found = _users(experiment, dataset)
        return found if found.predict is not None and found.accuracy is not None else None
    name = suited(description.name, description.shape)
    if asked != "trained" and name is not None and tells_classes(name, description.name):
        return load_kept(name, len(description.values))
    found = _trained(experiment, dataset)
    return found if found.accuracy is not None else None


def _trained(experiment: Experiment, dataset: Dataset) -> Features:
    """By the data's own labels, from the cache once they are trained."""
    levels, classes = len(experiment.description.values), experiment.description.labels
    (images, known), (held_out, held_out_known) = (dataset.split(split).first() for split in ("train", "test"))
    speaks = jax.process_index() == 0
    return load_features(
        images, known.get("label"), levels, classes, held_out, held_out_known.get("label"), progress=speaks
    )


def _users(experiment: Experiment, dataset: Dataset) -> Features:
    """Features of the user's own."""
    name = experiment.config.evaluation.features
    function: Any = plugins.find({}, name)
    images, known = dataset.split("train").first()
    labels = known.get("label", np.zeros(len(images), np.int32))
    levels = len(experiment.description.values)
    given = plugins.given(function, train_images=images, train_labels=labels, levels=levels)
    made = function(**given, **experiment.config.evaluation.features_options)
    if not isinstance(made, Features):
        raise UserError(f"config.evaluation.features: {name} must return ddpm_jax.Features")
    return made
