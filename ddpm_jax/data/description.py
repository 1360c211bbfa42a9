"""What is known of a data set's images, and the one stage between the stored images and a process."""

import math
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Num

from ddpm_jax.conditions import NONE, Conditions, Label
from ddpm_jax.files import Record


@dataclass(frozen=True)
class Description:
    """The facts about a data set that models, processes and likelihoods need. It travels with the data.

    >>> Description("mine", "1", (8, 8, 3), 256).dimensions
    192

    Args:
        name: the data set's name.
        version: its version.
        shape: of one image, `(*space, channels)`, any number of spatial axes.
        levels: how many values 0 .. levels - 1 a dimension can take; None for real-valued images, which then have no
            bits per dimension.
        conditions: what is known of an image besides: its label, a caption.
        known_law: whether the probability of every image is known, so that samples are measured against that.
    """

    name: str
    version: str
    shape: tuple[int, ...]
    levels: int | None
    conditions: Conditions = NONE
    known_law: bool = False

    def __post_init__(self):
        if len(self.shape) < 2 or min(self.shape) < 1:
            raise ValueError(f"an image's shape is (*space, channels), not {self.shape}")
        if self.levels is not None and not 2 <= self.levels <= 256:
            raise ValueError(f"levels lie between 2 and 256, or are None; not {self.levels}")

    def plain(self) -> Record:
        """As plain JSON: what a run keeps of its data."""
        kinds: Any = {name: kind.plain() for name, kind in self.conditions.kinds}
        others = {name: kind for name, kind in kinds.items() if name != "label" or not self.labels}
        known = {"name": self.name, "version": self.version, "shape": list(self.shape), "levels": self.levels}
        named = {"class_names": list(self.class_names)} if self.class_names else {}
        return {**known, "labels": self.labels, "known_law": self.known_law, **named} | (
            {"conditions": others} if others else {}
        )

    @property
    def space(self) -> tuple[int, ...]:
        """The spatial axes' sizes."""
        return self.shape[:-1]

    @property
    def channels(self) -> int:
        """The number of channels."""
        return self.shape[-1]

    @property
    def dimensions(self) -> int:
        """D: the number of values in an image."""
        return math.prod(self.shape)

    @property
    def labels(self) -> int:
        """The number of classes; 0 for images without labels."""
        label = dict(self.conditions.kinds).get("label")
        return label.classes if isinstance(label, Label) else 0

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the classes, in their order; none where these are numbers."""
        label = dict(self.conditions.kinds).get("label")
        return label.names if isinstance(label, Label) else ()

    @property
    def values(self) -> Float32[np.ndarray, " levels"]:
        """What each level is in x: 2u/(levels - 1) - 1, from -1 to 1, each rounded to float32 once."""
        if self.levels is None:
            raise ValueError(f"the images of {self.name!r} are real-valued: they have no levels")
        return np.linspace(-1.0, 1.0, self.levels).astype(np.float32)

    def encode(self, images: Num[Array | np.ndarray, "..."]) -> Float[Array, "..."]:
        """Stored images, levels of any shape, to x = 2u/(levels - 1) - 1 in [-1, 1] (float32).

        This looks `values` up: compilers may turn the division into a product with a rounded reciprocal, and x would
        then lie beside its grid, differently with and without `jit`. Real-valued images are passed on as float32.
        """
        if self.levels is None:
            return jnp.asarray(images, jnp.float32)
        return jnp.take(jnp.asarray(self.values), jnp.asarray(images), mode="clip")

    def decode(self, x: Float[Array | np.ndarray, "..."]) -> Num[Array, "..."]:
        """x of any shape to stored images: the nearest level (uint8), clipped to 0 .. levels - 1.

        It undoes `encode` exactly. Real-valued images are clipped to [-1, 1].
        """
        x = jnp.clip(jnp.asarray(x), -1.0, 1.0)
        if self.levels is None:
            return x
        return jnp.round((x + 1) * ((self.levels - 1) / 2)).astype(jnp.uint8)
