"""The pictures: `draw` gives those of an endless stream, `draw_scene` those of given scenes.

Light falls from one side: it shades the ground, the plate and every thing, and each thing throws a soft shadow. Place,
length, turn, hue and brightness of a thing vary, and so does the ground, which is darker and greyer than any thing.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8

from ddpm_jax.data.still_lifes.colours import PALE, rgb, tints
from ddpm_jax.data.still_lifes.grammar import Scene
from ddpm_jax.data.still_lifes.layout import SIDE, Thing, layouts
from ddpm_jax.data.still_lifes.randomness import uniforms
from ddpm_jax.data.still_lifes.raster import rasterise
from ddpm_jax.data.still_lifes.splits import scenes as stream
from ddpm_jax.errors import UserError

PLATE = (7.65, 7.25)  # its half axes
_LOOKS = 2  # purpose of random numbers
_SHADOWS = (0.12, 0.4)  # how much of the light they take from a plate, and from the ground
_CHUNK = 512


def draw(
    seed: int, numbers: Sequence[int] | np.ndarray, size: int, unseen: bool = False
) -> tuple[UInt8[np.ndarray, "n size size 3"], list[Scene]]:
    """Pictures `numbers` of a seed's stream, and their scenes; the same ones in whatever batch.

    Args:
        seed: of the stream.
        numbers: which pictures; `splits.numbers` gives those of a split.
        size: pixels of a side, 16 or more.
        unseen: whether of the stream in which every scene has a held-out combination (`splits`).
    """
    numbers = np.asarray(numbers, np.int64)
    scenes = stream(seed, numbers, unseen)
    return draw_scene(scenes, seed, numbers, size), scenes


def draw_scene(
    scene: Scene | Sequence[Scene], seed: int, numbers: Sequence[int] | np.ndarray, size: int
) -> UInt8[np.ndarray, "n size size 3"]:
    """Pictures of a scene, or of one scene a number: what it leaves open is drawn by seed and number.

    Raises:
        UserError: the size is less than 16 or odd.
    """
    if size < SIDE or size % 2:
        raise UserError(f"still lifes of {size} pixels a side: make it {SIDE:.0f} or more, and even")
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
        names = [str(scenes[place].plate) for place in plated]
        image[plated] = _plate(image[plated], looks[plated], light[plated], names, size)
    owner = np.array([place for place, some in enumerate(things) for _ in some], np.int64)
    slot = np.array([number for some in things for number in range(len(some))], np.int64)
    flat = [thing for some in things for thing in some]
    patches = rasterise(flat, light[owner], size)
    colours = tints([thing.colour for thing in flat], looks[owner[:, None], 16 + 4 * slot[:, None] + np.arange(4)])
    depth = np.where(np.isin(owner, plated), *_SHADOWS).astype(np.float32)
    # a thing may reach over the edge
    margin = square = patches.cover.shape[-1]
    canvas = np.pad(image, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    ys = (patches.top[:, None] + margin + np.arange(square))[:, :, None]
    xs = (patches.left[:, None] + margin + np.arange(square))[:, None, :]
    turns = [np.flatnonzero(slot == number) for number in range(slot.max() + 1)]  # a thing a picture each
    for now in turns:
        canvas[owner[now, None, None], ys[now], xs[now]] *= (
            1 - (depth[now, None, None] * patches.shadow[now])[..., None]
        )
    for now in turns:
        at = owner[now, None, None], ys[now], xs[now]
        paints = patches.colour[now, ..., None] * colours[now, None, None] + patches.pale[now, ..., None] * PALE
        canvas[at] = canvas[at] * (1 - patches.cover[now, ..., None]) + paints
    return np.round(np.clip(canvas[:, margin:-margin, margin:-margin], 0, 1) * 255).astype(np.uint8)


def _ground(looks: Float32[np.ndarray, "n k"], size: int) -> tuple[np.ndarray, np.ndarray]:
    """The light [n, 2] and the ground [n, size, size, 3]: grey with a tint, brighter towards the light.

    The light is a direction in the picture, of the light's strength as its length.
    """
    u = looks[:, :6].astype(np.float64)
    angle, strength = 2 * np.pi * u[:, 0], 0.7 + 0.3 * u[:, 1]
    light = (np.stack([np.cos(angle), np.sin(angle)], -1) * strength[:, None]).astype(np.float32)
    ticks = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    slope = light[:, 0, None, None] * ticks + light[:, 1, None, None] * ticks[:, None]
    middle, range_ = (0.15 + 0.09 * looks[:, 2])[:, None, None], (0.03 + 0.05 * looks[:, 3])[:, None, None]
    tint = rgb(360 * u[:, 4], 0.3 * u[:, 5], np.ones(len(u)))
    return light, (middle + range_ * slope)[..., None] * tint[:, None, None, :]


def _plate(image: np.ndarray, looks: np.ndarray, light: np.ndarray, names: list[str], size: int) -> np.ndarray:
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
    tint = tints(names, u[:, 4:8])
    return image * (1 - cover)[..., None] + (cover * shade)[..., None] * tint[:, None, None, :]
