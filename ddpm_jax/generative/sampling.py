"""How images are drawn from a model: a solver, its grid, and the wrappers of the denoiser."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

from ddpm_jax import keys as random
from ddpm_jax.conditions import Condition, Conditions
from ddpm_jax.denoisers import (
    LABEL,
    ClassifierGuided,
    Clipped,
    Denoiser,
    Guided,
    Only,
    Pointed,
    Tempered,
    Thresholded,
    Told,
)
from ddpm_jax.denoisers.guidance_rules import Plain, Rule
from ddpm_jax.editing import Given, Task
from ddpm_jax.files import Facts
from ddpm_jax.generative.model import Model
from ddpm_jax.processes import Process
from ddpm_jax.samplers import After, Cached, Film, FirstOrder, Problem, Solver

NOTHING = Task()
"""No editing."""

HELPERS = "helpers"
"""Where in a sampler's parameters those of other models are."""


@dataclass(frozen=True, eq=False)
class Helper:
    """Another model, which a sampler asks besides the one that it draws from.

    Attributes:
        model: of the same process and data.
        params: its parameters, an argument of the compiled program as the model's own are.
        facts: which run it is, to be kept beside figures.
    """

    model: Model
    params: PyTree
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Sampling:
    """How images are drawn.

    >>> from ddpm_jax.samplers import DPM2M
    >>> len(Sampling(DPM2M(), np.linspace(1, 0, 21)).grid)
    21

    Attributes:
        solver: what puts information back.
        grid: `[N + 1]` times from 1 to 0.
        process: whose steps back are taken, such as another order, or a table's between its entries; None: the model's
            own.
        guidance: the weight of classifier-free guidance; 1 is none.
        each: in its place the weight of each condition by name; each is told beside those before it (Brooks et al.
            2023, eq. 3). Weights of 1 up to the first other, or of all, cost no other evaluation.
        interval: the times (low, high] in which there is guidance; outside there is one evaluation, not two.
        weak: what guidance leads away from, in place of the model told nothing; it is told the same (autoguidance,
            Karras et al. 2024).
        rule: what becomes of the two posteriors.
        clip: keep the estimate of the clean image in `clip_range`.
        clip_range: (low, high).
        threshold: dynamic thresholding at this quantile in place of clipping; 0 is none.
        temperature: of the levels' logits.
        top_k: the most likely levels to draw from; 0 is all.
        nucleus: the least probability of the most likely levels to draw from.
        point: step with the posterior's mean and not with draws of it.
        classifier: of noisy images, whose gradient leads to the label that is asked for.
        classifier_scale: of that gradient; 0 is none.
        from_level: start from noise of the level at the grid's first time in place of the prior. Where that time is
            below 1 the image's share of x_t is left out, as k-diffusion does.
    """

    solver: Solver
    grid: np.ndarray
    process: Process | None = None
    guidance: float = 1.0
    each: tuple[tuple[str, float], ...] = ()
    weak: Helper | None = None
    interval: tuple[float, float] = (0.0, 1.0)
    rule: Rule = field(default_factory=Plain)
    clip: bool = False
    clip_range: tuple[float, float] = (-1.0, 1.0)
    threshold: float = 0.0
    temperature: float = 1.0
    top_k: int = 0
    nucleus: float = 1.0
    point: bool = False
    classifier: Helper | None = None
    classifier_scale: float = 1.0
    from_level: bool = False

    @property
    def helpers(self) -> dict[str, Helper]:
        """The other models, by name."""
        named = {"weak": self.weak, "classifier": self.classifier}
        return {name: helper for name, helper in named.items() if helper is not None}

    def joined(self, params: PyTree) -> PyTree:
        """The model's parameters and the other models', as `draw` takes them."""
        others = {name: helper.params for name, helper in self.helpers.items()}
        return {**params, HELPERS: others} if others else params

    def asked(self, model: Model) -> Conditions:
        """What samples can be asked to be: what the model is told, and what a classifier can tell."""
        own = model.network.conditions
        if self.classifier is None or LABEL in own:
            return own
        return Conditions((*own.kinds, *self.classifier.model.network.conditions.kinds))

    @classmethod
    def default(cls, model: Model, steps: int = 100) -> "Sampling":
        """What suits a model: ancestral sampling; of an order one group a step, by a cache if there is one."""
        process: Any = model.process
        total = model.times.steps
        if process.kind == "gaussian":
            spacing = "uniform" if total else "log_snr"
            grid = process.grid(min(steps, total or steps), spacing, model.times.t_min, total)
            return cls(FirstOrder(eta=1.0), grid, clip=True)
        if process.traits().markov:
            return cls(FirstOrder(eta=1.0), process.grid(min(steps, total or steps), discrete=total))
        solver = Cached() if model.network.causal else FirstOrder()
        return cls(solver, process.grid(0 if process.order.groups else steps))

    def wrapped(
        self,
        denoise: Denoiser,
        model: Model,
        negative: Condition | None = None,
        params: PyTree = None,
        around: Callable[[Denoiser], Denoiser] | None = None,
    ) -> Denoiser:
        """The denoiser as the solver is to use it, guided away from `negative`, by default from nothing said.

        Args:
            denoise: of the model.
            model: what is sampled.
            negative: in place of nothing said.
            params: `joined`, where other models are asked.
            around: what an editing task makes of the guided denoiser.
        """
        denoise = self._told(denoise, model)
        weights = tuple(weight for _, weight in self.each) or (self.guidance,)
        first = next((number for number, weight in enumerate(weights) if weight != 1), None)
        if first is not None:  # a chain of weights 1 comes to its last
            chain = *self._weaker(denoise, model, negative, params), denoise
            denoise = Guided(chain[first:], weights[first:], self.rule, self.interval)
        if self.classifier is not None:
            process: Any = self._noise(model, params)
            classify: Any = self.classifier.model.denoiser(params[HELPERS]["classifier"], process=process)
            denoise = ClassifierGuided(denoise, classify.log_prob, self.classifier_scale, process)
        denoise = denoise if around is None else around(denoise)
        if self.threshold:
            denoise = Thresholded(denoise, self.threshold)
        elif self.clip:
            denoise = Clipped(denoise, *self.clip_range)
        if (self.temperature, self.top_k, self.nucleus) != (1, 0, 1):
            denoise = Tempered(denoise, self.temperature, self.top_k, self.nucleus)
        if self.point:  # draws of x serve the Markov process with a variance of its own
            denoise = Pointed(denoise)
        return denoise

    def _told(self, denoise: Denoiser, model: Model) -> Denoiser:
        """One that is told the model's own conditions, where a classifier is told more."""
        return denoise if self.classifier is None else Only(denoise, tuple(model.network.conditions))

    def _weaker(self, denoise: Denoiser, model: Model, negative: Condition | None, params: PyTree) -> list[Denoiser]:
        """What guidance leads away from: a weak model, or the denoiser told nothing, then one condition more each time.

        The weak one takes the model's process, also where each has trained a schedule of its own.
        """
        if self.weak is not None:
            weak = self.weak.model.denoiser(params[HELPERS]["weak"], process=self._noise(model, params))
            return [self._told(weak, model)]
        null = {**model.network.conditions.null(1), **(negative or {})}
        names = [name for name, _ in self.each]
        untold = [names[told:] for told in range(len(names))] or [list(null)]
        return [Told(denoise, {name: null[name] for name in some}) for some in untold]

    def _noise(self, model: Model, params: PyTree) -> Process:
        """The process that the denoisers see: the model's, or of noise that of the steps; an order says nothing."""
        process = self.process
        return process if process is not None and process.kind == "gaussian" else model.bound_process(params)

    def start(self, process: Any, keys: Key[Array, " batch"], shape: tuple[int, ...]) -> Float[Array, "batch *site"]:
        """What sampling begins with: a draw of the prior, or noise of the grid's first level."""
        if not self.from_level:
            return process.prior(keys, shape)
        z = process.noise(keys, shape)
        return process.at(jnp.asarray(self.grid[0], z.dtype), z)[1] * z

    def draw(
        self,
        model: Model,
        params: PyTree,
        keys: Key[Array, " batch"],
        condition: Condition,
        frames: tuple[int, ...] = (),
        negative: Condition | None = None,
        task: Task = NOTHING,
        given: Given | None = None,
    ) -> tuple[Array, Film, Int[Array, " batch"]]:
        """Images as stored (uint8 levels, `[batch, *site]`), frames (x_t, x_hat) asked for, network evaluations.

        `params` are `joined`, `condition` is what is asked of each, `negative` what guidance leads away from; `task`
        and what is `given` of each image are of editing.
        """
        made = self.chain(model, params, keys, condition, bool(frames), negative, task, given)
        x, film, evaluations = made.solver.solve(made.problem, made.keys, made.start, frames, made.after)
        if frames:
            times, number = jnp.asarray(self.grid, film[0].dtype), np.asarray(frames)
            film = made.shown(film, times[number], times[number + 1])
        return made.end(x), film, evaluations

    def chain(
        self,
        model: Model,
        params: PyTree,
        keys: Key[Array, " batch"],
        condition: Condition,
        film: bool = False,
        negative: Condition | None = None,
        task: Task = NOTHING,
        given: Given | None = None,
    ) -> "Chain":
        """All that `draw` draws by; with a film where its frames will be looked at."""
        given = given or {}
        own: Any = self._noise(model, params)
        process, condition = self.process or own, self.asked(model).of(condition)
        plain = model.denoiser(params, process=own)
        around = partial(task.denoiser, own, given=given)
        denoise = self.wrapped(plain, model, negative, params, around)
        keys_prior, keys_steps = random.split(keys)
        start = self.start(process, keys_prior, (len(keys), *model.description.shape))
        start = task.start(process, keys_prior, start, float(self.grid[0]), given)
        problem = Problem(process, denoise, condition, self.grid)
        solver = self.solver.for_film() if film else self.solver
        return Chain(model, solver, problem, keys_steps, start, task, given, own, plain)


@dataclass(frozen=True, eq=False)
class Chain:
    """Some images that are to be drawn: what the solver is given, and what becomes of what it returns.

    Attributes:
        model: what is sampled.
        solver: what walks.
        problem: along which times, and with which denoiser.
        keys: of its steps.
        start: where it begins.
        task: of editing.
        given: of each image.
        own: the process that the denoisers see.
        plain: the model's denoiser, without guidance.
    """

    model: Model
    solver: Solver
    problem: Problem
    keys: Key[Array, " batch"]
    start: Float[Array, "batch *site"]
    task: Task
    given: Given
    own: Any
    plain: Denoiser

    @property
    def after(self) -> After | None:
        """What is done after each step."""
        return self.task.after(self.problem.process, self.given)

    def end(self, x: Float[Array, "batch *site"]) -> Array:
        """Images as stored, of the last state."""
        return self.model.description.decode(self.task.end(x, self.given))

    def shown(self, film: Film, t: Float[Array, " frames"], s: Float[Array, " frames"]) -> Film:
        """Frames as a person is to see them (see `Process.film`): of noise the estimate's mean, also where steps use a
        draw of it, for one evaluation more."""
        if self.own.kind == "gaussian":
            said = self.problem.posterior(film[0][0], t[0])  # compiled away where it is a point, as it often is
            if getattr(said, "variance", said) is not None:
                film = film[0], jax.lax.map(self._mean, (film[0], t))
        return self.own.film(self.plain, film, t, s, self.problem.condition)

    def _mean(self, frame: tuple[Any, Any]) -> Any:
        return self.problem.posterior(*frame).mean
