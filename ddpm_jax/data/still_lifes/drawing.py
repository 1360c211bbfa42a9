"""The pictures: `draw` gives those of an endless stream, `draw_scene` those of given scenes.

Light falls from one side: it shades the ground, the plate and every thing, and each thing throws a soft shadow. Place,
length, turn, hue and brightness of a thing vary, and so does the ground, which is darker and greyer than any thing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from ddpm_jax.data.still_lifes.grammar import COLOURS, KINDS, Scene
from ddpm_jax.data.still_lifes.layout import SIDE, Thing, layouts
from ddpm_jax.data.still_lifes.randomness import uniforms
from ddpm_jax.data.still_lifes.shapes import SHAPES
from ddpm_jax.data.still_lifes.splits import scenes as stream

HUES = {
    "red": (0.0, 0.84, 0.90),
    "orange": (27.0, 0.90, 0.98),
    "yellow": (54.0, 0.82, 0.97),
    "green": (125.0, 0.72, 0.76),
    "blue": (216.0, 0.76, 0.92),
    "purple": (276.0, 0.62, 0.82),
    "pink": (335.0, 0.42, 0.98),
    "white": (40.0, 0.03, 0.96),
}
"""Hue in degrees, saturation and value of each colour, about which a thing's own varies."""

PALE = np.array([1.0, 0.96, 0.86], np.float32)  # of stalks, rinds and labels
PLATE = (7.65, 7.25)  # its half axes
_LOOKS = 2  # purpose of random numbers
_CHUNK = 512


class Patches(NamedTuple):
    """Things drawn each in a square of pixels: of each pixel the share covered, coloured and pale, and the corner."""

    cover: Float32[np.ndarray, "n p p"]
    colour: Float32[np.ndarray, "n p p"]
    pale: Float32[np.ndarray, "n p p"]
    shadow: Float32[np.ndarray, "n p p"]
    left: np.ndarray
    top: np.ndarray


def draw(
    seed: int, numbers: Sequence[int] | np.ndarray, size: int, unseen: bool = False
) -> tuple[UInt8[np.ndarray, "n size size 3"], list[Scene]]:
    """Pictures `numbers` of a seed's stream, and their scenes; the same ones in whatever batch.

    Args:
        seed: of the stream.
        numbers: which pictures; `splits.numbers` gives those of a split.
        size: pixels of a side; the things are told apart from 16 on.
        unseen: whether of the stream in which every scene has a held-out combination (`splits`).
    """
    numbers = np.asarray(numbers, np.int64)
    scenes = stream(seed, numbers, unseen)
    return draw_scene(scenes, seed, numbers, size), scenes


def draw_scene(
    scene: Scene | Sequence[Scene], seed: int, numbers: Sequence[int] | np.ndarray, size: int
) -> UInt8[np.ndarray, "n size size 3"]:
    """Pictures of a scene, or of one scene a number: what it leaves open is drawn by seed and number."""
    numbers = np.asarray(numbers, np.int64)
    scenes = [scene] * len(numbers) if isinstance(scene, Scene) else list(scene)
    images = np.empty((len(numbers), size, size, 3), np.uint8)
    for start in range(0, len(numbers), _CHUNK):
        rows = slice(start, start + _CHUNK)
        images[rows] = paint(scenes[rows], layouts(scenes[rows], seed, numbers[rows]), seed, numbers[rows], size)
    return images


def paint(
    scenes: Sequence[Scene], things: list[list[Thing]], seed: int, numbers: np.ndarray, size: int
) -> UInt8[np.ndarray, "n size size 3"]:
    """Pictures of things that are placed already."""
    looks = uniforms(seed, numbers, _LOOKS, 48).astype(np.float32)
    light, image = _ground(looks, size)
    plated = np.array([place for place, scene in enumerate(scenes) if scene.plate], np.int64)
    if len(plated):
        colours = [COLOURS.index(str(scenes[place].plate)) for place in plated]
        image[plated] = _plate(image[plated], looks[plated], light[plated], colours, size)
    owners = np.array([place for place, some in enumerate(things) for _ in some], np.int64)
    slots = np.array([slot for some in things for slot in range(len(some))], np.int64)
    flat = [thing for some in things for thing in some]
    patches = rasterise(flat, light[owners], size)
    own = np.take_along_axis(looks[owners], 16 + slots[:, None] * 4 + np.arange(4), axis=1)
    tints = _tints([COLOURS.index(thing.colour) for thing in flat], own)
    pixels = patches.cover.shape[-1]
    margin = pixels
    padded = np.pad(image, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    square = np.arange(pixels)
    of_plate = np.isin(owners, plated)
    for stage in ("shadow", "thing"):
        for slot in range(slots.max() + 1):
            here = np.flatnonzero(slots == slot)
            ys = (patches.top[here, None] + margin + square)[:, :, None]
            xs = (patches.left[here, None] + margin + square)[:, None, :]
            at = (owners[here, None, None], ys, xs)
            under = padded[at]
            if stage == "shadow":
                depth = np.where(of_plate[here], 0.14, 0.4).astype(np.float32)[:, None, None]
                padded[at] = under * (1 - depth * patches.shadow[here])[..., None]
            else:
                ink = patches.colour[here][..., None] * tints[here, None, None] + patches.pale[here][..., None] * PALE
                padded[at] = under * (1 - patches.cover[here])[..., None] + ink
    inner = padded[:, margin:-margin, margin:-margin]
    return np.round(np.clip(inner, 0, 1) * 255).astype(np.uint8)


def rasterise(things: Sequence[Thing], light: Float32[np.ndarray, "n 2"], size: int) -> Patches:
    """Each thing in its own square of pixels, lit from `light` (a direction whose length is the strength)."""
    scale = size / SIDE
    pixels = int(np.ceil(9.4 * scale))
    fine = 3 if size < 24 else 2
    xs, ys, lengths, turns = (
        np.array([getattr(thing, name) for thing in things], np.float64) for name in ("x", "y", "length", "turn")
    )
    left, top = (np.floor(centre * scale - pixels / 2 + 0.5).astype(np.int64) for centre in (xs, ys))
    count = len(things)
    out = [np.empty((count, pixels, pixels), np.float32) for _ in range(4)]
    kinds = np.array([KINDS.index(thing.kind) for thing in things], np.int64)
    ticks = ((np.arange(pixels * fine) + 0.5) / fine).astype(np.float32)
    cosines, sines = (function(turns).astype(np.float32) for function in (np.cos, np.sin))
    for kind in range(len(KINDS)):
        here = np.flatnonzero(kinds == kind)
        if not len(here):
            continue
        unit = (lengths[here] * scale).astype(np.float32)[:, None, None]
        dx = ((left[here] - xs[here] * scale).astype(np.float32)[:, None] + ticks)[:, None, :] / unit
        dy = ((top[here] - ys[here] * scale).astype(np.float32)[:, None] + ticks)[:, :, None] / unit
        c, s = cosines[here, None, None], sines[here, None, None]
        x, y = c * dx + s * dy, c * dy - s * dx
        surface = SHAPES[KINDS[kind]](x, y)
        cover = np.clip(0.5 - surface.distance * unit * fine, 0, 1)
        lx, ly = light[here, 0, None, None], light[here, 1, None, None]
        shade = np.clip(0.94 + 0.5 * (dx * lx + dy * ly) - 0.3 * (x * x + y * y), 0, 1.1)
        lit = cover * shade * surface.tone
        shift = np.float32(0.09)
        cast = SHAPES[KINDS[kind]](
            c * (dx + shift * lx) + s * (dy + shift * ly), c * (dy + shift * ly) - s * (dx + shift * lx)
        ).distance
        soft = np.clip(0.5 - cast * unit / (1.2 * scale), 0, 1)
        for target, fine_values in zip(out, (cover, lit * (1 - surface.pale), lit * surface.pale, soft), strict=True):
            target[here] = fine_values.reshape(len(here), pixels, fine, pixels, fine).mean((2, 4))
    return Patches(*out, left, top)


def _ground(looks: Float32[np.ndarray, "n k"], size: int) -> tuple[np.ndarray, np.ndarray]:
    """The light's direction [n, 2] and the ground [n, size, size, 3]: grey with a tint, brighter towards the light."""
    u = looks[:, :8].astype(np.float64)
    angle = 2 * np.pi * u[:, 0]
    strength = 0.7 + 0.3 * u[:, 1]
    light = np.stack([np.cos(angle) * strength, np.sin(angle) * strength], -1).astype(np.float32)
    ticks = ((np.arange(size) + 0.5) / size * 2 - 1).astype(np.float32)
    slope = light[:, 0, None, None] * ticks[None, None, :] + light[:, 1, None, None] * ticks[None, :, None]
    middle, range_ = (0.15 + 0.09 * u[:, 2]), (0.03 + 0.05 * u[:, 3])
    tone = (middle.astype(np.float32)[:, None, None] + range_.astype(np.float32)[:, None, None] * slope)
    tint = _rgb(360 * u[:, 4], 0.3 * u[:, 5], np.ones(len(u)))
    return light, tone[..., None] * tint[:, None, None, :]


def _plate(image: np.ndarray, looks: np.ndarray, light: np.ndarray, colours: list[int], size: int) -> np.ndarray:
    """The pictures with a plate on the ground: a disc with a rim, a little out of the middle."""
    scale = size / SIDE
    u = looks[:, 8:16]
    middle = size / 2 + (u[:, :2] - 0.5) * 0.4 * scale
    axes = np.asarray(PLATE, np.float32) * (1 - 0.04 * u[:, 2:4]) * scale
    ticks = (np.arange(size) + 0.5).astype(np.float32)
    px = (ticks[None, None, :] - middle[:, 0, None, None]) / axes[:, 0, None, None]
    py = (ticks[None, :, None] - middle[:, 1, None, None]) / axes[:, 1, None, None]
    radius = np.sqrt(px * px + py * py)
    pixel = axes.mean(1)[:, None, None]
    cover = np.clip(0.5 - (radius - 1) * pixel, 0, 1)
    rim = np.clip((radius - 0.86) * pixel + 0.5, 0, 1)
    slope = px * light[:, 0, None, None] + py * light[:, 1, None, None]
    shade = (0.84 + 0.1 * slope) * (1 - 0.2 * rim)
    tint = _tints(colours, u[:, 4:8])
    return image * (1 - cover)[..., None] + (cover * shade)[..., None] * tint[:, None, None, :]


def _tints(colours: Sequence[int], u: np.ndarray) -> Float32[np.ndarray, "n 3"]:
    """Colours as RGB, each a little off in hue, saturation and value."""
    table = np.array([HUES[name] for name in COLOURS])[np.asarray(colours, np.int64)]
    u = u.astype(np.float64)
    hue = table[:, 0] + 6 * (2 * u[:, 0] - 1)
    return _rgb(hue, table[:, 1] * (0.94 + 0.12 * u[:, 1]), np.minimum(table[:, 2] * (0.93 + 0.12 * u[:, 2]), 1.0))


def _rgb(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> Float32[np.ndarray, "n 3"]:
    """HSV to RGB: v - v s max(0, min(k, 4 - k, 1)) with k = (5, 3, 1) + hue/60 modulo 6."""
    k = (np.array([5.0, 3.0, 1.0]) + hue[:, None] / 60) % 6
    rgb = value[:, None] * (1 - saturation[:, None] * np.clip(np.minimum(k, 4 - k), 0, 1))
    return rgb.astype(np.float32)
