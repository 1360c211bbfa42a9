"""A run on the page: what can be asked of it, and what it draws while one looks on."""

import io
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, UInt8

from ddpm_jax.conditions import Picture
from ddpm_jax.data.views import KNOWN
from ddpm_jax.editing import Inpaint, Vary
from ddpm_jax.errors import UserError
from ddpm_jax.evaluation.told import conditions_of
from ddpm_jax.experiment import check, classifier, make
from ddpm_jax.generative import Steps
from ddpm_jax.pipeline import brought, editing
from ddpm_jax.pipeline.editing import Edit, Looking
from ddpm_jax.pipeline.restored import Run, restore
from ddpm_jax.runs import pictures
from ddpm_jax.sample import change_sampler, numbered, options_named
from ddpm_jax.samplers import SOLVERS

MOST, EXAMPLES, KEPT = 16, 32, 8
"""Images at a time, test images to choose from, and compiled settings that are kept."""

EVERY = 0.08
"""Seconds between two pictures on their way to the screen."""

SIDE = 128
"""Pixels that a side has at least."""

OUTLINES = ("edges", "sketch")
"""Pictures that a person can draw."""


@dataclass(frozen=True)
class Wish:
    """What a person has set.

    Attributes:
        seed: of the samples.
        count: how many.
        sampler: its name; empty: the run's.
        steps: of it; 0: the run's.
        guidance: its weight; None: the run's.
        prompt: what to draw.
        negative: what not to draw.
        label: the class; empty: none.
    """

    seed: int = 0
    count: int = 4
    sampler: str = ""
    steps: int = 0
    guidance: float | None = None
    prompt: str = ""
    negative: str = ""
    label: str = ""


@dataclass(frozen=True)
class Seen:
    """What is on the screen.

    Attributes:
        words: what is being done, or what was.
        picture: values 0 ... 255; None: as before.
    """

    words: str
    picture: UInt8[np.ndarray, "height width channels"] | None = None


def check_seed(seed: int) -> None:
    """Raise UserError for one that is none."""
    if not 0 <= seed < 2**31:
        raise UserError(f"seed: {seed} is not a whole number from 0 to 2^31 - 1")


def plain(error: Exception) -> str:
    """A mistake in the words of the page, which has no options and keys."""
    return re.sub(r"--(\w)", r"\1", re.sub(r"config\.(sampler|model|data)\.", "", str(error))).split("\n")[0]


def tiled(rows: list[np.ndarray]) -> UInt8[np.ndarray, "height width channels"]:
    """Rows of as many images, in [-1, 1]; two channels and more are RGB."""
    images = np.stack([np.asarray(row, np.float32) for row in rows])
    return _rgb(pictures.tile(images, least=-(-SIDE // min(images.shape[2:4]))))


def enlarged(image: np.ndarray, side: int) -> UInt8[np.ndarray, "height width 3"]:
    """An image in [-1, 1], by a whole factor, so that no side is shorter."""
    return _rgb(pictures.tile(image[None, None], gap=0, least=-(-side // min(image.shape[:2]))))


def _rgb(canvas: np.ndarray) -> np.ndarray:
    return np.repeat(canvas[..., :1], 3, -1) if canvas.shape[-1] < 3 else canvas[..., :3]


class Studio:
    """A run on the page. Many may draw at once; what is compiled is kept.

    Args:
        config: of the run, as `runs.read_config` gives it.
        folder: the run's, of which nothing is read later.
        best: the checkpoint with the lowest validation loss.

    Raises:
        UserError: it draws no pictures, or cannot be read.
    """

    def __init__(self, config: Any, folder: Path, best: bool = False):
        if config.objective.name == classifier.OBJECTIVE:
            raise UserError(f"{folder}: {classifier.DRAWS_NOTHING}")
        self.config, self.name = config, folder.name
        self.run = restore(config, folder, best)
        shape = self.run.model.description.shape
        if len(shape) != 3 or shape[-1] not in (1, 3, 4):
            raise UserError(f"{folder}: its images of shape {shape} are no pictures, of which a page could be made")
        split = self.run.dataset.split("test" if "test" in self.run.dataset.sources else "validation")
        self.examples = split.rows(np.arange(min(EXAMPLES, len(split))))
        self._kept: OrderedDict[Any, tuple[Steps, set[Any]]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def told(self) -> tuple[str, ...]:
        """What samples can be asked to be."""
        return tuple(self.run.experiment.asked)

    @property
    def classes(self) -> list[str]:
        """The classes, by name or number."""
        description = self.run.model.description
        names = description.class_names or tuple(map(str, range(description.labels)))
        return list(names) if "label" in self.told else []

    @property
    def sketched(self) -> str | None:
        """The outlines that the network is told, or another picture, to be drawn after; None if there is none."""
        kinds = self.run.model.network.conditions.kinds
        ways = [name for name, kind in kinds if isinstance(kind, Picture) and name != KNOWN]
        return next((name for name in ways if name in OUTLINES), ways[0] if ways else None)

    @property
    def causal(self) -> bool:
        """Whether it draws in one order, and fills holes by choosing among candidates."""
        return self.run.model.network.causal

    @property
    def guided(self) -> bool:
        """Whether there is a weight to set."""
        return bool(self.config.model.conditions and self.config.objective.condition_drop)

    @property
    def steps(self) -> int:
        """Of the run's own sampler."""
        return len(self.run.experiment.sampling_in().grid) - 1

    @cached_property
    def samplers(self) -> list[str]:
        """Those that go with the run, its own first."""
        own = self.config.sampler.name
        return [own, *(name for name in SOLVERS if name != own and self._goes(name))]

    def _goes(self, name: str) -> bool:
        try:
            self._changed(Wish(sampler=name))
        except UserError:
            return False
        return True

    def _changed(self, wish: Wish) -> Any:
        """The config with what is wished of its sampler. Raises UserError for what cannot be."""
        config = self.config.copy_and_resolve_references()
        other = wish.sampler if wish.sampler != config.sampler.name else ""
        change_sampler(config, {"sampler": other or None, "steps": wish.steps or None})
        if wish.guidance is not None and self.guided and not config.sampler.guidance_each:
            config.sampler.guidance = float(wish.guidance)
        elif wish.guidance is not None and self.guided:
            *others, last = config.sampler.guidance_each
            config.sampler.guidance_each = (*others, f"{last.partition(':')[0]}:{float(wish.guidance)}")
        with options_named():
            check(config)
        return config

    def _as_wished(self, wish: Wish) -> Run:
        """The run with the sampler that is wished."""
        if not 1 <= wish.count <= MOST:
            raise UserError(f"count: {wish.count} is not one of 1 ... {MOST}")
        check_seed(wish.seed)
        if not 0 <= wish.steps <= 2000:
            raise UserError(f"steps: {wish.steps} is not one of 1 ... 2000, or 0 for the run's own")
        if self.guided and not wish.prompt.strip() and not wish.label:
            wish = replace(wish, guidance=1.0)  # nothing is asked that it could lead to
        config = self._changed(wish)
        helpers = self.run.experiment.sampling_in().helpers
        made = make(config, self.run.model.description).helped(helpers)
        return replace(self.run, experiment=made)

    def _asked(self, run: Run, wish: Wish) -> tuple[Any, Any]:
        """What each image is told, and what guidance leads away from."""
        known, count = run.experiment.asked, wish.count
        told: dict[str, Any] = {}
        if wish.prompt.strip() and "text" in known:
            told["text"] = wish.prompt
        if wish.label and "label" in known:
            told |= numbered({"label": wish.label}, run.model.description.class_names)
        nothing = self.guided and not told
        condition = known.null(count) if nothing else conditions_of(known, run.dataset, count, told)
        negative = None
        if wish.negative.strip() and "text" in known:
            negative = jax.tree.map(np.asarray, conditions_of(known, run.dataset, count, {"text": wish.negative}))
        return jax.tree.map(np.asarray, condition), negative

    def draw(self, wish: Wish) -> Iterator[Seen]:
        """Draw samples: above the state, below the network's estimate of the image.

        Raises:
            UserError: something that cannot be; so do all of these.
        """
        run = self._as_wished(wish)
        condition, negative = self._asked(run, wish)
        edit = Edit(run.experiment.sampling_in(), editing.Task(), {}, condition, wish.count, negative)
        yield from self._looked(run, edit, wish)

    def fill(
        self, wish: Wish, picture: brought.Brought, drawn: Bool[np.ndarray, "height width"], strength: float = 1.0
    ) -> Iterator[Seen]:
        """Draw where a picture is painted over, or of less than all its information removed there; nowhere: all of it.

        A network of a fixed order draws many candidates, and shows the best at the end.
        """
        run = self._as_wished(wish)
        if len(self.told) and not self.guided and not wish.label and not wish.prompt.strip():
            raise UserError(f"this run always knows its {', '.join(self.told)}; say what it is")
        condition, negative = self._asked(run, wish)
        images = np.stack([picture.levels] * wish.count)
        if drawn.any():
            mask = brought.painted("the hole", drawn, picture, "painted").known
        elif strength < 1:
            mask = np.zeros((*picture.levels.shape[:2], 1), bool)
        else:
            raise UserError("nothing is painted: paint where to draw, or take less than all of its information")
        known = np.broadcast_to(mask, images.shape)
        how = Looking(wish.seed, condition, negative, candidates=editing.CANDIDATES)
        method = editing.own_method(run.model)
        if strength < 1:
            edit = editing.variation(run, images, known, strength, Vary("replacement"), how)
        elif not self.causal:
            edit = editing.hole(run, images, known, Inpaint(method), how)
        else:
            yield Seen(
                f"drawing {editing.CANDIDATES} candidates of each, of which one is chosen; it takes some seconds"
            )
            made = editing.inpaint(run, images, known, Inpaint(method), how)
            done = f"each is one of {editing.CANDIDATES} candidates, {made.evaluations.mean():.4g} network evaluations"
            yield Seen(done, tiled([np.asarray(run.model.description.encode(made.images))]))
            return
        yield from self._looked(run, edit, wish)

    def follow(self, wish: Wish, sketch: UInt8[np.ndarray, "height width channels"]) -> Iterator[Seen]:
        """Draw after a sketch."""
        run, name = self._as_wished(wish), self.sketched
        if name is None:
            raise UserError("the run is not told a sketch")
        condition, negative = self._asked(run, wish)
        kind: Any = run.model.network.conditions[name]
        condition = {**condition, name: kind.rows(np.stack([sketch] * wish.count))}
        yield from self._looked(run, editing.follow(run, Looking(wish.seed, condition, negative)), wish)

    def _looked(self, run: Run, edit: Edit, wish: Wish) -> Iterator[Seen]:
        """What is to be seen after each step, as often as it is worth it."""
        editing.check(run, edit)
        key = run.experiment.config.sampler.to_json(), repr(edit.task), edit.sampling.grid.tobytes()
        steps, seen = self._compiled(key, Steps(run.model, edit.sampling, edit.task))
        shapes = (wish.count, edit.negative is None)
        first = shapes not in seen
        yield Seen("compiling for these settings, which takes some seconds once" if first else "drawing")
        began, shown, encode = time.perf_counter(), 0.0, run.model.description.encode
        for frame in steps(run.params, wish.seed, edit.count, edit.condition, edit.negative, edit.given):
            seen.add(shapes)
            now = time.perf_counter()
            if frame.images is None and now - shown < EVERY:
                continue
            shown = now
            top = frame.x_t if frame.images is None else np.asarray(encode(frame.images))
            words = f"step {frame.step} of {frame.steps}"
            if frame.images is not None:
                took = f", {now - began:.2f} s{' with compiling' if first else ''}"
                words = f"{words}: {frame.evaluations} network evaluations an image{took}"
            yield Seen(words, tiled([row for row in (top, frame.x_hat) if row is not None]))

    def _compiled(self, key: Any, steps: Steps) -> tuple[Steps, set[Any]]:
        """What is kept for these settings, or these steps from now on; and for which shapes it was compiled."""
        with self._lock:
            found = self._kept.setdefault(key, (steps, set()))
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return found

    def example(self, number: int) -> brought.Brought:
        """A test image."""
        rows = self.examples
        if not 0 <= number < len(rows["image"]):
            raise UserError(f"there are {len(rows['image'])} test images here; the first is 0")
        return brought.Brought(np.asarray(rows["image"][number]), None, self._row(number))

    def _row(self, number: int) -> Any:
        return jax.tree.map(lambda values: np.asarray(values[number : number + 1]), self.examples["condition"])

    def brought(self, pixels: UInt8[np.ndarray, "height width channels"]) -> brought.Brought:
        """A picture that a person brings, made the run's size."""
        return brought.of_bytes("picture", png(pixels), self.run.dataset)

    def sketch(self, pixels: UInt8[np.ndarray, "height width channels"]) -> UInt8[np.ndarray, "h w c"]:
        """A drawing in the size of the picture that the network is told."""
        assert self.sketched is not None
        kind: Any = self.run.model.network.conditions[self.sketched]
        height, width = kind.size[:2]
        factor = pixels.shape[0] // height
        if factor > 1 and pixels.shape[:2] == (factor * height, factor * width):  # as the page gives it
            means = pixels.reshape(height, factor, width, factor, -1).mean((1, 3))
            pixels = np.round(means).astype(np.uint8)
        return brought.told_bytes("sketch", png(pixels), kind.size).levels


def png(pixels: UInt8[np.ndarray, "height width channels"]) -> bytes:
    """Pixels as a file."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(content, "PNG")
    return content.getvalue()
