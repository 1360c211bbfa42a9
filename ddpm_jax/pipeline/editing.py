"""Editing with a trained run: images in, what the task makes of them out."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, PyTree, UInt8

from ddpm_jax.editing import Begin, Inpaint, Restore, Task, Vary, between, choose, encode, jumping
from ddpm_jax.editing.weighing import weights
from ddpm_jax.errors import UserError
from ddpm_jax.generative import Model, Sampler, Sampling
from ddpm_jax.keys import LIKELIHOOD, per_example, purpose_key
from ddpm_jax.pipeline.restored import Run
from ddpm_jax.samplers import FirstOrder

CODE_STEPS = 200
"""Of a code, and of the way back from it: DDIM's steps come back to an image in the limit of many."""

Stored = UInt8[np.ndarray, "count *site"]


@dataclass(frozen=True)
class Edited:
    """What came out.

    Attributes:
        images: as stored, `[count, *site]`.
        evaluations: of the network, for each, of all candidates.
        effective: of the candidates of each image, how many count (`weighing.Chosen`); None where there is one.
    """

    images: np.ndarray
    evaluations: Float[np.ndarray, " count"]
    effective: Float[np.ndarray, " count"] | None = None


@dataclass(frozen=True)
class Looking:
    """How an edit is drawn.

    Attributes:
        seed: of the samples.
        condition: what is asked of each image, rows as many as images.
        progress: wraps the batches' iterator.
        candidates: in a fixed order: of so many for each image one is chosen by its weight.
        jump: steps of a jump back; 0 is none.
        repeats: how often each stretch of such a length is walked.
    """

    seed: int = 0
    condition: Any = None
    progress: Any = None
    candidates: int = 1
    jump: int = 0
    repeats: int = 1


def refuse(model: Model, task: Task) -> None:
    """Raise UserError for what of a task does not go with a model, by the name of the option."""
    for refusal in task.refusals(model.process.traits(), model.network.causal):
        raise UserError(f"--{refusal.part}: {refusal.reason}")


def inpaint(run: Run, images: Stored, mask: Bool[np.ndarray, "count *site"], task: Inpaint, how: Looking) -> Edited:
    """Draw what is not known; `mask` is True where an image is known, which comes back to the bit.

    In a fixed order `candidates` of each image are drawn, and one of them chosen by how well the known sites fit it.
    """
    refuse(run.model, task)
    sampling, count = run.experiment.sampling_in(), len(images)
    if how.jump:
        if task.method != "replacement":
            raise UserError(f"--jump: jumps go with --method=replacement, not with {task.method}; leave it out")
        if run.model.process.kind != "gaussian":
            raise UserError("--jump: jumps are for Gaussian processes; leave it out")
        sampling = replace(sampling, grid=jumping(np.asarray(sampling.grid), how.jump, how.repeats))
    many = how.candidates if run.model.network.causal else 1  # it cannot see known sites that come later

    def times(rows: PyTree) -> PyTree:
        return jax.tree.map(lambda a: np.concatenate([np.asarray(a)] * many), rows)

    given = {"image": np.asarray(run.model.description.encode(images)), "mask": np.broadcast_to(mask, images.shape)}
    drawn = _draw(run, sampling, task, times(given), times(how.condition), count * many, how)
    if many == 1:
        return drawn
    losses = run.plan.each(_Losses(run.model, sampling), run.experiment.config.sampler.batch)
    rows = {"image": drawn.images, "condition": times(how.condition), "row": np.arange(len(drawn.images))}
    logs = weights(
        jnp.asarray(losses(sampling.joined(run.params), rows, None)), jnp.asarray(times(given)["mask"])
    ).reshape(many, -1)
    keys = per_example(purpose_key(how.seed, LIKELIHOOD), jnp.arange(count))
    chosen = choose(keys, jnp.asarray(drawn.images).reshape(many, *images.shape), logs)
    evaluations = drawn.evaluations.reshape(many, -1).sum(0)
    return Edited(np.asarray(chosen.x), evaluations, np.asarray(chosen.effective))


def vary(
    run: Run, images: Stored, mask: Bool[np.ndarray, "count *site"], strength: float, task: Vary, how: Looking
) -> Edited:
    """Remove the information of time `strength`, and put it back; nothing of it where the mask is True."""
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
    return _draw(run, sampling, task, given, how.condition, len(images), how)


def restore(run: Run, y: Float[np.ndarray, "count ..."], task: Restore, how: Looking) -> Edited:
    """Draw images that would have been measured as y, in units of x."""
    refuse(run.model, task)
    sampling = run.experiment.sampling_in()
    return _draw(run, sampling, task, {"y": np.asarray(y)}, how.condition, len(y), how)


def interpolate(run: Run, first: Stored, second: Stored, shares: Float[np.ndarray, " n"], how: Looking) -> Edited:
    """Images on the way from one to another, `[1, *site]` each: between their codes, by `CODE_STEPS` steps of DDIM."""
    refuse(run.model, Begin())
    if len(shares) < 2:
        raise UserError("--count: the first result is the one image and the last the other; take 2 or more")
    grid = Sampling.default(run.model, CODE_STEPS).grid
    sampling = replace(run.experiment.sampling_in(), solver=FirstOrder(), grid=grid, process=None, point=True)
    both = np.concatenate([first, second])
    condition = jax.tree.map(lambda a: np.asarray(a)[:2], how.condition)
    codes = run.plan.each(_Codes(run.model, sampling), run.experiment.config.sampler.batch)
    a, b = codes(sampling.joined(run.params), {"image": both, "condition": condition}, None)
    count = len(shares)
    start = between(jnp.repeat(a[None], count, 0), jnp.repeat(b[None], count, 0), jnp.asarray(shares, jnp.float32))
    return _draw(run, sampling, Begin(), {"start": np.asarray(start)}, how.condition, count, how)


def _draw(run: Run, sampling: Sampling, task: Task, given: PyTree, condition: Any, count: int, how: Looking) -> Edited:
    hook = task.after(run.model.process, jax.tree.map(jnp.asarray, given))
    if hook is not None and not sampling.solver.walks:
        name = run.experiment.config.sampler.name
        raise UserError(
            f"--sampler: {name} has no steps after which what is known is put back; give another, or --method"
        )
    draw = Sampler(run.model, sampling, run.plan, run.experiment.config.sampler.batch, task=task)
    images, _, evaluations = draw(run.params, how.seed, count, condition, how.progress, None, given)
    return Edited(np.asarray(images), np.asarray(evaluations, float))


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
