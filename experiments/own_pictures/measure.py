"""What many pictures of one's own cost: images a second and the most memory, prepared, streamed and evaluated.

    python experiments/own_pictures/measure.py --count=100000 --place=FOLDER --output=pictures.json

Pictures are made first: smooth noise, half of them PNG and half JPEG, ten classes, the same whenever it is asked for.
Each step is then a process of its own, whose most memory the system says when it ends:

  imports: what the others import, and no picture.
  prepare: `python -m ddpm_jax.prepare`, all of it: hashes, decoding, splits, writing.
  stream: batches of the prepared folder on their way to the device, as a training run reads them ahead; no step trains.
  stream, decoding: the same of the folder of pictures itself, which is decoded each time.
  evaluation: of the prepared folder the training and the test split as figures hold them, at most 1 GiB of each.

Rates are images over the seconds of the whole process for `prepare`, else over those of the reading alone; and over
the seconds that cores were busy with it, which tells more on a machine that others use too.
"""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ddpm_jax import commands
from ddpm_jax.errors import UserError

BATCH, DISPATCH = 128, 10
CLASSES = 10
PICTURES, PREPARED, CACHE = "pictures", "prepared", "cache"
"""Folders in the place."""


@dataclasses.dataclass(frozen=True)
class Step:
    """What was measured of a process.

    Attributes:
        name: of the step.
        images: that it read.
        seconds: for these.
        busy: seconds of all cores for these; what others on the machine do has less part in it.
        mebibytes: of memory, at most, of the whole process.
    """

    name: str
    images: int
    seconds: float
    busy: float
    mebibytes: float


def make(folder: Path, count: int, size: int) -> None:
    """Write so many pictures, those that are not there: number n is drawn with the seed n."""
    for kind in range(CLASSES):
        (folder / f"{kind}").mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor() as pool:
        for start in range(0, count, 1000):
            list(pool.map(partial(draw, folder, size), range(start, min(start + 1000, count))))


def draw(folder: Path, size: int, number: int) -> None:
    """Write one picture: colours on a grid of 4x4, and what is smooth between them."""
    import numpy as np
    from PIL import Image

    path = folder / f"{number % CLASSES}" / f"{number:07}.{('png', 'jpg')[number // CLASSES % 2]}"
    if path.exists():
        return
    coarse = np.random.default_rng(number).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    options: dict[str, Any] = {"compress_level": 1} if path.suffix == ".png" else {"quality": 90}
    Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).save(path, **options)


def imports(place: Path, size: int, images: int) -> tuple[int, float, float]:
    """Nothing but what the other steps import."""
    import grain  # noqa: F401
    import jax

    import ddpm_jax.data.folders
    import ddpm_jax.training.feed  # noqa: F401

    jax.numpy.zeros(1).block_until_ready()
    return 0, 0.0, 0.0


def stream(source: str, place: Path, size: int, images: int) -> tuple[int, float, float]:
    """So many images of the training split, in batches, put where a training step takes them from."""
    import jax

    from ddpm_jax import data
    from ddpm_jax.devices.plan import make_plan
    from ddpm_jax.training.feed import FromHost

    loaded = data.load("folder", place / source, None, {"size": size})
    feed = FromHost(loaded.split("train"), make_plan(), BATCH, DISPATCH, 0, True)
    dispatches = max(1, images // (BATCH * DISPATCH))
    with feed.data(0) as batches:
        jax.block_until_ready(batches(0, DISPATCH))  # what is made once is made
        began, busy = time.perf_counter(), time.process_time()
        for number in range(1, dispatches + 1):
            jax.block_until_ready(batches(number * DISPATCH, DISPATCH))
        return dispatches * DISPATCH * BATCH, time.perf_counter() - began, time.process_time() - busy


def evaluation(place: Path, size: int, images: int) -> tuple[int, float, float]:
    """The images that figures are of."""
    from ddpm_jax import data

    loaded = data.load("folder", place / PREPARED, None, {"size": size})
    began, busy = time.perf_counter(), time.process_time()
    held = [loaded.split(split).first()[0] for split in ("train", "test")]
    return sum(map(len, held)), time.perf_counter() - began, time.process_time() - busy


CHILDREN: dict[str, Callable[[Path, int, int], tuple[int, float, float]]] = {
    "imports": imports,
    "stream": partial(stream, PREPARED),
    "stream, decoding": partial(stream, PICTURES),
    "evaluation": evaluation,
}


def measured(name: str, words: Sequence[str], place: Path) -> tuple[str, Step]:
    """What `python WORDS` prints, and what it takes; of images it knows nothing.

    Raises:
        UserError: it fails; with the last line that it said.
    """
    environment = {**os.environ, "DDPM_JAX_CACHE": str(place / CACHE)}
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as told:
        child = subprocess.Popen([sys.executable, *words], stdout=out, stderr=told, env=environment)
        _, status, usage = os.wait4(child.pid, 0)  # and nobody else waits for it
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - began
        for file in (out, told):
            file.seek(0)
        if child.returncode:
            said = (told.read().strip() or f"exit code {child.returncode}").splitlines()[-1]
            raise UserError(f"{name} failed: {said.removeprefix('error: ')}")
        busy = usage.ru_utime + usage.ru_stime
        return out.read(), Step(name, 0, seconds, busy, usage.ru_maxrss / 2**10)


def measure(place: Path, count: int, size: int, images: int, tell: Callable[[str], None]) -> list[Step]:
    """All steps, in turn; each is told when it is done."""
    tell(f"making {count:,} pictures of {size}x{size}")
    make(place / PICTURES, count, size)
    shutil.rmtree(place / PREPARED, ignore_errors=True)
    shutil.rmtree(place / CACHE, ignore_errors=True)
    words = ["-m", "ddpm_jax.prepare", str(place / PICTURES), f"--output={place / PREPARED}", f"--size={size}"]
    _, prepared = measured("prepare", words, place)
    steps = [dataclasses.replace(prepared, images=count)]
    tell(line(steps[-1]))
    for name in CHILDREN:
        words = [__file__, f"--step={name}", f"--place={place}", f"--size={size}", f"--images={images}"]
        said, step = measured(name, words, place)
        read, seconds, busy = json.loads(said.splitlines()[-1])
        steps.append(dataclasses.replace(step, images=read, seconds=seconds, busy=busy))
        tell(line(steps[-1]))
    return steps


def line(step: Step) -> str:
    """A step in words."""
    read = f"{step.name:<18}{step.images:9,} images {step.seconds:8.1f} s"
    rates = [step.images / seconds if step.images else 0 for seconds in (step.seconds, step.busy)]
    return f"{read} {rates[0]:8,.0f} images/s {rates[1]:8,.0f} images/busy s {step.mebibytes:6,.0f} MiB"


@contextmanager
def _place(name: str | None):
    """The folder to work in; one that goes again where none is named."""
    if name:
        Path(name).mkdir(parents=True, exist_ok=True)
        yield Path(name)
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def main(arguments: Sequence[str]) -> None:
    """Read the command line, measure, print, and write what was measured."""
    parser = commands.Parser(prog="python experiments/own_pictures/measure.py", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="pictures (default: 2000)")
    parser.add_argument("--size", type=int, default=64, help="pixels of a side (default: 64)")
    parser.add_argument("--images", type=int, default=20000, help="that are streamed (default: 20000)")
    parser.add_argument("--place", metavar="DIR", help="where pictures are made and kept (default: nowhere for long)")
    parser.add_argument("--output", metavar="FILE.json", help="also write the figures there")
    parser.add_argument("--step", choices=CHILDREN, help="one step alone, on what is there; prints images and seconds")
    options = commands.parse(parser, arguments)
    if options.step:
        print(json.dumps(CHILDREN[options.step](Path(options.place), options.size, options.images)))
        return
    for name in ("count", "size", "images"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name}: {getattr(options, name)} is less than 1")
    with _place(options.place) as place:
        steps = measure(place, options.count, options.size, options.images, lambda words: print(words, flush=True))
    from ddpm_jax import runs
    from ddpm_jax.files import write_json

    facts = runs.provenance()
    print(facts["device"]["kind"])
    if options.output:
        write_json(Path(options.output), {"steps": [dataclasses.asdict(step) for step in steps], **facts})


if __name__ == "__main__":
    commands.run(main)
