"""The networks: what a denoiser asks for a number at every site.

Lives here: networks and their layers, in Flax Linen, which no other folder imports. To the rest a network is a
`network.Network`, two pure functions. Imports `conditions`, `keys` and `errors` only; anyone above may import it.
A module that makes a network, or an object within one, offers `OPTIONS`, `check(shape, conditioning, **options)` and
`make(shape, out_channels, conditioning, **options)`, where `conditioning` is a `Conditioning` or None.

>>> from ddpm_jax import models
>>> models.options("dit")["depth"]
12
"""

from collections.abc import Iterator
from functools import partial
from pkgutil import resolve_name
from typing import Any

import jax
import jax.numpy as jnp

from ddpm_jax import plugins
from ddpm_jax.conditions import NONE
from ddpm_jax.errors import UserError, one_line
from ddpm_jax.models.network import BoundNetwork, Network, parameter_count
from ddpm_jax.models.sites import Sites
from ddpm_jax.plugins import Options

__all__ = [
    "CAUSAL",
    "NETWORKS",
    "POOLED",
    "SEQUENTIAL",
    "BoundNetwork",
    "Network",
    "Sites",
    "causal",
    "check",
    "make",
    "options",
    "parameter_count",
    "refusals",
]

NETWORKS = {
    "unet": "ddpm_jax.models.unet",
    "dit": "ddpm_jax.models.dit",
    "ddpmpp": "ddpm_jax.models.ncsnpp:DDPMPP",
    "ncsnpp": "ddpm_jax.models.ncsnpp:NCSNPP",
    "transformer": "ddpm_jax.models.transformer:BIDIRECTIONAL",
    "causal_transformer": "ddpm_jax.models.transformer:CAUSAL",
    "pixelcnn": "ddpm_jax.models.pixelcnn",
}
"""The networks a config may name, and where they are, imported when asked for because Flax is slow to import."""

POOLED = {"half_unet": "ddpm_jax.models.half_unet"}
"""Those that answer once for a whole image, `[batch, out_channels]`: for classifiers."""

CAUSAL = ("causal_transformer", "pixelcnn")
"""Networks whose output at a site depends on the sites before it in the order only."""

USES = {
    "unet": ("vector", "sequence", "channels"),
    "dit": ("vector", "sequence", "channels"),
    "ddpmpp": ("vector", "channels"),
    "ncsnpp": ("vector", "channels"),
    "transformer": ("vector", "sequence"),
    "causal_transformer": ("vector", "sequence"),
    "pixelcnn": ("vector",),
}
"""The parts of a `Context` that a network uses."""

SEQUENTIAL = (*CAUSAL, "transformer")
"""Networks that read an image as a sequence of `Sites`; the others do not take them."""


GIVEN = ("shape", "out_channels", "conditioning", "conditions", "sites", "parent", "name")
"""Arguments of a network that are no options; the last two are of Linen modules."""


def __getattr__(name: str) -> Any:
    """`Conditioning` is a Linen module, and imported when asked for."""
    if name == "Conditioning":
        from ddpm_jax.models.conditioning import Conditioning

        return Conditioning
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def make(
    name: str,
    shape: tuple[int, ...],
    out_channels: int,
    conditioning: Any = None,
    sites: Sites | None = None,
    **options: Any,
) -> Network:
    """The network `name` for inputs of shape `(*space, channels)`, with `conditioning`, a `Conditioning`, as its part.

    What a dotted path leads to may return a `Network`, or a Linen module that is called with `(x, time, condition,
    dropout_keys)`.

    Raises:
        UserError: as `check`.
    """
    if plugins.dotted(name):
        return _users(name, shape, out_channels, conditioning, sites, options)
    _check_told(name, conditioning)
    sequence = {"sites": sites} if name in SEQUENTIAL else {}
    return _module(name).make(shape, out_channels, conditioning, **sequence, **options)


def check(
    name: str,
    shape: tuple[int, ...],
    conditioning: Any = None,
    sites: Sites | None = None,
    **options: Any,
) -> None:
    """Raises UserError, naming the key of `config.model` to change, unless `make` can make this network."""
    if plugins.dotted(name):
        network = _users(name, shape, 1, conditioning, sites, options)
        if conditioning is not None and set(network.conditions) != set(conditioning.conditions):
            raise UserError(f"config.model.conditions: {name} takes none; leave it empty")
        return
    _check_told(name, conditioning)
    sequence = {"sites": sites} if name in SEQUENTIAL else {}
    _module(name).check(shape, conditioning, **sequence, **options)


def options(name: str) -> Options:
    """The options of the network `name` and their defaults."""
    return plugins.options(_module(name), GIVEN) if plugins.dotted(name) else dict(_module(name).OPTIONS)


def causal(name: str) -> bool:
    """Whether the network's output at a site depends on the sites before it in the order only."""
    return getattr(_module(name), "causal", False) if plugins.dotted(name) else name in CAUSAL


def refusals(name: str, time: str) -> Iterator[tuple[str, str]]:
    """What the network cannot be told of the time, as `(option, reason)`."""
    if name == "ncsnpp" and time == "hidden":
        yield "name", "ncsnpp has Fourier features too fast for a share of hidden sites; use ddpmpp or unet"
    elif name == "ncsnpp" and time in ("index", "thousand", "log_snr"):
        yield (
            "time",
            f"ncsnpp has Fourier features of scale 16, some 16 turns a unit, too fast for {time}; "
            "use log_sigma or quarter_log_sigma",
        )


def _check_told(name: str, conditioning: Any) -> None:
    """Raises UserError unless a network of ours can be told these conditions."""
    from ddpm_jax.models import checks  # imports Flax

    if conditioning is None or name not in USES:
        return
    for one in conditioning.conditions:  # Linen has no part that is called as an attribute of the whole
        if hasattr(conditioning, one):
            raise UserError(f"config.model.conditions: {one!r} is a name of the network's own; give it another")
    checks.require(
        conditioning.text_channels > 0 and conditioning.text_channels % checks.TEXT_HEADS == 0,
        "text_channels",
        f"{conditioning.text_channels} is not a multiple of {checks.TEXT_HEADS}, the heads of what reads a text",
    )
    if unused := conditioning.parts - set(USES[name]):
        able = " or ".join(other for other, uses in USES.items() if conditioning.parts <= set(uses))
        words = {"sequence": "words of a text", "channels": "a picture"}
        hint = "; or set config.model.text_tokens=False" if unused == {"sequence"} else ""
        line = f"{name} cannot be told {' or '.join(words[part] for part in sorted(unused))}; use {able}{hint}"
        raise UserError(f"config.model.conditions: {line}")


def _users(
    name: str,
    shape: tuple[int, ...],
    out_channels: int,
    conditioning: Any,
    sites: Sites | None,
    options: dict[str, Any],
) -> Network:
    """A network of the user's own."""
    function = _module(name)
    conditions = NONE if conditioning is None else conditioning.conditions
    known = {"shape": shape, "out_channels": out_channels, "conditioning": conditioning, "conditions": conditions}
    given = plugins.given(function, **known, sites=sites)
    try:
        made = plugins.made(name, function, {**given, **options})
    except ValueError as error:
        raise UserError(f"config.model.options: {name} cannot be made: {one_line(error)}") from error
    if not isinstance(made, Network):
        if not hasattr(made, "apply"):
            raise UserError(f"config.model.name: {name} is neither a ddpm_jax.Network nor a Linen module")
        takes = "conditioning" in given or "conditions" in given
        made = Network(made, tuple(shape), conditions if takes else NONE, causal(name))
    wanted = (1, *shape[:-1], out_channels)
    try:
        found = jax.eval_shape(partial(_answer, made)).shape
    except Exception as error:
        words = f"fails on inputs of shape {shape}: {type(error).__name__}: {one_line(error)[:300]}"
        raise UserError(f"config.model.name: {name} {words}") from error
    if found != wanted:
        raise UserError(f"config.model.name: {name} puts out {found[1:]} for an image, and must {wanted[1:]}")
    return made


def _answer(network: Network) -> Any:
    """To one input of zeros."""
    params = network.init(jax.random.key(0))
    return network.apply(params, jnp.zeros((1, *network.shape)), jnp.zeros(1))


def _module(name: str) -> Any:
    try:
        found = plugins.find({**NETWORKS, **POOLED}, name)
    except ValueError as error:
        raise UserError(f"config.model.name: {error}") from error
    return resolve_name(found) if isinstance(found, str) else found
