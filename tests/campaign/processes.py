"""Processes of cases: children of the zygote, or real ones; their words go to files."""

import itertools
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.campaign.judge import Outcome
from tests.campaign.places import CHECKOUT, Slot, remove
from tests.campaign.zygote import Child, Request, Zygote

PATIENCE = 150.0
"""Seconds after which a command hangs: a hundred times what it takes alone."""


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


class Processes:
    """Starts the processes of cases.

    Args:
        folder: where everything is written.
        real: every process is a real one.
    """

    def __init__(self, folder: Path, real: bool = False):
        self.folder, self._real = folder.resolve(), real
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
            "XLA_FLAGS": f"--xla_backend_optimization_level=0 {os.environ.get('XLA_FLAGS', '')}",  # compiling is most
            "WANDB_MODE": "offline",
        }
        self._zygote: Zygote | None = None
        self._running: dict[int, list[Started]] = {}

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
        if not (real or self._real or before or popen):
            request = Request(module, arguments, place, variables, str(out), str(err), limits or {})
            return self._noted(slot, Started(self.zygote.start(request), out, err))
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
        return self._noted(slot, Started(process, out, err))

    def _noted(self, slot: Slot, process: Started) -> Started:
        self._running[slot.number] = [*(p for p in self._running.get(slot.number, []) if p.code() is None), process]
        return process

    def end_all(self, slot: Slot) -> None:
        """End whatever a case has left running in the slot."""
        for process in self._running.pop(slot.number, []):
            if process.code() is None:
                process.end(0)

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
