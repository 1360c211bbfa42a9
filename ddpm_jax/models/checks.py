"""Checks that networks share on what a config may choose. An option of two networks means the same in both."""

import math
from dataclasses import MISSING, fields
from typing import Any

import jax.numpy as jnp

from ddpm_jax.errors import UserError, nearest
from ddpm_jax.models.remat import KEEPS
from ddpm_jax.plugins import Options

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
"""The option `dtype`, which every network has, and the type of its activations."""

ATTENTIONS = ("xla", "fused")
"""The option `attention`."""

TEXT_HEADS = 4
"""Of the transformer that reads a text: its channels are a multiple of it."""


def of_module(module: type) -> dict[str, Any]:
    """The fields of a Linen module that have a default, and the default; without `conditioning`, `sites` and `causal`,
    which are not for a config's model section to choose."""
    ours = (
        field for field in fields(module) if field.name not in ("conditioning", "sites", "causal", "parent", "name")
    )
    return {field.name: field.default for field in ours if field.default is not MISSING}


def chosen(network: str, defaults: Options, shape: tuple[int, ...], options: Options) -> dict[str, Any]:
    """`options` on top of `defaults`, each of its default's type; `dropout` and `dtype` within what they may be.

    Raises:
        UserError: an option that `network` (as an error line may call it) does not have, or of another type.
        ValueError: `shape` is not `(*space, channels)`: no config can mend that.
    """
    if len(shape) < 2:
        raise ValueError(f"shape is {shape}; it must be (*space, channels) with at least one spatial axis")
    for name, value in options.items():
        require(name in defaults, name, f"{network} has no such option; {nearest(name, defaults)}")
        check_type(name, value, defaults[name])
    values = {**defaults, **options}
    dropout, dtype = values["dropout"], values["dtype"]
    require(0 <= dropout < 1, "dropout", f"{dropout} is not a probability in [0, 1)")
    require(dtype in DTYPES, "dtype", f"{dtype!r} is unknown; {nearest(dtype, DTYPES)}")
    for name, choices in (("remat_keep", KEEPS), ("attention", ATTENTIONS)):
        value = values.get(name)  # not every network has both
        require(value is None or value in choices, name, f"{value!r} is unknown; {nearest(str(value), choices)}")
    return values


def check_type(name: str, value: Any, default: Any) -> None:
    """Raises UserError unless `value` is of the type of the option's default (a whole number may be a real)."""

    def whole(number: Any) -> bool:
        return isinstance(number, int) and not isinstance(number, bool)

    if isinstance(default, tuple):
        good = isinstance(value, tuple) and all(map(whole, value))
        kind = "a tuple of whole numbers"
    elif isinstance(default, bool):
        good, kind = isinstance(value, bool), "True or False"
    elif isinstance(default, float):
        good, kind = whole(value) or (isinstance(value, float) and math.isfinite(value)), "a number"
    elif isinstance(default, int):
        good, kind = whole(value), "a whole number"
    else:
        good, kind = isinstance(value, str), "a string"
    require(good, name, f"{value!r} is not {kind}, such as {default!r}")


def require(condition: bool, name: str, message: str) -> None:
    """Raises UserError about the option `name` unless the condition holds."""
    if not condition:
        raise UserError(f"config.model.{name}: {message}")
