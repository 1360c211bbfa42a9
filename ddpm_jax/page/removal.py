"""What a process removes from an image up to a time, and what the network says of the image then, in one evaluation."""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ddpm_jax import keys as random
from ddpm_jax.generative import Model, Sampling
from ddpm_jax.page.studio import Seen, Studio, check_seed, tiled

TIMES, STRIP = 100, 8
"""Of the slider, and of the film."""


@dataclass(frozen=True, eq=False)
class Removal:
    """A run's process and network at a time.

    Attributes:
        studio: the run.
    """

    studio: Studio

    @cached_property
    def grid(self) -> np.ndarray:
        """The times that can be looked at, from 1 down, all of which the network knows."""
        return np.asarray(Sampling.default(self.studio.run.model, TIMES).grid, np.float32)

    def nearest(self, t: float) -> int:
        """The number of the time of the grid that is nearest; never 0, where nothing is removed."""
        return int(np.argmin(np.abs(self.grid[:-1] - t)))

    def at(self, number: int, t: float, seed: int, tell: bool) -> Seen:
        """Three pictures: the image, what is left of it at the nearest time, the network's estimate.

        Args:
            number: of the test image.
            t: the time, from 0, where nothing is removed, to 1.
            seed: of the noise, or of the order of hiding.
            tell: tell the network what the data say of the image.
        """
        which = self.nearest(t)
        x, (x_t, x_hat) = self._looked(number, np.array([which]), seed, tell)
        words = f"t = {self.grid[which]:.3g}: the image, what is left of it, what the network expects of it"
        return Seen(words, tiled([np.concatenate([x, x_t[0], x_hat[0]])]))

    def film(self, number: int, seed: int, tell: bool) -> Seen:
        """From nothing to the image: what is left above, the network's estimate below, each of one evaluation."""
        which = np.linspace(0, len(self.grid) - 2, STRIP).round().astype(int)
        _, (x_t, x_hat) = self._looked(number, which, seed, tell)
        return Seen("", tiled([x_t[:, 0], x_hat[:, 0]]))

    def _looked(self, number: int, which: np.ndarray, seed: int, tell: bool) -> tuple[np.ndarray, Any]:
        check_seed(seed)
        run = self.studio.run
        own, told = self.studio.example(number), run.model.network.conditions
        condition = told.of(own.row) if tell or not self.studio.guided else told.null(1)
        x = np.asarray(run.model.description.encode(own.levels[None]))
        key = random.purpose_key(seed, random.SAMPLES)
        times = self.grid[which], self.grid[which + 1]
        film = self._frames(run.params, key, jnp.asarray(x), jax.tree.map(jnp.asarray, condition), *times)
        return x, jax.tree.map(np.asarray, film)

    @cached_property
    def _frames(self) -> Any:
        return jax.jit(Frames(self.studio.run.model))


@dataclass(frozen=True, eq=False)
class Frames:
    """What is left of an image at some times, and the mean of what the network says, as `Process.film` shows them."""

    model: Model

    def __call__(
        self, params: Any, key: Any, x: Float[Any, "one *site"], condition: Any, t: Any, s: Any
    ) -> tuple[Any, Any]:
        """`[frames, 1, *site]` each; one draw of noise serves all times, so that a slider moves along one path."""
        process: Any = self.model.bound_process(params)
        denoise = self.model.denoiser(params, process=process)
        z = process.noise(random.per_example(key, jnp.arange(1)), x.shape)
        many, told = (jax.tree.map(partial(jnp.repeat, repeats=len(t), axis=0), one) for one in ((x, z), condition))
        x_t = process.corrupt(*many, t)
        x_hat = denoise(x_t, t, told).mean
        return process.film(denoise, (x_t[:, None], x_hat[:, None]), t, s, condition)
