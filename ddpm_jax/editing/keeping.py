"""A known part of an image: kept while the rest is drawn."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Bool

from ddpm_jax.processes import Gaussian, Ordered
from ddpm_jax.processes.process import Images, Keys, Times


@dataclass(frozen=True, eq=False)
class Kept:
    """Replacement: after each step the known part is that of the image with as much noise (Song et al. 2021, appendix
    I.2; Lugmayr et al. 2022, RePaint, with a grid that jumps back, `jumping`).

    It is not the conditional law, even if the denoiser is exact: the rest is drawn by a denoiser that sees the known
    part's noise of this step alone, and what it drew before fits noise that is gone. At time 0 the known part is that
    of the image to the bit.

    Attributes:
        process: of the steps.
        image: `[batch, *site]`.
        mask: True where it is known, broadcastable to the image.
    """

    process: Gaussian
    image: Images
    mask: Bool[Array, "..."]

    def __call__(self, keys: Keys, x_s: Images, s: Times) -> Images:
        """x_s with the known part at time s."""
        noisy = self.process.corrupt(self.image, self.process.noise(keys, self.image.shape, x_s.dtype), s)
        known = jnp.where(jnp.asarray(s) > 0, noisy, self.image)
        return jnp.where(self.mask, known, x_s)


@dataclass(frozen=True, eq=False)
class Shown:
    """What is known of an ordered process's image is visible after each step, though a step may hide sites again.

    Attributes:
        image: `[batch, *site]`.
        mask: True where it is known.
    """

    image: Images
    mask: Bool[Array, "..."]

    def __call__(self, keys: Keys, x_s: Images, s: Times) -> Images:
        """x_s with the known part of the image."""
        return jnp.where(self.mask, self.image, x_s)


def known_first(process: Ordered, keys: Keys, image: Images, mask: Bool[Array, "..."]) -> Images:
    """The state of an ordered process that inpainting starts from: what is known is visible, all else is hidden.

    A site is known if all of its values are. Where the order is random, and one site is shown at a time, what is drawn
    from it is the conditional law of the denoiser's: nothing of it was trained on one order of the sites.
    """
    whole = jnp.broadcast_to(mask, image.shape)
    if not process.apart:
        whole = jnp.broadcast_to(whole.all(-1, keepdims=True), image.shape)
    return jnp.where(whole, image, process.prior(keys, image.shape, image.dtype))
