"""What share of an image is kept at each time, for processes that hide: t -> keep, from 1 at t = 0 to 0 at t = 1.

MaskGIT (Chang et al. 2022, section 3.3) names them after the share that is still *hidden* when a share r of the steps
is done, gamma(r). Sampling goes from t = 1 to 0, so r = 1 - t and keep(t) = 1 - gamma(1 - t).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ddpm_jax.schedules.table import Time

Keep = Callable[[Time], Float[Array, "..."]]
"""Falls in t; both ends are exact."""


def linear(t: Time) -> Float[Array, "..."]:
    """1 - t: each part of the time shows as much as any other. At t = i/G, i of G groups are hidden."""
    return 1 - jnp.asarray(t)


def cosine(t: Time) -> Float[Array, "..."]:
    """1 - sin(pi t / 2), so that the share hidden falls as a cosine along sampling (Chang et al. 2022, section 3.3).

    Little is shown at first and much at the end, when most of the image is known.
    """
    t = jnp.asarray(t)
    from_above = 1 - jnp.sin(jnp.pi / 2 * t)
    from_below = 2 * jnp.square(jnp.sin(jnp.pi / 4 * (1 - t)))
    return jnp.where(t < 0.5, from_above, from_below)  # each is exact at its end


def arccos(t: Time) -> Float[Array, "..."]:
    """(2/pi) arcsin(1 - t), so that the share hidden falls as (2/pi) arccos(r): the inverse of `cosine`.

    More is shown at first than later, but for the very end: the slope is infinite at t = 0, where nothing is looked at,
    and -2/pi at t = 1.
    """
    t = jnp.asarray(t)
    from_above = 1 - 4 / jnp.pi * jnp.arcsin(jnp.sqrt(t / 2))  # arccos(1 - t) = 2 arcsin(sqrt(t/2))
    from_below = 2 / jnp.pi * jnp.arcsin(1 - t)
    return jnp.where(t < 0.5, from_above, from_below)  # each is exact at its end


@dataclass(frozen=True)
class Polynomial:
    """(1 - t)^exponent, so that the share hidden falls as 1 - r^exponent: 2 and 3 are MaskGIT's square and cubic.

    The exponent is at least 1, which is `linear`: below it the slope is infinite at t = 1, where training looks.
    """

    exponent: float = 2.0

    def __post_init__(self) -> None:
        if not self.exponent >= 1:
            raise ValueError(f"exponent {self.exponent} must be at least 1")

    def __call__(self, t: Time) -> Float[Array, "..."]:
        return (1 - jnp.asarray(t)) ** self.exponent


def keep_rate(keep: Keep, t: Time) -> Float[Array, "..."]:
    """keep'(t), negative."""
    t = jnp.asarray(t)
    return jax.jvp(keep, (t,), (jnp.ones_like(t),))[1]


KEEPS: dict[str, Keep] = {"linear": linear, "cosine": cosine, "arccos": arccos, "polynomial": Polynomial()}
"""Each by its name."""


def make_keep(name: str, exponent: float = 0.0) -> Keep:
    """That of a name; `exponent` is `polynomial`'s, 0 leaves its own. Raises ValueError for one that cannot be."""
    keep = KEEPS[name]
    if not exponent:
        return keep
    if not isinstance(keep, Polynomial):
        raise ValueError(f"{name} has no exponent; use polynomial")
    return replace(keep, exponent=exponent)
