"""Where cases happen: two places that are made new for each case, the runs that are attacked, and what they should give.

Everything is made by the product's own commands, once, when a case first asks for it.
"""

import functools
import hashlib
import itertools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.campaign import judge
from tests.campaign.judge import Outcome
from tests.campaign.zygote import Child, Request, Zygote

CHECKOUT = Path(__file__).resolve().parents[2]
PROGRAMS = str(CHECKOUT / "tests" / "campaign" / "programs.py")
STEPS = (2, 4, 6)
"""Of the runs that are attacked: every one is kept."""

PATIENCE = 150.0
"""Seconds after which a command hangs: a hundred times what it takes alone."""

TINY = '''"""A run that trains in a moment."""

from ddpm_jax.base import base


def get_config():
    config = base()
    config.data.name = "written"
    config.data.batch = 8
    config.data.splits.train = "train[:96]"
    config.data.splits.validation = "validation[:32]"
    config.data.splits.test = "test[:32]"
    config.model.name = "dit"
    config.model.patch, config.model.channels, config.model.depth, config.model.heads = 4, 8, 1, 1
    config.model.conditional = True
    config.sampler.steps, config.sampler.ema, config.sampler.batch = 2, 0.9, 64
    config.optimizer.ema = (0.9,)
    config.optimizer.warmup = 0
    config.optimizer.learning_rate = 2e-2
    config.training.steps = 6
    config.training.dispatch = 2
    config.training.log_every = 1
    config.training.save_every = 2
    config.training.keep_latest = 3
    config.evaluation.validation_images = 8
    config.evaluation.samples = config.evaluation.likelihood_images = 32
    config.evaluation.likelihood_groups = 4
    config.logging.wandb = "off"
    return config


def sweep():
    for number in range(3):
        yield {"name": f"member{number}", "optimizer.learning_rate": (number + 1) * 1e-3}
'''


@dataclass(frozen=True)
class Slot:
    """A place for one case at a time.

    Attributes:
        folder: holds `home`, `tmp`, `here` (where commands work), `cache`, `data` and `runs`.
        number: 0 or 1.
    """

    folder: Path
    number: int

    @property
    def run(self) -> Path:
        """The run folder that most cases are about."""
        return self.folder / "runs" / "run"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def tiny(self) -> str:
        """The config file."""
        return str(self.folder / "tiny.py")


@dataclass(frozen=True)
class Started:
    """A process of a case, and where its words go."""

    process: Child | subprocess.Popen
    out: Path
    err: Path
    began: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        return self.process.pid

    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self.process.poll()

    def send(self, number: int) -> None:
        """Send it a signal."""
        if self.code() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def end(self, seconds: float = PATIENCE) -> Outcome:
        """Wait for its end, for so many seconds, and end what it left behind."""
        if isinstance(self.process, Child):
            code = self.process.wait(seconds)
        else:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
            code = self.process.poll()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        if code is None:
            self.process.wait(10)
        texts = [path.read_text(errors="replace") if path.exists() else "" for path in (self.out, self.err)]
        return Outcome(code, *texts, time.monotonic() - self.began)


class World:
    """All that cases share.

    Args:
        folder: where everything is written.
        slots: how many cases happen at once.
    """

    def __init__(self, folder: Path, slots: int = 2):
        self.folder = folder.resolve()
        self._lock, self._count = threading.RLock(), itertools.count()
        self._words = self.folder / "words"
        remove(self._words)
        self._words.mkdir(parents=True)
        compiled = os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(self.folder / "compiled")
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(CHECKOUT),
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": compiled,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "XLA_FLAGS": "--xla_backend_optimization_level=0",  # most of a case's time is compilation
            "GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", "glibc.malloc.check=0"),  # a child need not begin again
            "WANDB_MODE": "offline",
        }
        self.slots = [Slot(self.folder / "slots" / str(number), number) for number in range(slots)]
        self._zygote: Zygote | None = None

    # -- processes

    def environment(self, slot: Slot, **changes: str | None) -> dict[str, str]:
        """The variables of a command in the slot; a change to None takes one away."""
        own = {
            **self._environment,
            "HOME": str(slot.folder / "home"),
            "TMPDIR": str(slot.folder / "tmp"),
            "DDPM_JAX_CACHE": str(slot.cache),
            "TFDS_DATA_DIR": str(slot.data),
        }
        return {name: value for name, value in {**own, **changes}.items() if value is not None}

    def start(
        self,
        slot: Slot,
        program: str,
        *arguments: str,
        real: bool = False,
        environment: Mapping[str, str] | None = None,
        here: Path | None = None,
        limits: Mapping[str, int] | None = None,
        before: Sequence[str] = (),
        **popen: Any,
    ) -> Started:
        """Start a program: a command's name such as `train`, or a file.

        Args:
            slot: where.
            program: `train`, `sample`, `evaluate`, `report`, `sweep`, or a path that ends in .py.
            arguments: of its command line.
            real: a process of its own, which imports all, and no child of the zygote.
            environment: its variables.
            here: the folder where it works.
            limits: resource limits by name.
            before: words before the command, such as of `setpriv`; the process is then a real one.
            popen: more for `subprocess.Popen`; the process is then a real one.
        """
        number = next(self._count)
        out, err = self._words / f"{number}.out", self._words / f"{number}.err"
        out.touch()
        variables = dict(environment or self.environment(slot))
        place = str(here or slot.folder / "here")
        module = program if program.endswith(".py") else f"ddpm_jax.{program}"
        if not (real or before or popen):
            request = Request(module, arguments, place, variables, str(out), str(err), limits or {})
            return Started(self.zygote.start(request), out, err)
        command = [sys.executable, *([] if program.endswith(".py") else ["-m"]), module]

        def prepare() -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for name, value in (limits or {}).items():
                resource.setrlimit(getattr(resource, name), (value, value))

        with out.open("wb") as first, err.open("wb") as second:
            streams = {"stdin": subprocess.DEVNULL, "stdout": first, "stderr": second, **popen}
            process = subprocess.Popen(
                [*before, *command, *arguments],
                env=variables,
                cwd=place,
                start_new_session=True,
                preexec_fn=prepare,  # noqa: PLW1509
                **streams,
            )
        return Started(process, out, err)

    def run(self, slot: Slot, program: str, *arguments: str, seconds: float = PATIENCE, **options: Any) -> Outcome:
        """Run a program to its end; see `start`."""
        return self.start(slot, program, *arguments, **options).end(seconds)

    @property
    def zygote(self) -> Zygote:
        with self._lock:
            if self._zygote is None:
                self._zygote = Zygote(sys.executable, {**self._environment, "HOME": str(self.folder)})
            return self._zygote

    def close(self) -> None:
        """End what runs."""
        if self._zygote:
            self._zygote.close()

    # -- places

    def bare(self, slot: Slot) -> Slot:
        """The slot made new, without data, cache and runs."""
        for path in slot.folder.iterdir() if slot.folder.exists() else ():
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
                _written(slot.cache / "tfds" / "digits" / "1.0.0", slot.data / "written" / "1.0.0")
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


def train_words(slot: Slot, *more: str) -> list[str]:
    """The command line that trains the run that is attacked, or goes on with it."""
    return ["train", f"--config={slot.tiny}", f"--workdir={slot.run}", *more]


def sample_words(slot: Slot) -> list[str]:
    """The command line that draws from it."""
    return ["sample", f"--workdir={slot.run}", "--count=8", f"--output={drawn_file(slot).with_suffix('')}"]


def drawn_file(slot: Slot) -> Path:
    """Where the samples go."""
    return slot.folder / "drawn" / "samples.npz"


def read_samples(path: Path) -> str:
    """The SHA-256 of samples' arrays."""
    from tests.campaign.programs import sha256

    try:
        with np.load(path, allow_pickle=False) as kept:
            return sha256(*(kept[name] for name in sorted(kept)))
    except Exception as error:
        return f"does not read: {error}"


def read_report(slot: Slot) -> dict[str, str]:
    """The text files of a report."""
    folder = slot.folder / "report"
    names = ("report.md", "table.csv", "lines.csv")
    return {name: (folder / name).read_text(errors="replace") for name in names if (folder / name).exists()}


def listing(*folders: Path) -> set[str]:
    """All paths below the folders."""
    found: set[str] = set()
    for folder in folders:
        for place, names, files in os.walk(folder):
            found.update(os.path.join(place, name) for name in (*names, *files))
    return found


def remove(path: Path) -> None:
    """Delete a file or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _written(digits: Path, data: Path) -> None:
    """Copy the embedded digits, as the product prepares them, into a data folder, as a set of another name."""
    copy(digits, data)
    for path in list(data.iterdir()):
        path.rename(path.with_name(path.name.replace("digits-", "written-")))
    info = data / "dataset_info.json"
    info.write_text(info.read_text().replace('"digits"', '"written"'))


def hash_of_product() -> str:
    """Of the product's source: what was made with other code is not compared with."""
    digest = hashlib.sha256()
    for path in sorted((CHECKOUT / "ddpm_jax").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def choose(rng: random.Random, weights: Mapping[str, float]) -> str:
    """One of the keys, by its weight."""
    return rng.choices(list(weights), list(weights.values()))[0]


def copy(folder: Path, to: Path) -> None:
    """Copy a folder with the times of its files; links stay links, for W&B's point to places that are not there."""
    shutil.copytree(folder, to, symlinks=True)
