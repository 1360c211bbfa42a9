"""What share of an image is kept at each time, for processes that hide: t -> keep, from 1 at t = 0 to 0 at t = 1."""

from collections.abc import Callable

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


def keep_rate(keep: Keep, t: Time) -> Float[Array, "..."]:
    """keep'(t), negative."""
    t = jnp.asarray(t)
    return jax.jvp(keep, (t,), (jnp.ones_like(t),))[1]


KEEPS: dict[str, Keep] = {"linear": linear, "cosine": cosine}
"""Each by its name."""
