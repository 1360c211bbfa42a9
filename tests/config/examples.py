"""Configs that the tests of this folder change, and how a refusal is told."""

import pytest

from ddpm_jax.config.base import base
from ddpm_jax.config.loading import load_config
from ddpm_jax.errors import UserError


def small():
    config = base()
    config.model.multipliers = (1, 2)
    config.model.attention_resolutions = ()
    return config


def changed(**values):
    config = small()
    config.update_from_flattened_dict({key.replace("__", "."): value for key, value in values.items()})
    return config


def from_file(path):
    """The config of a file of the project; where it asks for a folder of pictures, one is named as a user would."""
    config = load_config(str(path))
    if config.data.name == "folder":
        config.data.dir = config.data.dir or "pictures"
    return config


def told(check, *arguments):
    """The lines of a refusal, one for each thing that is wrong."""
    with pytest.raises(UserError) as caught:
        check(*arguments)
    return str(caught.value).split("\n")


def about(key, lines):
    """What the lines, each of which names a key, say of this one."""
    assert all(line.startswith("config.") for line in lines), lines
    return "\n".join(line.removeprefix(f"config.{key}: ") for line in lines if line.startswith(f"config.{key}: "))


def refused(check, *arguments):
    """The line of a refusal for one thing."""
    (line,) = told(check, *arguments)
    return line
