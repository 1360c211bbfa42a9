"""The page: to draw, to edit, and to look at what a process removes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
import numpy as np

from ddpm_jax.data import emoji
from ddpm_jax.errors import UserError, keep_traceback
from ddpm_jax.page.controls import Controls, wish
from ddpm_jax.page.removal import Removal
from ddpm_jax.page.studio import EXAMPLES, OUTLINES, Seen, Studio, enlarged, plain

Shown = tuple[Any, str]
"""A picture, or nothing new, and words."""

CANVAS = 320
"""Pixels that a side of what is painted on has at least."""


def on_page(seen: Iterator[Seen]) -> Iterator[Shown]:
    """What is seen, as the page shows it; a mistake as a line, with the picture as it was."""
    try:
        for one in seen:
            yield (gr.skip() if one.picture is None else one.picture), one.words
    except UserError as error:
        yield gr.skip(), f"error: {plain(error)}"
    except Exception as error:  # the page goes on
        yield gr.skip(), unexpected(error)


def unexpected(error: Exception) -> str:
    """A fault of the program in a line; its traceback is kept in a file."""
    file = keep_traceback(error)
    place = f"; please report it with {file}" if file else ""
    return f"error: unexpected, and not your mistake: {type(error).__name__}{place}"


@dataclass(frozen=True, eq=False)
class Draw:
    """What the button draws: samples of a run."""

    studio: Studio

    def shown(self, *values: Any) -> Iterator[Shown]:
        """The pictures on their way."""
        yield from on_page(self.studio.draw(wish(values)))


@dataclass(frozen=True, eq=False)
class Fill:
    """What the button draws: where a picture is painted over."""

    studio: Studio

    def shown(self, painted: Any, number: float | int, strength: float | int, *values: Any) -> Iterator[Shown]:
        """The pictures on their way."""
        yield from on_page(self._seen(painted, int(number or 0), strength, *values))

    def _seen(self, painted: Any, number: int, strength: float | int, *values: Any) -> Iterator[Seen]:
        if not painted or painted.get("background") is None:
            raise UserError("there is no picture: take a test image, or bring one of yours")
        background = np.asarray(painted["background"])
        drawn = np.zeros(background.shape[:2], bool)
        for layer in painted.get("layers") or ():
            drawn |= np.asarray(layer)[..., 3] > 0
        own = canvas(self.studio, number)["background"]
        untouched = background.shape == own.shape and np.array_equal(background, own)
        picture = self.studio.example(number) if untouched else self.studio.brought(opaque(background))
        yield from self.studio.fill(wish(values), picture, drawn, float(strength or 1))


@dataclass(frozen=True, eq=False)
class Follow:
    """What the button draws: after a sketch."""

    studio: Studio

    def shown(self, painted: Any, *values: Any) -> Iterator[Shown]:
        """The pictures on their way."""
        yield from on_page(self._seen(painted, *values))

    def _seen(self, painted: Any, *values: Any) -> Iterator[Seen]:
        if not painted or painted.get("composite") is None:
            raise UserError("there is no sketch: draw one")
        pixels = opaque(np.asarray(painted["composite"]))
        yield from self.studio.follow(wish(values), self.studio.sketch(pixels))


def opaque(pixels: np.ndarray) -> np.ndarray:
    """Pixels with alpha, laid on white."""
    alpha = pixels[..., 3:].astype(np.float32) / 255
    return np.round(pixels[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Look:
    """What the slider shows of each run."""

    removals: Sequence[Removal]

    def at(self, number: float | int | None, t: float | None, seed: float | int | None, tell: bool) -> list[Any]:
        """A picture of each run, and words."""
        asked = int(number or 0), float(t or 0), int(seed or 0), tell
        return [part for one in self.removals for part in next(on_page(each.at(*asked) for each in (one,)))]

    def film(self, number: float | int | None, seed: float | int | None, tell: bool) -> list[Any]:
        """Likewise of all times."""
        asked = int(number or 0), int(seed or 0), tell
        return [part for one in self.removals for part in next(on_page(each.film(*asked) for each in (one,)))]


def page(studios: Sequence[Studio]) -> gr.Blocks:
    """The page on one run, or on two side by side."""
    title = " and ".join(studio.name for studio in studios)
    sides = [("left", studios[0]), ("right", studios[-1])]
    with gr.Blocks(analytics_enabled=False, title=title, delete_cache=(60, 600)) as made:
        gr.Markdown(f"# {title}")
        with gr.Tab("Draw"), gr.Row():
            with gr.Column():
                left = _draw(*sides[0], None)
            with gr.Column():
                _draw(*sides[1], left)
        for name, studio in sides[: len(studios)]:
            suffix = f" with {studio.name}" if len(studios) > 1 else ""
            with gr.Tab(f"Edit{suffix}"):
                painted = _fill(f"{name}-edit", studio)
            made.load(partial(canvas, studio, 0), None, [painted], api_visibility="private")
            if studio.sketched:
                with gr.Tab(f"Sketch{suffix}"):
                    _follow(f"{name}-sketch", studio)
        with gr.Tab("See what is removed"):
            _look(studios)
        if any(one.config.data.name.partition("/")[0] == emoji.NAME for one in studios):
            gr.Markdown(emoji.ATTRIBUTION)
    return made


def _button(words: str, name: str, handler: Callable[..., Any], inputs: Sequence[Any], state: str = "") -> None:
    """A button, what it draws, and one that ends it."""
    with gr.Row():
        go = gr.Button(words, variant="primary", elem_id=f"{name}-go")
        stop = gr.Button("Stop", elem_id=f"{name}-stop")
    status = gr.Markdown(state, elem_id=f"{name}-status")
    picture = gr.Image(
        label="", show_label=False, format="png", interactive=False, elem_id=f"{name}-picture", buttons=["download"]
    )
    going = go.click(handler, list(inputs), [picture, status], show_progress="hidden", api_visibility="private")
    stop.click(None, cancels=[going])


def same(*values: Any) -> tuple[Any, ...]:
    """The settings of one side, for the other."""
    return values


def _draw(name: str, studio: Studio, first: Controls | None) -> Controls:
    """The settings of a run, and what it draws by them; the second side can take those of the first."""
    gr.Markdown(f"### {studio.name}: step {studio.run.step}, {studio.config.process.name}")
    taking = gr.Button("as on the left; then change one thing", elem_id=f"{name}-take") if first else None
    made = Controls.of(studio, name)
    if first is not None and taking is not None:
        pairs = [
            (own, other)
            for own, other in zip(made.all, first.all, strict=True)
            if own is not made.sampler or set(first.sampler.choices) == set(own.choices)
        ]
        taking.click(same, [other for _, other in pairs], [own for own, _ in pairs], api_visibility="private")
    words = "above what is there, below what the network expects of it; at the end the images"
    _button("Draw", name, Draw(studio).shown, made.all, words)
    return made


def canvas(studio: Studio, number: float | int) -> dict[str, Any]:
    """A test image to paint on, enlarged."""
    own = studio.example(int(number))
    pixels = enlarged(np.asarray(studio.run.model.description.encode(own.levels)), CANVAS)
    whole = np.concatenate([pixels, np.full((*pixels.shape[:2], 1), 255, np.uint8)], -1)
    return {"background": whole, "layers": [], "composite": whole}


def editor(size: tuple[int, int], label: str, name: str, brush: gr.Brush) -> gr.ImageEditor:
    """What is painted on, of this height and width; white at first."""
    height, width = size
    return gr.ImageEditor(
        type="numpy",
        image_mode="RGBA",
        brush=brush,
        transforms=(),
        sources=("upload", "clipboard"),
        layers=False,
        format="png",
        canvas_size=(width, height),
        height=height + 100,
        label=label,
        elem_id=name,
    )


def _fill(name: str, studio: Studio) -> gr.ImageEditor:
    with gr.Row():
        with gr.Column():
            gr.Markdown("Take a test image, or bring a picture, and paint where to draw.")
            number = gr.Slider(
                0, len(studio.examples["image"]) - 1, 0, step=1, label="test image", elem_id=f"{name}-number"
            )
            brush = gr.Brush(default_size=40, colors=["#ff00ff"], color_mode="fixed")
            painted = editor(canvas(studio, 0)["background"].shape[:2], "picture", f"{name}-painted", brush)
            number.release(partial(canvas, studio), [number], [painted], api_visibility="private")
        with gr.Column():
            strength = gr.Slider(0.05, 1, 1, step=0.05, label="how much is removed before it is drawn again")
            made = Controls.of(studio, name)
            _button("Draw there", name, Fill(studio).shown, [painted, number, strength, *made.all])
    return painted


def _follow(name: str, studio: Studio) -> None:
    with gr.Row():
        with gr.Column():
            outlines = studio.sketched in OUTLINES
            gr.Markdown(
                "Draw outlines, black on white." if outlines else f"Bring the picture to follow: {studio.sketched}."
            )
            brush = gr.Brush(default_size=10, colors=["#000000"], color_mode="fixed")
            kind: Any = studio.run.model.network.conditions[str(studio.sketched)]
            factor = -(-CANVAS // min(kind.size[:2]))
            size = factor * kind.size[0], factor * kind.size[1]
            painted = editor(size, "sketch", f"{name}-painted", brush)
        with gr.Column():
            made = Controls.of(studio, name)
            _button("Draw after it", name, Follow(studio).shown, [painted, *made.all])


def _look(studios: Sequence[Studio]) -> None:
    gr.Markdown(
        "A process removes information from an image as t goes from 0 to 1: it adds noise, or hides pixels. A network "
        "predicts the image from what is left. One evaluation gives the mean of all images that it may have been, "
        "which is blurred. A sampler goes back from 1 to 0 and puts the information back bit by bit."
    )
    looks = Look([Removal(studio) for studio in studios])
    with gr.Row():
        most = min(EXAMPLES, *(len(studio.examples["image"]) for studio in studios)) - 1
        number = gr.Slider(0, most, 0, step=1, label="test image", elem_id="see-number")
        t = gr.Slider(0, 1, 0.5, step=0.01, label="t: how much is removed", elem_id="see-t")
        seed = gr.Number(0, label="seed of what is removed", precision=0, minimum=0)
        tell = gr.Checkbox(False, label="tell the network what it is", visible=any(s.guided for s in studios))
    shown: list[Any] = []
    films: list[Any] = []
    for place, studio in enumerate(studios):
        gr.Markdown(f"### {studio.name}")
        shown += [
            gr.Image(show_label=False, format="png", interactive=False, elem_id=f"see-{place}", buttons=[]),
            gr.Markdown("move t", elem_id=f"see-{place}-status"),
        ]
        films += [gr.Image(show_label=False, format="png", interactive=False, elem_id=f"film-{place}", buttons=[])]
        films += [gr.Markdown("")]
    everything = [number, t, seed, tell]
    for one in (number, t, seed, tell):
        one.change(
            looks.at, everything, shown, show_progress="hidden", trigger_mode="always_last", api_visibility="private"
        )
    button = gr.Button("Show all times", elem_id="see-film")
    button.click(looks.film, [number, seed, tell], films, api_visibility="private")
