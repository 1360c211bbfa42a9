"""The networks: what a denoiser asks for a number at every site.

Lives here: networks and their layers, in Flax Linen, which no other room imports. To the rest a network is a
`network.Network`, two pure functions. Imports `keys` and `errors` only; anyone above may import it.
A module that makes a network, or an object within one, offers `OPTIONS`, `check(shape, labels, **options)` and
`make(shape, out_channels, labels, **options)`.
"""

from pkgutil import resolve_name
from typing import Any

from ddpm_jax.errors import UserError, nearest
from ddpm_jax.models.network import Network, parameter_count
from ddpm_jax.models.sites import Sites

__all__ = ["CAUSAL", "NETWORKS", "SEQUENTIAL", "Network", "Sites", "check", "make", "options", "parameter_count"]

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

CAUSAL = ("causal_transformer", "pixelcnn")
"""Networks whose output at a site depends on the sites before it in the order only."""

SEQUENTIAL = (*CAUSAL, "transformer")
"""Networks that read an image as a sequence of `Sites`; the others do not take them."""


def make(
    name: str, shape: tuple[int, ...], out_channels: int, labels: int = 0, sites: Sites | None = None, **options: Any
) -> Network:
    """The network `name` for inputs of shape `(*space, channels)`. Raises UserError like `check`."""
    sequence = {"sites": sites} if name in SEQUENTIAL else {}
    return _module(name).make(shape, out_channels, labels, **sequence, **options)


def check(name: str, shape: tuple[int, ...], labels: int = 0, sites: Sites | None = None, **options: Any) -> None:
    """Raises UserError, naming the key of `config.model` to change, unless `make` can make this network."""
    sequence = {"sites": sites} if name in SEQUENTIAL else {}
    _module(name).check(shape, labels, **sequence, **options)


def options(name: str) -> dict[str, Any]:
    """The options of the network `name` and their defaults."""
    return dict(_module(name).OPTIONS)


def _module(name: str) -> Any:
    if name not in NETWORKS:
        raise UserError(f"config.model.name: there is no network {name!r}; {nearest(str(name), NETWORKS)}")
    return resolve_name(NETWORKS[name])
