"""Still lifes: a small world that is drawn without end, said in words, and read back by an oracle.

`draw` gives pictures and scenes of an endless stream, `draw_scene` pictures of a given scene; `caption` and `parse` go
between a scene and its words. `read` says what pictures show, `agrees` whether that is what a scene asks, `accuracy`
how often the oracle is right. `numbers` gives a split's part of the stream; some combinations are kept from training.

>>> from ddpm_jax.data import still_lifes
>>> scene = still_lifes.parse("a green banana on a white plate")
>>> still_lifes.held_out(scene)
True
>>> images = still_lifes.draw_scene(scene, seed=0, numbers=range(3), size=32)
>>> still_lifes.agrees(still_lifes.read(images)[0], scene)["all"]
True
"""

from ddpm_jax.data.still_lifes.agreement import COLUMNS, Accuracy, accuracy, agreement, agrees
from ddpm_jax.data.still_lifes.drawing import draw, draw_scene
from ddpm_jax.data.still_lifes.grammar import (
    COLOURS,
    KINDS,
    PLACES,
    RELATIONS,
    SIZES,
    WORDS,
    Group,
    Scene,
    caption,
    parse,
)
from ddpm_jax.data.still_lifes.reading import Found, Reading, read
from ddpm_jax.data.still_lifes.splits import HELD_OUT_PAIRS, HELD_OUT_RELATIONS, SPLITS, held_out, numbers, scenes

VERSION = 2
"""Of what is drawn: another number is another data set."""

__all__ = [
    "COLOURS",
    "COLUMNS",
    "HELD_OUT_PAIRS",
    "HELD_OUT_RELATIONS",
    "KINDS",
    "PLACES",
    "RELATIONS",
    "SIZES",
    "SPLITS",
    "VERSION",
    "WORDS",
    "Accuracy",
    "Found",
    "Group",
    "Reading",
    "Scene",
    "accuracy",
    "agreement",
    "agrees",
    "caption",
    "draw",
    "draw_scene",
    "held_out",
    "numbers",
    "parse",
    "read",
    "scenes",
]
