"""Configs that the tests of this folder change, and how a refusal is told."""

import pytest

from ddpm_jax.config.base import base
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


def refused(check, *arguments):
    with pytest.raises(UserError) as caught:
        check(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)
