"""What all cases share: the runs that are attacked, and what commands should give on them.

Everything is made by the product's own commands, once, before the first case.
"""

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.campaign import judge
from tests.campaign.judge import Outcome
from tests.campaign.places import (
    PROGRAMS,
    TINY,
    Slot,
    as_data_folder,
    copy,
    drawn_file,
    read_report,
    read_samples,
    remove,
    sample_words,
    train_words,
)
from tests.campaign.processes import Processes

STEPS = (2, 4, 6)
"""Of the runs that are attacked: every one is kept."""


class World(Processes):
    """All that cases share.

    Args:
        folder: where everything is written.
        slots: how many cases happen at once.
        real: every process is a real one, and no child of the zygote.
    """

    def __init__(self, folder: Path, slots: int = 2, real: bool = False):
        super().__init__(folder, real)
        self.slots = [Slot(self.folder / "slots" / str(number), number) for number in range(slots)]

    # -- places

    def bare(self, slot: Slot) -> Slot:
        """The slot made new, without data, cache and runs."""
        for path in slot.folder.iterdir() if slot.folder.exists() else ():
            if path.is_mount():  # of a case that was cut off
                subprocess.run(["umount", "-l", str(path)], check=False, capture_output=True)
            if path.name != "pristine":
                remove(path)
        for name in ("home", "tmp", "here", "runs"):
            (slot.folder / name).mkdir(parents=True)
        Path(slot.tiny).write_text(TINY)
        return slot

    def fresh(self, slot: Slot, run: str = "") -> Slot:
        """The slot made new, with data, a cache that knows them, and a copy of a run of `runs`."""
        pristine = self._pristine(slot)
        self.bare(slot)
        for name in ("data", "cache"):
            copy(pristine / name, slot.folder / name)
        if run:
            copy(self.runs / run, slot.run)
        return slot

    def _pristine(self, slot: Slot) -> Path:
        """Data and cache as they should be. A cache knows the place of data, so each slot has its own."""
        with self._lock:
            folder = slot.folder / "pristine"
            if (folder / "done").exists():
                return folder
            runs = self.runs
            remove(folder)
            self.bare(slot)
            for name in ("data", "cache"):
                copy(self.folder / "base" / name, slot.folder / name)
            for name in ("finished", "digits"):
                remove(slot.run)
                copy(runs / name, slot.run)
                self.must(slot, "evaluate", f"--workdir={slot.run}")
            folder.mkdir()
            for name in ("data", "cache"):
                copy(slot.folder / name, folder / name)
            (folder / "done").touch()
            return folder

    def must(self, slot: Slot, program: str, *arguments: str, **options: Any) -> Outcome:
        """Run a command on what is whole: it must work."""
        outcome = self.run(slot, program, *arguments, **options)
        if outcome.code != 0:
            raise RuntimeError(
                f"undisturbed, {program} {' '.join(arguments)} ends with {outcome.code}: {outcome.err[-2000:]}"
            )
        return outcome

    # -- what is attacked, and what it should give

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        """A value that is made once, and kept as JSON in the world's folder."""
        with self._lock:
            path = self.folder / "known" / f"{name}.json"
            if not path.exists():
                value = make()
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(value))
            return json.loads(path.read_text())

    @functools.cached_property
    def runs(self) -> Path:
        """The folder of the runs that are copied: finished, half (cut off after a checkpoint), digits and other."""
        folder = self.folder / "base" / "runs"
        self._once("runs", lambda: self._make_runs(folder))
        return folder

    def _make_runs(self, folder: Path) -> list[str]:
        remove(self.folder / "base")
        slot = self.bare(self.slots[0])
        train = "train", f"--config={slot.tiny}", f"--workdir={slot.run}"
        kept = "--config.logging.wandb=offline", "--config.logging.tensorboard=True"
        for name, changes in (
            ("digits", ("--config.data.name=digits", *kept)),
            ("finished", kept),
            ("other", ("--config.seed=1", "--config.name=other")),
        ):
            self.must(slot, *train, *changes)
            self.must(slot, "sample", f"--workdir={slot.run}", "--count=8")
            if name == "digits":
                as_data_folder(slot.cache / "tfds" / "digits" / "1.0.0", slot.data / "written" / "1.0.0")
            shutil.move(slot.run, folder / name)
        half = folder / "half"
        copy(folder / "finished", half)
        for name in ("result.json", "samples", "samples.png", "film.png", f"checkpoints/{STEPS[-1]}"):
            remove(half / name)
        rows = judge.read_rows(half / "metrics.jsonl") or []
        kept_rows = [json.dumps(row) for row in rows if row["step"] < STEPS[-1]]
        (half / "metrics.jsonl").write_text("".join(f"{row}\n" for row in kept_rows))
        copy(slot.data, self.folder / "base" / "data")
        copy(slot.cache, self.folder / "base" / "cache")
        return sorted(os.listdir(folder))

    def digests(self, slot: Slot, run: Path) -> dict[str, str]:
        """The SHA-256 of the arrays of every checkpoint of `run`, by step, read with an undamaged cache and config."""
        pristine = self._pristine(slot)
        clean = {"DDPM_JAX_CACHE": str(pristine / "cache"), "TFDS_DATA_DIR": str(pristine / "data")}
        environment = self.environment(slot, **clean)
        outcome = self.run(slot, PROGRAMS, "digest", str(run), str(self.runs / "finished"), environment=environment)
        try:
            return json.loads(outcome.out.splitlines()[-1])
        except (ValueError, IndexError):
            return {"": f"no checkpoint reads: {judge.last_words(outcome.err)}"}

    @property
    def arrays(self) -> dict[str, str]:
        """What the finished run's checkpoints hold."""
        return self._once("arrays", lambda: self.digests(self.slots[0], self.runs / "finished"))

    def _until(self, step: int) -> Slot:
        """A slot with the finished run without its checkpoints after `step`."""
        slot = self.fresh(self.slots[0], "finished")
        for later in STEPS:
            if later > step:
                remove(slot.run / "checkpoints" / str(later))
        return slot

    @property
    def samples(self) -> dict[str, str]:
        """What `sample` draws with each checkpoint as the latest."""

        def make() -> dict[str, str]:
            drawn = {}
            for step in STEPS:
                slot = self._until(step)
                self.must(slot, *sample_words(slot))
                drawn[str(step)] = read_samples(drawn_file(slot))
            return drawn

        return self._once("samples", make)

    @property
    def figures(self) -> dict[str, Any]:
        """What `evaluate` puts into `result.json` with each checkpoint as the latest."""

        def make() -> dict[str, Any]:
            measured = {}
            for step in STEPS:
                slot = self._until(step)
                self.must(slot, "evaluate", f"--workdir={slot.run}")
                measured[str(step)] = json.loads((slot.run / "result.json").read_text())
            return measured

        return self._once("figures", make)

    @property
    def report(self) -> dict[str, str]:
        """The files of the report on two runs."""

        def make() -> dict[str, str]:
            slot = self.fresh(self.slots[0], "finished")
            self.must(slot, *self.report_words(slot))
            return read_report(slot)

        return self._once("report", make)

    def with_compiled(self, slot: Slot) -> None:
        """Put the compiled programs of a training run into the slot's cache, which an environment may name."""
        kept = self.folder / "base" / "compiled"
        environment = self.environment(slot, JAX_COMPILATION_CACHE_DIR=None)

        def make() -> bool:
            self.must(slot, *train_words(slot), environment=environment)
            copy(slot.cache / "compiled", kept)
            return True

        self._once("compiled", make)
        remove(slot.cache / "compiled")
        copy(kept, slot.cache / "compiled")

    def report_words(self, slot: Slot) -> list[str]:
        """The command line of a report on the slot's run and another."""
        other = slot.folder / "runs" / "other"
        if not other.exists():
            copy(self.runs / "other", other)
        return ["report", str(slot.run), str(other), f"--output={slot.folder / 'report'}"]

    @property
    def seconds(self) -> float:
        """How long an uninterrupted real training takes, from its start to its end."""

        def make() -> float:
            slot = self.fresh(self.slots[0])
            return self.must(slot, *train_words(slot), real=True).seconds

        return self._once("seconds", make)

    def prepare(self) -> None:
        """Make all of it now, before several cases ask for it at once."""
        for name in ("runs", "arrays", "samples", "figures", "report", "seconds"):
            getattr(self, name)
        for slot in self.slots:
            self._pristine(slot)
