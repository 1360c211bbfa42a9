"""The tasks of the command that edits: from a picture and its options to results, and to files."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ddpm_jax import files
from ddpm_jax.conditions import Picture
from ddpm_jax.data.views import KNOWN
from ddpm_jax.editing import COVARIANCES, Inpaint, Restore, Vary
from ddpm_jax.editing.operators import Operator, seen
from ddpm_jax.errors import UserError, nearest
from ddpm_jax.pipeline import brought, editing, screen
from ddpm_jax.pipeline.editing import Edited, Looking
from ddpm_jax.pipeline.restored import Run
from ddpm_jax.runs import pictures

NOISE, STRENGTH, REPEATS = 0.02, 0.5, 10
"""What a measurement has, the time that a variation goes back to, and more of the command's defaults."""


@dataclass(frozen=True)
class Asked:
    """What a person asks for; each field is an option of the command, and None where it was left out.

    Attributes:
        task: of `TASKS`.
        image: a file, or one of the data's images.
        count: of results.
        seed: of the results, and of what is measured.
        other: the picture to go to.
        operator: what is measured.
        measured: whether the file is what was measured.
        method: of filling and restoring.
        noise: of what is measured, or of the picture to follow.
        strength: the time that a variation goes back to.
        shows: the condition that the picture to follow is.
        candidates: of each hole in a fixed order.
    """

    task: str
    image: str
    count: int
    seed: int
    other: str | None = None
    operator: Operator | None = None
    measured: bool = False
    method: str | None = None
    noise: float | None = None
    strength: float | None = None
    shows: str | None = None
    candidates: int | None = None


@dataclass(frozen=True, eq=False)
class Order:
    """What is to be done.

    Attributes:
        run: with which.
        asked: what.
        own: the picture.
        mask: where it is known.
        how: it is drawn.
    """

    run: Run
    asked: Asked
    own: brought.Brought
    mask: brought.Mask
    how: Looking

    @property
    def images(self) -> np.ndarray:
        """The picture as often as there are results."""
        return np.stack([self.own.levels] * self.asked.count)

    @property
    def known(self) -> np.ndarray:
        """Where each value of them is known."""
        return np.broadcast_to(self.mask.known, self.images.shape)

    @property
    def noise(self) -> float:
        """Of a measurement."""
        return self.asked.noise or NOISE


@dataclass(frozen=True, eq=False)
class Result:
    """What came out, and what is shown beside it.

    Attributes:
        made: the results.
        beside: what was known, in [-1, 1], `[height, width, channels]`.
        name: of that.
        arrays: what else is written: what was told, or measured.
    """

    made: Edited
    beside: Float[np.ndarray, "_ _ _"]
    name: str
    arrays: dict[str, Any] = field(default_factory=dict)


def check(run: Run, asked: Asked) -> None:
    """Raise UserError for options that mean nothing for this run."""
    causal = run.model.network.causal
    if asked.candidates and not (causal and asked.task == "inpaint"):
        raise UserError(
            "--candidates: they are for holes and networks of a fixed order, which draw and choose; leave it out"
        )
    if asked.noise and asked.task in ("inpaint", "variation") and asked.method not in COVARIANCES:
        raise UserError(f"--noise: it is of what is measured: for --method={', '.join(COVARIANCES)}; leave it out")
    if asked.task == "follow":
        _followed(run, asked.shows)


def _followed(run: Run, name: str | None) -> tuple[str, Any]:
    """The condition that a picture to follow is, and its kind."""
    told = {one: kind for one, kind in run.model.network.conditions.kinds if isinstance(kind, Picture)}
    ways = [one for one in told if one != KNOWN]
    if not ways:
        known = ", ".join(run.model.network.conditions) or "nothing"
        raise UserError(f"--task: the network is told {known}, and no picture to follow (config.data.views)")
    if name is not None and name not in ways:
        raise UserError(f"--shows: the network is not told {name!r}; {nearest(name, ways)}")
    if name is None and len(ways) > 1:
        raise UserError(f"--shows is missing: the network is told {' and '.join(ways)}")
    return (name or ways[0]), told[name or ways[0]]


def picture(run: Run, asked: Asked) -> brought.Brought:
    """The picture that is asked for, in the form that its task needs.

    Raises:
        UserError: as `brought.picture`, and for a measurement that is no picture.
    """
    if asked.task == "follow" and brought.of_data(asked.image) is None:
        return brought.told("image", asked.image, _followed(run, asked.shows)[1].size)
    if not asked.measured or asked.operator is None:
        return brought.picture("image", asked.image, run.dataset)
    try:
        shape = np.shape(asked.operator(jnp.zeros((1, *run.model.description.shape))))[1:]
    except ValueError as error:
        raise UserError(f"--measure: {error}") from error
    if len(shape) != 3:
        raise UserError(f"--measured: what {type(asked.operator).__name__} gives is no picture; leave it out")
    return brought.told("image", asked.image, shape)


def named(condition: dict[str, Any]) -> dict[str, Any]:
    """What each image was told, by the names that files of samples have."""
    return {f"{name}s": values for name, values in condition.items()}


def inpaint(order: Order) -> Result:
    """Fill the hole."""
    task = Inpaint(order.asked.method or editing.own_method(order.run.model), order.noise)
    made = editing.inpaint(order.run, order.images, order.known, task, order.how)
    levels = np.where(order.known[0], order.own.levels, 0)
    return Result(made, _shown(order.run, levels), "known", named(order.how.condition))


def variation(order: Order) -> Result:
    """Remove a part of the information, and put it back."""
    strength = STRENGTH if order.asked.strength is None else order.asked.strength
    task = Vary(order.asked.method or "replacement", order.noise)
    made = editing.vary(order.run, order.images, order.known, strength, task, order.how)
    beside = _shown(order.run, np.where(order.known[0], order.own.levels, 0))
    return Result(made, beside, "known", named(order.how.condition))


def restore(order: Order) -> Result:
    """Find images that would have been measured so."""
    asked, description, operator = order.asked, order.run.model.description, order.asked.operator
    assert operator is not None  # the command asks for one
    if asked.measured:
        y = order.images.astype(np.float32) / 127.5 - 1
    else:
        try:
            y = np.asarray(operator(description.encode(order.images)))
        except ValueError as error:
            raise UserError(f"--measure: {error}") from error
        y = y + order.noise * np.random.default_rng(asked.seed).normal(size=y.shape[1:]).astype(y.dtype)
    task = Restore(operator, order.noise, asked.method or "pigdm")
    made = editing.restore(order.run, y, task, order.how)
    beside = np.asarray(seen(operator, jnp.asarray(y[:1]), jnp.zeros((1, *description.shape))))[0]
    return Result(made, beside, "measured", {"y": y[0], **named(order.how.condition)})


def follow(order: Order) -> Result:
    """Draw from a picture that the network is told."""
    name, kind = _followed(order.run, order.asked.shows)
    condition = order.how.condition
    if order.own.row is None:
        condition = {**condition, name: kind.rows(order.images)}
    else:
        condition = {**condition, name: np.repeat(np.asarray(order.own.row[name]), order.asked.count, 0)}
    how = replace(order.how, condition=condition)
    made = editing.draw(order.run, editing.follow(order.run, how, order.asked.noise or 0.0), how)
    return Result(made, kind.parts(condition[name][0])[0], name, named(condition))


def interpolate(order: Order) -> Result:
    """Go from one image to another."""
    other = brought.picture("other", order.asked.other or "", order.run.dataset)
    shares = np.linspace(0, 1, order.asked.count)
    made = editing.interpolate(order.run, order.images[:1], other.levels[None], shares, order.how)
    return Result(made, _shown(order.run, other.levels), "other", named(order.how.condition))


TASKS: dict[str, Callable[[Order], Result]] = {
    "inpaint": inpaint,
    "variation": variation,
    "restore": restore,
    "follow": follow,
    "interpolate": interpolate,
}
"""By name."""


def write(order: Order, output: Path, result: Result) -> None:
    """Write the results, and say where they are.

    Raises:
        UserError: nothing can be written there.
    """
    run, own, mask, asked = order.run, order.own, order.mask, order.asked
    made, content, paths = result.made, io.BytesIO(), [output.with_name(output.name + ".npz")]
    np.savez_compressed(content, images=made.images, image=own.levels, known=mask.known, **result.arrays)
    results, numbers = np.asarray(run.model.description.encode(made.images)), [*map(str, range(1, asked.count + 1))]
    first = {} if own.is_told else {"image": _shown(run, own.levels)}
    before = [*first.values(), result.beside]
    strip = np.stack([_like(one, results.shape[1:]) for one in before] + [*results])
    try:
        files.write_bytes(paths[0], content.getvalue())
        paths.append(pictures.grid(output.with_name(output.name + ".png"), strip, [*first, result.name, *numbers]))
        if made.film:
            noisy, estimates = (one.swapaxes(0, 1) for one in made.film)
            film = output.with_name(output.name + "_film.png")
            paths.append(pictures.film(film, noisy, estimates, numbers, made.times))
        if own.own is not None and not own.is_told and asked.task != "interpolate":
            levels = (results[0] + 1) * 127.5
            whole = brought.pasted(own, levels.round().clip(0, 255).astype(np.uint8), mask)
            paths.append(pictures.save(output.with_name(output.name + "_pasted.png"), whole))
    except OSError as error:
        raise UserError(f"--output: {output} cannot be written ({error.strerror})") from error
    screen.say(f"{asked.count} of step {run.step}, {made.evaluations.mean():.4g} network evaluations each")
    if made.effective is not None:
        screen.say(f"of {order.how.candidates} candidates {made.effective.mean():.3g} count; near 1 means too few")
    screen.say("\n".join(f"  {screen.linked(path) if path.suffix == '.png' else path}" for path in paths))


def _shown(run: Run, levels: np.ndarray) -> np.ndarray:
    return np.asarray(run.model.description.encode(levels))


def _like(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """An image in the size and the channels of others, each pixel the nearest."""
    height, width, channels = shape
    rows, columns = (np.arange(n) * m // n for n, m in ((height, image.shape[0]), (width, image.shape[1])))
    sized = image[rows][:, columns]
    return sized if sized.shape[-1] == channels else sized[..., :1].repeat(channels, -1)
