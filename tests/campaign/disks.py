"""A disk that is full or becomes so, or cannot be written: a small tmpfs in place of a folder. Needs root."""

import functools
import os
import random
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.campaign import flips, judge, kills, places, world
from tests.campaign.judge import Judged, Verdict, failed
from tests.campaign.places import Slot
from tests.campaign.world import World

AREAS = {"runs": 5, "cache": 2, "tmp": 1}

FULL = r"[Nn]o space left|full|not writable|[Rr]ead-only|cannot be written|cannot be a run folder|[Pp]ermission"


@functools.cache
def can_mount() -> bool:
    """Whether this process may mount a tmpfs."""
    if os.geteuid() != 0:
        return False
    place = Path(os.path.realpath("/tmp")) / f"ddpm_jax_mount_{os.getpid()}"
    place.mkdir(exist_ok=True)
    try:
        return not _mount("-t", "tmpfs", "-o", "size=64k", "none", str(place))
    finally:
        _call("umount", str(place))
        place.rmdir()


def _call(*words: str) -> int:
    try:
        return subprocess.run(words, check=False, capture_output=True).returncode
    except OSError:
        return 1


def _mount(*words: str) -> int:
    return _call("mount", *words)


@contextmanager
def small(folder: Path, size: int) -> Iterator[None]:
    """A disk of `size` bytes in place of `folder`, with the same content as far as that fits; it may be full."""
    kept = folder.with_name(f".kept-{folder.name}")
    folder.mkdir(exist_ok=True)
    folder.rename(kept)
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", "size=256m", "none", str(folder))
    _call("cp", "-a", f"{kept}/.", str(folder))
    _resize(folder, size)
    try:
        yield
    finally:
        _call("umount", "-l", str(folder))
        places.remove(kept)


def _used(folder: Path) -> int:
    state = os.statvfs(folder)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


def _resize(folder: Path, free: int) -> None:
    """Leave so many bytes free."""
    _mount("-o", f"remount,size={(_used(folder) + free) // 4096 * 4096 + 4096}", str(folder))


def fill(folder: Path) -> None:
    """Take all the room there is."""
    with suppress(OSError), (folder / ".filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def case(here: World, slot: Slot, rng: random.Random) -> tuple[str, Judged]:
    """Run a command on such a disk; then make room, and the same command goes on."""
    area, way = (
        places.choose(rng, AREAS),
        rng.choice(("small", "small", "filled", "filled", "read-only", "becomes read-only")),
    )
    command = rng.choice(("train", "train", "train", "sample", "evaluate")) if area == "runs" else "train"
    what = f"{area}, {way}, {command}"
    if not can_mount():
        return what, Judged(Verdict.SKIPPED, "needs root, to mount a tmpfs")
    here.fresh(slot, "" if command == "train" else "finished")
    if area == "cache" and rng.random() < 0.5:
        places.remove(slot.cache)
    words = {
        "train": places.train_words(slot),
        "sample": ["sample", f"--workdir={slot.run}", "--count=8", "--seed=0"],
        "evaluate": ["evaluate", f"--workdir={slot.run}"],
    }[command]
    folder = slot.folder / area
    with small(folder, int(10 ** rng.uniform(3.5, 6.0)) if way == "small" else 2**26):
        if way == "read-only":
            _mount("-o", "remount,ro", str(folder))
        process = here.start(slot, *words)
        timer = None
        if way in {"filled", "becomes read-only"}:
            action = fill if way == "filled" else lambda place: _mount("-o", "remount,ro", str(place))
            timer = threading.Timer(rng.uniform(0, 0.6 * here.seconds), action, [folder])
            timer.start()
        outcome = process.end()
        if timer:
            timer.cancel()
            timer.join()
        first = _first(outcome, here, slot, command)
        if first.verdict == Verdict.FAILED:
            return what, first
        _mount("-o", "remount,rw,size=256m", str(folder))
        places.remove(folder / ".filler")
        again = here.run(slot, *words)
        if again.code != 0:
            return what, failed(f"with room again: {kills.ended(again).why}")
        wrong, lost = _end(here, slot, command)
        if wrong or (lost and not judge.said(outcome)):
            return what, failed(f"with room again: {wrong or lost}")
        return what, first


def _first(outcome: judge.Outcome, here: World, slot: Slot, command: str) -> Judged:
    """The verdict on the command while there is no room."""
    if outcome.code == 0:
        return judge.after_damage(outcome, *_end(here, slot, command))
    if bad := judge.unclear(outcome, FULL, besides=judge.FEW - 1):
        return failed(bad)
    return Judged(Verdict.DETECTED, judge.last_words(outcome.err))


def _end(here: World, slot: Slot, command: str) -> tuple[str, str]:
    """What is wrong and what is missing in what the command made."""
    if command == "train":
        return flips.end_of(here, slot)
    if command == "evaluate":
        return flips.figures_of(here, slot)
    drawn = places.read_samples(slot.run / "samples" / "seed0.npz")
    return ("", "") if drawn == here.samples[str(world.STEPS[-1])] else (f"the samples differ: {drawn}", "")
