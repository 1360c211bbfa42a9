"""How own data are loaded, what then is held, and how a refusal is told."""

import numpy as np
import pytest

from ddpm_jax import data
from ddpm_jax.errors import UserError


def load(place, splits=None, **options):
    return data.load("folder", place, splits, options)


def line_of(function, *given, **options):
    """The only line of a refusal."""
    with pytest.raises(UserError) as caught:
        function(*given, **options)
    (line,) = str(caught.value).splitlines()
    return line


def refused(function, *given, **options):
    """The line of a refusal, which begins with a key of a config."""
    line = line_of(function, *given, **options)
    assert line.startswith("config.data.")
    return line


def pairs(images, labels):
    """Pictures and their labels, whatever their order."""
    return sorted((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))


def held(dataset):
    """The pairs of each split."""
    found = {}
    for split in dataset.sources:
        images, conditions = dataset.split(split).arrays()
        found[split] = pairs(images, conditions.get("label", np.zeros(len(images), int)))
    return found
