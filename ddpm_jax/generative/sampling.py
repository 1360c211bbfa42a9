"""How images are drawn from a model: a solver, its grid, and the wrappers of the denoiser."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Clipped, Denoiser, Guided, Pointed, Tempered, Thresholded
from ddpm_jax.generative.model import Model
from ddpm_jax.processes import Process
from ddpm_jax.samplers import Cached, Film, FirstOrder, Problem, Solver


@dataclass(frozen=True, eq=False)
class Sampling:
    """How images are drawn.

    >>> from ddpm_jax.samplers import DPM2M
    >>> len(Sampling(DPM2M(), np.linspace(1, 0, 21)).grid)
    21

    Attributes:
        solver: what puts information back.
        grid: `[N + 1]` times from 1 to 0.
        process: whose steps back are taken, such as another order; None: the model's own.
        guidance: the weight of classifier-free guidance; 1 is none.
        clip: keep the estimate of the clean image in [-1, 1].
        threshold: dynamic thresholding at this quantile in place of clipping; 0 is none.
        temperature: of the levels' logits.
        top_k: the most likely levels to draw from; 0 is all.
        nucleus: the least probability of the most likely levels to draw from.
        point: step with the posterior's mean and not with draws of it.
    """

    solver: Solver
    grid: np.ndarray
    process: Process | None = None
    guidance: float = 1.0
    clip: bool = False
    threshold: float = 0.0
    temperature: float = 1.0
    top_k: int = 0
    nucleus: float = 1.0
    point: bool = False

    @classmethod
    def default(cls, model: Model, steps: int = 100) -> "Sampling":
        """What suits a model: ancestral sampling of noise; of an order one group a step, by a cache if there is one."""
        process: Any = model.process
        total = model.times.steps
        if process.kind == "gaussian":
            spacing = "uniform" if total else "log_snr"
            grid = process.grid(min(steps, total or steps), spacing, model.times.t_min, total)
            return cls(FirstOrder(eta=1.0), grid, clip=True)
        solver = Cached() if model.network.causal else FirstOrder()
        return cls(solver, process.grid(0 if process.order.groups else steps))

    def wrapped(self, denoise: Denoiser, model: Model, labels: Int[Array, " batch"], film: bool = False) -> Denoiser:
        """The denoiser as the solver is to use it. `film`: its estimates will be looked at."""
        if self.guidance != 1:
            denoise = Guided(denoise, self.guidance, jnp.full_like(labels, model.description.null_condition))
        if self.threshold:
            denoise = Thresholded(denoise, self.threshold)
        elif self.clip:
            denoise = Clipped(denoise)
        if (self.temperature, self.top_k, self.nucleus) != (1, 0, 1):
            denoise = Tempered(denoise, self.temperature, self.top_k, self.nucleus)
        # Draws of x serve the Markov process with a variance of its own; a film of noise shows means, not draws.
        if self.point or (film and model.process.kind == "gaussian"):
            denoise = Pointed(denoise)
        return denoise

    def draw(
        self,
        model: Model,
        params: PyTree,
        keys: Key[Array, " batch"],
        labels: Int[Array, " batch"],
        frames: tuple[int, ...] = (),
    ) -> tuple[Array, Film, Int[Array, " batch"]]:
        """Images as stored (uint8 levels, `[batch, *site]`), frames (x_t, x_hat) asked for, network evaluations."""
        own, condition = model.bound_process(params), model.condition(labels)
        process, plain = self.process or own, model.denoiser(params)
        denoise = self.wrapped(plain, model, labels, bool(frames))
        solver = self.solver.for_film() if frames else self.solver
        keys_prior, keys_steps = random.split(keys)
        start = process.prior(keys_prior, (labels.shape[0], *model.description.shape))
        problem = Problem(process, denoise, condition, self.grid)
        x, film, evaluations = solver.solve(problem, keys_steps, start, frames)
        if frames:
            times, number = jnp.asarray(self.grid, film[0].dtype), np.asarray(frames)
            film = own.film(plain, film, times[number], times[number + 1], condition)
        return model.description.decode(x), film, evaluations
