"""What samples are to agree with beside their condition: a known part, a measurement, an image to begin from.

A task changes what the one loop is given (the state it starts from, the denoiser, what is done after each step) and is
the same for all images; what differs from image to image is `given`: `image`, `mask`, `y`, `start`, with a row each.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp

from ddpm_jax.denoisers import Denoiser
from ddpm_jax.editing.keeping import Kept, Shown, known_first
from ddpm_jax.editing.measured import COVARIANCES, Measured
from ddpm_jax.editing.operators import Operator, Pixels
from ddpm_jax.processes import Refusal, Traits
from ddpm_jax.processes.process import Images, Keys
from ddpm_jax.samplers.solver import After

TRAINED = "trained"
"""Inpainting by a network that is told what is known."""

Given = dict[str, Any]
"""`image` and `y` as the process has them, `mask` True where the image is known; each `[batch, ...]`."""


@dataclass(frozen=True)
class Task:
    """Nothing: samples as they are."""

    kinds: ClassVar[tuple[str, ...]] = ("gaussian", "ordered")

    def refusals(self, traits: Traits, causal: bool) -> Iterator[Refusal]:
        """What of it does not go with a process, and with a network that goes along an order."""
        if traits.kind not in self.kinds:
            yield Refusal("task", f"it is for {' and '.join(self.kinds)} processes, not for {traits.kind} ones")

    def start(self, process: Any, keys: Keys, x: Images, t: Any, given: Given) -> Images:
        """The state that the loop starts from, in place of x, a draw of the prior, at time t."""
        return x

    def denoiser(self, process: Any, denoise: Denoiser, given: Given) -> Denoiser:
        """The denoiser of the loop, from that of the model."""
        return denoise

    def after(self, process: Any, given: Given) -> After | None:
        """What is done after each step."""
        return None

    def end(self, x: Images, given: Given) -> Images:
        """What the images are that the loop ends with."""
        return x


@dataclass(frozen=True)
class Begin(Task):
    """Draw from a state that is given: from a code (`codes.encode`)."""

    kinds: ClassVar[tuple[str, ...]] = ("gaussian",)

    def start(self, process: Any, keys: Keys, x: Images, t: Any, given: Given) -> Images:
        """The state."""
        return given["start"]


@dataclass(frozen=True)
class Inpaint(Task):
    """Draw what is not known of each image; what is known comes back to the bit.

    In the ordered family the known sites are visible from the start. In the Gaussian one `method` is "replacement"
    (`Kept`), which is biased, or one of `COVARIANCES`, for which the known part is a measurement, or "trained", which
    leaves it to a network that is told what is known (GLIDE, Nichol et al. 2022).

    Attributes:
        method: see above.
        noise: of the measurement, in units of x.
    """

    method: str = "replacement"
    noise: float = 0.02

    def refusals(self, traits: Traits, causal: bool) -> Iterator[Refusal]:
        """A method of another family, and a network that knows neither any set of sites nor those before each."""
        yield from super().refusals(traits, causal)
        if traits.kind == "ordered" and not traits.exchangeable and not causal:
            yield Refusal("task", "the network knows the sets of sites of one order alone; use one of a random order")
        if traits.kind != "gaussian" and self.method in COVARIANCES:
            yield Refusal("method", f"{self.method} is for Gaussian processes; leave it out")
        if self.method not in (methods := ("replacement", *COVARIANCES, TRAINED)):
            yield Refusal("method", f"{self.method!r} is none of {', '.join(methods)}")

    def start(self, process: Any, keys: Keys, x: Images, t: Any, given: Given) -> Images:
        """What is known, in an ordered process."""
        if process.kind == "gaussian":
            return x
        return known_first(process, keys, given["image"], given["mask"])

    def denoiser(self, process: Any, denoise: Denoiser, given: Given) -> Denoiser:
        """One that knows the measurement."""
        if self.method in ("replacement", TRAINED):
            return denoise
        pixels = Pixels(given["mask"])
        return Measured(denoise, process, pixels, pixels(given["image"]), self.noise, self.method)

    def after(self, process: Any, given: Given) -> After | None:
        """The known part put back."""
        if process.kind != "gaussian":
            return Shown(given["image"], given["mask"])
        return Kept(process, given["image"], given["mask"]) if self.method == "replacement" else None

    def end(self, x: Images, given: Given) -> Images:
        """The known part, to the bit."""
        return jnp.where(given["mask"], given["image"], x)


@dataclass(frozen=True)
class Vary(Inpaint):
    """Remove a part of the information of each image, and put back what the model finds likely (SDEdit, Meng et al.
    2022). How much is said by the grid, which begins there; what a mask says is known stays as it is.

    Attributes:
        masked: whether anything is known.
    """

    masked: bool = True

    def refusals(self, traits: Traits, causal: bool) -> Iterator[Refusal]:
        """As for a hole; and a network's own way, which begins from nothing."""
        yield from super().refusals(traits, causal)
        if self.method == TRAINED:
            yield Refusal("method", f"{TRAINED} is for inpaint; leave it out")

    def denoiser(self, process: Any, denoise: Denoiser, given: Given) -> Denoiser:
        """As for a hole, if anything is known."""
        return super().denoiser(process, denoise, given) if self.masked else denoise

    def after(self, process: Any, given: Given) -> After | None:
        """Likewise."""
        return super().after(process, given) if self.masked else None

    def start(self, process: Any, keys: Keys, x: Images, t: Any, given: Given) -> Images:
        """The image at time t."""
        image = given["image"]
        at_t = process.corrupt(image, process.noise(keys, image.shape, image.dtype), t)
        return at_t if process.kind == "gaussian" else jnp.where(given["mask"], image, at_t)


@dataclass(frozen=True)
class Restore(Task):
    """Draw images that would have been measured so: super-resolution, colours, sharpness, noise, random projections.

    Attributes:
        operator: what of an image was measured.
        noise: its deviation, in units of x.
        method: of `COVARIANCES`.
    """

    operator: Operator
    noise: float = 0.02
    method: str = "pigdm"
    kinds: ClassVar[tuple[str, ...]] = ("gaussian",)

    def refusals(self, traits: Traits, causal: bool) -> Iterator[Refusal]:
        """A method that there is not."""
        yield from super().refusals(traits, causal)
        if self.method not in COVARIANCES:
            yield Refusal("method", f"{self.method!r} is none of {', '.join(COVARIANCES)}")

    def denoiser(self, process: Any, denoise: Denoiser, given: Given) -> Denoiser:
        """One that knows the measurement."""
        return Measured(denoise, process, self.operator, given["y"], self.noise, self.method)
