"""Parts of still lifes are repainted by a prompt, and whole ones drawn after sketches; the oracle says what is there.

    python -m ddpm_jax.train --config=configs/still_lifes/edit.py --workdir=runs/still_lifes_edit
    python experiments/editing/still_lifes.py --workdir=runs/still_lifes_edit --output=still_lifes.json

- one: of pictures with one thing a square about it is repainted as "a green banana", which no picture of the training
  showed. Of pictures with two, the right one is, and the prompt says both.
- sketch: the outlines of test pictures, alone and with their captions. `kind` and `place` are the shares of pictures of
  whose things, as the oracle reads them, all have their kind, and lie within two sixteenths of the side of where the
  sketch's picture has them. Captions alone stand beside them.

What is asked of a picture is what its prompt says, all of it and nothing else, as the oracle reads it ("all").
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ddpm_jax import commands, runs
from ddpm_jax.commands import starting
from ddpm_jax.data import still_lifes
from ddpm_jax.data.levels import table
from ddpm_jax.data.still_lifes import COLOURS, KINDS, Group, Scene, caption, held_out
from ddpm_jax.editing import Inpaint, Task
from ddpm_jax.errors import UserError
from ddpm_jax.pipeline import editing
from ddpm_jax.pipeline.editing import Edit, Looking
from ddpm_jax.pipeline.restored import Run, restore

BANANA = Group("banana", "green")
HALF, NEAR, SEED, FIRST = 5, 2.0, 0, 2**30
"""Of a square's side and of a place, in sixteenths of the side; and the first number of the pictures drawn here."""

WAYS = {
    "replacement": (Inpaint(), {}),
    "replacement, jumps of 4 steps, 5 times": (Inpaint(), {"jump": 4, "repeats": 5}),
    "pigdm": (Inpaint("pigdm"), {}),
    "trained": (Inpaint("trained"), {}),
}


def scenes(count: int, things: int, rng: np.random.Generator) -> list[Scene]:
    """Scenes of one thing, or of two side by side, that training may show."""
    found: list[Scene] = []
    while len(found) < count:
        groups = [Group(str(rng.choice(list(KINDS))), str(rng.choice(list(COLOURS)))) for _ in range(things)]
        try:
            scene = Scene(tuple(groups), "left of" if things == 2 else None)
        except UserError:  # two of one kind and colour, and the like
            continue
        if not held_out(scene):
            found.append(scene)
    return found


def pictures(run: Run, made: Sequence[Scene]) -> tuple[np.ndarray, list[Any], np.ndarray]:
    """Pictures of scenes that the oracle reads aright, as the run stores them, their readings, and which they are."""
    size, levels = run.model.description.shape[0], run.model.description.levels or 256
    images = still_lifes.draw_scene(made, SEED, range(FIRST, FIRST + len(made)), size)
    stored = table(256, levels)[images]
    readings = still_lifes.read(table(levels, 256)[stored])
    right = [number for number, one in enumerate(readings) if still_lifes.agrees(one, made[number])["all"]]
    return stored[right], [readings[number] for number in right], np.asarray(right)


def about(things: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray:
    """Where pictures are known: not within a square about a thing of each."""
    size = shape[1]
    known = np.ones(shape, bool)
    for number, thing in enumerate(things):
        low, high = (np.array([thing.y, thing.x]) + shift for shift in (-HALF, HALF))
        (top, left), (bottom, right) = np.round(np.clip([low, high], 0, 16) * size / 16).astype(int)
        known[number, top:bottom, left:right] = False
    return known


def repainted(run: Run, things: int, count: int) -> list[dict[str, Any]]:
    """Each method on pictures of so many things, and the prompts drawn without a picture."""
    made = scenes(count, things, np.random.default_rng(things))
    images, readings, which = pictures(run, made)
    known = about([reading.things[-1] for reading in readings], images.shape)
    others = [made[number].groups[:-1] for number in which]
    prompts = [caption(Scene((*groups, BANANA), "left of" if groups else None)) for groups in others]
    condition = untold(run, len(images)) | {"text": run.experiment.asked["text"].rows(prompts)}
    rows = [{"method": "no picture", **drawn(run, condition, prompts)}]
    for name, (task, options) in WAYS.items():
        how = Looking(SEED, condition, **options)
        found = editing.inpaint(run, images, known, task, how)
        assert np.array_equal(found.images[known], images[known])  # the rest, to the bit
        rows.append({"method": name, **shares(run, found.images, prompts), "evaluations": found.evaluations.mean()})
    return [{"things": things, "pictures": len(images), **row} for row in rows]


def untold(run: Run, count: int) -> dict[str, np.ndarray]:
    """Nothing is said of so many pictures."""
    return {name: np.asarray(values) for name, values in run.experiment.asked.null(count).items()}


def drawn(run: Run, condition: dict[str, np.ndarray], prompts: Sequence[str]) -> dict[str, Any]:
    """What is drawn without a picture."""
    edit = Edit(run.experiment.sampling_in(), Task(), {}, condition, len(prompts))
    found = editing.draw(run, edit, Looking(SEED))
    return {**shares(run, found.images, prompts), "evaluations": found.evaluations.mean()}


def shares(run: Run, images: np.ndarray, prompts: Sequence[str]) -> dict[str, float]:
    """Of pictures that show what is asked."""
    oracle: Any = run.dataset.oracle
    found = oracle.agreement(images, prompts)
    return {name: float(value) for name, value in found.items() if not np.isnan(value)}  # what no prompt asks has none


def alike(one: Any, other: Any) -> tuple[bool, bool]:
    """Whether two readings have things of the same kinds, and, of any kinds, at the same places."""
    kinds = [sorted(str(thing.kind) for thing in reading.things) for reading in (one, other)]
    left = list(other.things)
    for thing in one.things:
        near = [found for found in left if np.hypot(found.x - thing.x, found.y - thing.y) <= NEAR]
        if not near:
            return kinds[0] == kinds[1], False
        left.remove(near[0])
    return kinds[0] == kinds[1], not left


def sketched(run: Run, count: int) -> list[dict[str, Any]]:
    """Pictures after sketches, with captions and without; and after captions alone."""
    rows = run.dataset.split("test").rows(np.arange(count))
    levels, kinds = run.model.description.levels or 256, run.experiment.asked
    before = still_lifes.read(table(levels, 256)[rows["image"]])
    words = [kinds["text"].words(value) for value in rows["condition"]["text"]]
    found = []
    for name, told in {"sketch": ("edges",), "sketch and caption": ("edges", "text"), "caption": ("text",)}.items():
        condition = untold(run, count) | {one: np.asarray(rows["condition"][one]) for one in told}
        edit = Edit(run.experiment.sampling_in(), Task(), {}, condition, count)
        images = editing.draw(run, edit, Looking(SEED)).images
        pairs = [
            alike(one, other) for one, other in zip(before, still_lifes.read(table(levels, 256)[images]), strict=True)
        ]
        kind, place = np.mean(pairs, axis=0)
        both = float(np.mean([all(pair) for pair in pairs]))
        figures = {"kind": float(kind), "place": float(place), "both": both}
        found.append({"told": name, "pictures": count, **figures, "all": shares(run, images, words)["all"]})
    return found


def main(arguments: Sequence[str]) -> None:
    """Read the command line, measure, print."""
    parser = commands.Parser(prog="python experiments/editing/still_lifes.py", description=__doc__)
    parser.add_argument("--workdir", metavar="DIR", required=True, help="a run of configs/still_lifes/edit.py")
    parser.add_argument("--count", type=int, default=200, help="of pictures of each kind (default: 200)")
    parser.add_argument("--output", metavar="FILE.json", help="also write the figures there")
    options = commands.parse(parser, arguments)
    starting.start_jax()
    config = runs.read_config(Path(options.workdir))
    if not {"text", "edges", "known"} <= set(config.model.conditions):
        raise UserError("--workdir: the run is to be told text, edges and known: configs/still_lifes/edit.py")
    run = restore(config, Path(options.workdir))
    result = {"run_step": run.step, "repainted": [], "sketched": sketched(run, options.count)}
    for row in result["sketched"]:
        print("{told:20} kind {kind:.1%}, place {place:.1%}, both {both:.1%}, all asked {all:.1%}".format(**row))
    for things in (1, 2):
        result["repainted"] += repainted(run, things, options.count)
        for row in result["repainted"]:
            if row["things"] == things:
                print("{things} things, {pictures} pictures: {method:40} all {all:.1%}".format(**row), flush=True)
    if options.output:
        Path(options.output).write_text(json.dumps(result, indent=1, default=float))


if __name__ == "__main__":
    commands.run(main)
