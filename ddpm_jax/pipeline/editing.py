"""Editing with a trained run: images in, what a task makes of them out."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, PyTree, UInt8

from ddpm_jax.conditions import Picture
from ddpm_jax.data.levels import table
from ddpm_jax.data.views import KNOWN
from ddpm_jax.editing import TRAINED, Begin, Inpaint, Restore, Task, Vary, between, choose, encode, jumping
from ddpm_jax.editing.weighing import weights
from ddpm_jax.errors import UserError
from ddpm_jax.generative import Model, Sampler, Sampling, Steps
from ddpm_jax.keys import LIKELIHOOD, per_example, purpose_key
from ddpm_jax.pipeline.restored import Run
from ddpm_jax.samplers import FirstOrder

CODE_STEPS = 200
"""Of a code, and of the way back from it: DDIM's steps come back to an image in the limit of many."""

FRAMES, CANDIDATES = 10, 64
"""Of a film; and of a hole in a fixed order."""

Stored = UInt8[np.ndarray, "count *site"]


@dataclass(frozen=True)
class Edited:
    """What came out.

    Attributes:
        images: as stored, `[count, *site]`.
        evaluations: of the network, for each, of all candidates.
        film: (x_t, x_hat) of some steps, `[count, frames, *site]` each; empty where none was asked for.
        times: of those steps.
        effective: of the candidates of each image, how many count (`weighing.Chosen`); None where there is one.
    """

    images: np.ndarray
    evaluations: Float[np.ndarray, " count"]
    film: tuple[Any, ...] = ()
    times: tuple[float, ...] = ()
    effective: Float[np.ndarray, " count"] | None = None


@dataclass(frozen=True)
class Looking:
    """How an edit is drawn.

    Attributes:
        seed: of the samples.
        condition: what is asked of each image, rows as many as images; None: nothing.
        negative: what guidance leads away from, likewise; None: from nothing said.
        progress: wraps the batches' iterator.
        candidates: in a fixed order: of so many for each image one is chosen by its weight.
        jump: steps of a jump back; 0 is none.
        repeats: how often each stretch of such a length is walked.
        film: whether frames are kept.
    """

    seed: int = 0
    condition: Any = None
    negative: Any = None
    progress: Any = None
    candidates: int = 1
    jump: int = 0
    repeats: int = 1
    film: bool = False


@dataclass(frozen=True, eq=False)
class Edit:
    """An edit that is ready to be drawn.

    Attributes:
        sampling: how.
        task: what is done beside sampling.
        given: of each image, `{name: [count, ...]}`.
        condition: what each is told.
        count: how many.
        negative: what guidance leads away from, in place of nothing said.
    """

    sampling: Sampling
    task: Task
    given: dict[str, Any]
    condition: Any
    count: int
    negative: Any = None

    def times(self, many: int) -> "Edit":
        """So many of each, one after another."""
        given, condition, negative = (_again(rows, many) for rows in (self.given, self.condition, self.negative))
        return replace(self, given=given, condition=condition, count=self.count * many, negative=negative)


def _again(rows: PyTree, many: int) -> PyTree:
    return jax.tree.map(lambda a: np.concatenate([np.asarray(a)] * many), rows)


def _asked(run: Run, condition: Any, count: int) -> Any:
    """What is asked, or nothing."""
    return jax.tree.map(np.asarray, run.experiment.asked.null(count)) if condition is None else condition


def own_method(model: Model) -> str:
    """How holes are filled unless something else is said: by the network, if it is of noise and told what is known."""
    return TRAINED if model.process.kind == "gaussian" and KNOWN in model.network.conditions else "replacement"


def refuse(model: Model, task: Task) -> None:
    """Raise UserError for what of a task does not go with a model, by the name of the option."""
    for refusal in task.refusals(model.process.traits(), model.network.causal):
        raise UserError(f"--{refusal.part}: {refusal.reason}")


def hole(run: Run, images: Stored, mask: Bool[np.ndarray, "count *site"], task: Inpaint, how: Looking) -> Edit:
    """What is not known is to be drawn; `mask` is True where an image is known.

    Raises:
        UserError: the run's model cannot, or not so.
    """
    refuse(run.model, task)
    sampling, condition = run.experiment.sampling_in(), _asked(run, how.condition, len(images))
    if how.jump:
        if task.method != "replacement":
            raise UserError(f"--jump: jumps go with --method=replacement, not with {task.method}; leave it out")
        if run.model.process.kind != "gaussian":
            raise UserError("--jump: jumps are for Gaussian processes; leave it out")
        sampling = replace(sampling, grid=jumping(np.asarray(sampling.grid), how.jump, how.repeats))
    if task.method == TRAINED:
        kinds, levels = run.model.network.conditions, run.model.description.levels
        if KNOWN not in kinds or levels is None:
            raise UserError(f"--method: the network was not told what is {KNOWN} of a picture (config.data.views)")
        kind: Any = kinds[KNOWN]
        condition = {**condition, KNOWN: kind.rows(table(levels, 256)[images], mask[..., :1])}
    given = {"image": np.asarray(run.model.description.encode(images)), "mask": np.broadcast_to(mask, images.shape)}
    return Edit(sampling, task, given, condition, len(images), how.negative)


def inpaint(run: Run, images: Stored, mask: Bool[np.ndarray, "count *site"], task: Inpaint, how: Looking) -> Edited:
    """Draw what is not known; `mask` is True where an image is known, which comes back to the bit.

    In a fixed order `candidates` of each image are drawn, and one of them chosen by how well the known sites fit it.

    >>> import ddpm_jax as dj
    >>> run = dj.load_run("runs/digits_ddpm")  # doctest: +SKIP
    >>> images = run.dataset.split("test").rows(range(4))["image"]  # doctest: +SKIP
    >>> left = np.broadcast_to(np.arange(8)[:, None] < 4, images.shape)  # doctest: +SKIP
    >>> inpaint(run, images, left, Inpaint(), Looking(seed=1)).images.shape  # doctest: +SKIP
    (4, 8, 8, 1)
    """
    edit, model = hole(run, images, mask, task, how), run.model
    many = how.candidates if model.network.causal else 1  # it cannot see known sites that come later
    if many == 1:
        return draw(run, edit, how)
    every = edit.times(many)
    drawn = draw(run, every, replace(how, film=False))
    losses = run.plan.each(_Losses(model, every.sampling), run.experiment.config.sampler.batch)
    rows = {"image": drawn.images, "condition": every.condition, "row": np.arange(every.count)}
    logs = weights(
        jnp.asarray(losses(every.sampling.joined(run.params), rows, None)), jnp.asarray(every.given["mask"])
    ).reshape(many, -1)
    keys = per_example(purpose_key(how.seed, LIKELIHOOD), jnp.arange(edit.count))
    chosen = choose(keys, jnp.asarray(drawn.images).reshape(many, *images.shape), logs)
    evaluations = drawn.evaluations.reshape(many, -1).sum(0)
    return Edited(np.asarray(chosen.x), evaluations, effective=np.asarray(chosen.effective))


def variation(
    run: Run, images: Stored, mask: Bool[np.ndarray, "count *site"], strength: float, task: Vary, how: Looking
) -> Edit:
    """The information of time `strength` is to be removed and put back; nothing of it where the mask is True.

    Raises:
        UserError: the run's model cannot, or it leaves no step.
    """
    refuse(run.model, task)
    sampling = run.experiment.sampling_in()
    grid = np.asarray(sampling.grid)
    left = np.flatnonzero(grid <= strength)
    if not 0 < strength <= 1 or len(left) < 2:
        least = float(grid[-2])
        raise UserError(f"--strength: {strength} leaves no step; take more than {least:.2g}, and at most 1")
    solver = FirstOrder() if sampling.solver.causal else sampling.solver
    task = replace(task, masked=bool(np.any(mask)))
    sampling = replace(sampling, grid=grid[left[0] :], solver=solver)
    given = {"image": np.asarray(run.model.description.encode(images)), "mask": np.broadcast_to(mask, images.shape)}
    return Edit(sampling, task, given, _asked(run, how.condition, len(images)), len(images), how.negative)


def vary(
    run: Run, images: Stored, mask: Bool[np.ndarray, "count *site"], strength: float, task: Vary, how: Looking
) -> Edited:
    """Remove the information of time `strength`, and put it back: see `variation`."""
    return draw(run, variation(run, images, mask, strength, task, how), how)


def restore(run: Run, y: Float[np.ndarray, "count ..."], task: Restore, how: Looking) -> Edited:
    """Draw images that would have been measured as y, in units of x."""
    refuse(run.model, task)
    count = len(y)
    edit = Edit(
        run.experiment.sampling_in(), task, {"y": np.asarray(y)}, _asked(run, how.condition, count), count, how.negative
    )
    return draw(run, edit, how)


def follow(run: Run, how: Looking, noise: float = 0.0) -> Edit:
    """Pictures are to be drawn from those that the condition has, with noise of this deviation, which is told.

    Raises:
        UserError: the network knows no such noise.
    """
    condition, count = how.condition, len(next(iter(how.condition.values())))
    keys = per_example(purpose_key(how.seed, LIKELIHOOD), jnp.arange(count))
    for name, kind in run.model.network.conditions.kinds:
        if noise and isinstance(kind, Picture):
            if noise > kind.noise:
                raise UserError(
                    f"--noise: the network was trained with {kind.noise:g} at most (config.data.view_noise)"
                )
            level = jnp.full(count, noise, jnp.float32)
            condition = {**condition, name: np.asarray(kind.noisy(keys, jnp.asarray(condition[name]), level))}
    return Edit(run.experiment.sampling_in(), Task(), {}, condition, count, how.negative)


def interpolate(run: Run, first: Stored, second: Stored, shares: Float[np.ndarray, " n"], how: Looking) -> Edited:
    """Images on the way from one to another, `[1, *site]` each: between their codes, by `CODE_STEPS` steps of DDIM."""
    refuse(run.model, Begin())
    if len(shares) < 2:
        raise UserError("--count: the first result is the one image and the last the other; take 2 or more")
    count = len(shares)
    asked = _asked(run, how.condition, count)
    grid = Sampling.default(run.model, CODE_STEPS).grid
    sampling = replace(run.experiment.sampling_in(), solver=FirstOrder(), grid=grid, process=None, point=True)
    both = np.concatenate([first, second])
    condition = jax.tree.map(lambda a: np.asarray(a)[:2], asked)
    codes = run.plan.each(_Codes(run.model, sampling), run.experiment.config.sampler.batch)
    a, b = codes(sampling.joined(run.params), {"image": both, "condition": condition}, None)
    start = between(jnp.repeat(a[None], count, 0), jnp.repeat(b[None], count, 0), jnp.asarray(shares, jnp.float32))
    edit = Edit(sampling, Begin(), {"start": np.asarray(start)}, asked, count)
    return draw(run, edit, how)


def draw(run: Run, edit: Edit, how: Looking) -> Edited:
    """Draw it, over all devices.

    Raises:
        UserError: the run's sampler takes no steps after which what is known could be put back.
    """
    check(run, edit)
    grid = np.asarray(edit.sampling.grid)
    falls = np.flatnonzero(np.diff(grid) < 0)  # in a jump back there is no estimate
    chosen = falls[np.linspace(0, len(falls) - 1, FRAMES).round().astype(int)] if how.film else []
    frames = tuple(sorted({int(number) for number in chosen}))
    draws = Sampler(run.model, edit.sampling, run.plan, run.experiment.config.sampler.batch, frames, edit.task)
    images, film, evaluations = draws(
        run.params, how.seed, edit.count, edit.condition, how.progress, edit.negative, edit.given
    )
    kept = tuple(np.asarray(one) for one in film) if frames else ()
    return Edited(np.asarray(images), np.asarray(evaluations, float), kept, tuple(float(grid[i]) for i in frames))


def steps(run: Run, edit: Edit) -> Steps:
    """What draws it a step at a time. Raises UserError as `draw`."""
    check(run, edit)
    return Steps(run.model, edit.sampling, edit.task)


def check(run: Run, edit: Edit) -> None:
    """Raise UserError if the sampler takes no steps after which what is known could be put back."""
    hook = edit.task.after(run.model.process, jax.tree.map(jnp.asarray, edit.given))
    if hook is not None and not edit.sampling.solver.walks:
        name = run.experiment.config.sampler.name
        raise UserError(
            f"--sampler: {name} has no steps after which what is known is put back; give another, or --method"
        )


def _seen(model: Model, sampling: Sampling, params: PyTree, rows: PyTree) -> tuple[Any, Any]:
    """Stored images as the process has them, and the denoiser as it samples: guided."""
    denoise = sampling.wrapped(model.denoiser(params), model, params=params)
    return model.description.encode(rows["image"]), denoise


@dataclass(frozen=True, eq=False)
class _Losses:
    """-log p(site | the sites before) of stored images, by a causal network's one pass, as it is sampled: guided."""

    model: Model
    sampling: Sampling

    def __call__(self, params: PyTree, rows: PyTree) -> Any:
        x, denoise = _seen(self.model, self.sampling, params, rows)
        return denoise(x, jnp.zeros((), x.dtype), rows["condition"]).loss(x)


@dataclass(frozen=True, eq=False)
class _Codes:
    """The code of each stored image."""

    model: Model
    sampling: Sampling

    def __call__(self, params: PyTree, rows: PyTree) -> Any:
        x, denoise = _seen(self.model, self.sampling, params, rows)
        process: Any = self.sampling.process or self.model.bound_process(params)
        return encode(process, denoise, np.asarray(self.sampling.grid), x, rows["condition"])
