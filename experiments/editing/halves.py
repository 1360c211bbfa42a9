"""Half of each test image is hidden and drawn by every run of a folder: how near to real ones, how diverse, how right.

    python experiments/editing/halves.py --runs=runs/digits_told --output=experiments/editing/halves.json

The right half of all test images of the digits is drawn once, and eight times of the first 32. The runs are told
nothing of an image but its left half (they are trained to be told its class or not). Their folder is that of
`experiments/families/run.py` with `conditional` members, or of any others. Printed are

- Frechet: of the completed images to the test images, in the digits' features;
- class: the share that the digits' classifier takes for the class of the image;
- diversity: how far two completions of one image are from each other in the hidden half, as a share of how far the
  halves of two test images are (root mean squares).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ddpm_jax import commands, runs
from ddpm_jax.commands import starting
from ddpm_jax.editing import Inpaint
from ddpm_jax.errors import UserError
from ddpm_jax.evaluation.embedding import classifier_of
from ddpm_jax.evaluation.figures import quality
from ddpm_jax.pipeline import editing
from ddpm_jax.pipeline.editing import CANDIDATES, Looking
from ddpm_jax.pipeline.restored import Run, restore

DIVERSE, TIMES, SEED = 32, 8, 0


@dataclass(frozen=True)
class Way:
    """A method, and how it is drawn."""

    name: str
    task: Inpaint
    how: Looking


def ways(run: Run) -> Iterator[Way]:
    """Those that go with a run."""
    plain = Looking(SEED, candidates=CANDIDATES)
    if run.model.process.kind != "gaussian":
        causal = run.model.network.causal
        yield Way(f"{CANDIDATES} candidates" if causal else "known first", Inpaint(), plain)
        return
    yield Way("replacement", Inpaint(), plain)
    yield Way("replacement, jumps of 5 steps, 10 times", Inpaint(), replace(plain, jump=5, repeats=10))
    yield Way("tmpd", Inpaint("tmpd"), plain)


def known_half(images: np.ndarray) -> np.ndarray:
    """Where images are known."""
    known = np.zeros(images.shape, bool)
    known[:, :, : images.shape[2] // 2] = True
    return known


def distance(images: np.ndarray) -> float:
    """The root of the mean square of differences in the right half, over all pairs of different images."""
    hidden = images[:, :, images.shape[2] // 2 :].reshape(len(images), -1).astype(float)
    squares = np.square(hidden[:, None] - hidden[None]).mean(-1)
    return float(np.sqrt(squares[~np.eye(len(hidden), dtype=bool)].mean()))


def measured(run: Run, way: Way, images: np.ndarray, labels: np.ndarray, classifier: Any) -> dict[str, Any]:
    """The figures of a run and a method."""
    known = known_half(images)
    made = editing.inpaint(run, images, known, way.task, way.how)
    assert np.array_equal(made.images[known], images[known])
    few = np.repeat(images[:DIVERSE], TIMES, 0)
    again = editing.inpaint(run, few, known_half(few), way.task, way.how).images.reshape(
        DIVERSE, TIMES, *images.shape[1:]
    )
    apart = np.sqrt(np.mean([distance(one) ** 2 for one in again]))
    right = float(np.mean(classifier.predict(made.images).argmax(-1) == labels))
    counts = {} if made.effective is None else {"candidates_that_count": float(made.effective.mean())}
    found = quality(run.experiment, made.images, run.dataset)
    return {
        "method": way.name,
        "frechet": float(found["frechet"]),
        "class": right,
        "diversity": float(apart / distance(images)),
        "evaluations": float(made.evaluations.mean()),
        **counts,
    }


def untold(folder: Path) -> Run:
    """A run that is told nothing, and so not guided."""
    config = runs.read_config(folder)
    if config.model.conditions and not config.objective.condition_drop:
        raise UserError(f"{folder}: it always knows its {', '.join(config.model.conditions)}")
    config.sampler.guidance, config.sampler.guidance_each = 1.0, ()
    return restore(config, folder)


def main(arguments: Sequence[str]) -> None:
    """Read the command line, measure, print a table."""
    parser = commands.Parser(prog="python experiments/editing/halves.py", description=__doc__)
    parser.add_argument("--runs", metavar="DIR", required=True, help="a folder of runs")
    parser.add_argument("--output", metavar="FILE.json", help="also write the figures there; those in it are kept")
    options = commands.parse(parser, arguments)
    folders = sorted(path.parent for path in Path(options.runs).glob("*/config.json"))
    if not folders:
        raise UserError(f"--runs: {options.runs}: there are no runs in it")
    starting.start_jax()
    rows: list[dict[str, Any]] = []
    if options.output and Path(options.output).exists():
        rows = json.loads(Path(options.output).read_text())
    print(f"{'run':28} {'method':42} {'Frechet':>8} {'class':>7} {'diversity':>9} {'evaluations':>11}")
    for folder in folders:
        run = untold(folder)
        split = run.dataset.split("test")
        images, conditions = split.arrays()
        classifier = classifier_of(run.experiment, run.dataset)
        for way in ways(run):
            if any((row["run"], row["method"]) == (folder.name, way.name) for row in rows):
                continue
            try:
                row = measured(run, way, np.asarray(images), np.asarray(conditions["label"]), classifier)
            except UserError as error:
                row = {"method": way.name, "refused": str(error)}
            rows.append({"run": folder.name, **row})
            figures = [row.get(name) for name in ("frechet", "class", "diversity", "evaluations")]
            words = (
                str(row.get("refused", ""))[:50]
                if None in figures
                else "{:8.1f} {:7.1%} {:9.2f} {:11.0f}".format(*figures)
            )
            print(f"{folder.name[:28]:28} {way.name:42} {words}", flush=True)
            if options.output:
                Path(options.output).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    commands.run(main)
