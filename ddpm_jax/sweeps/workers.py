"""The processes of a sweep: a share of the machine for each, a log, and how they are stopped."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ddpm_jax.commands.preemption import SAVING
from ddpm_jax.runs.locks import PARENT
from ddpm_jax.sweeps.expansion import Member

LOGS = "logs"

GRACE = ((signal.SIGINT, 20.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
"""How a process is asked to end, and the seconds that it has for it. On SIGINT a run ends its logs and its saving."""

ROOM = ((signal.SIGTERM, SAVING), (signal.SIGKILL, 5.0))
"""How it is told that the machine is wanted back."""

DEFAULTS = {"PYTHONUNBUFFERED": "1"}
"""Variables of a run whose output is a file, where the user has not set them."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Share:
    """What one process may use.

    Attributes:
        cores: the CPU cores; empty where the system cannot say.
        environment: variables that say which accelerators.
    """

    cores: frozenset[int] = frozenset()
    environment: Mapping[str, str] = field(default_factory=dict)


def shares(jobs: int) -> list[Share]:
    """The machine in `jobs` shares: all CPU cores that this process may use, and as many GPUs for each."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if jobs == 1:
        return [Share(frozenset(cores))]
    gpus = visible_gpus()
    return [Share(frozenset(_part(cores, i, jobs)), _gpu_variables(gpus, i, jobs)) for i in range(jobs)]


def _part(items: Sequence[Item], i: int, count: int) -> Sequence[Item]:
    """The i-th of `count` parts, none empty: if there are too few items, parts share them."""
    size = len(items)
    return (
        items[i * size // count : (i + 1) * size // count] if size >= count else items[i % size :][:1] if size else []
    )


def _gpu_variables(gpus: Sequence[str], i: int, jobs: int) -> dict[str, str]:
    if not gpus:
        return {}
    each = len(gpus) // jobs  # the same number for all, so that a member's batch divides for all or for none
    mine = _part(gpus[: each * jobs] if each else gpus, i, jobs)
    variables = {"CUDA_VISIBLE_DEVICES": ",".join(mine)}
    if not each and "XLA_PYTHON_CLIENT_MEM_FRACTION" not in os.environ:
        variables["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 / -(-jobs // len(gpus)):.2f}"
    return variables


def visible_gpus() -> list[str]:
    """The names by which CUDA knows the GPUs that this process may use."""
    if (chosen := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1")]
    if not shutil.which("nvidia-smi"):
        return []
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(i) for i, _ in enumerate(re.findall(r"^GPU \d", done.stdout, re.MULTILINE))]


class Worker:
    """A member's process. Its output is added to `log`.

    Raises:
        OSError: the log cannot be written, or the process cannot be started.
    """

    def __init__(self, member: Member, share: Share, log: Path):
        self.member, self.log = member, log
        self._start = time.monotonic()
        words = member.command()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            file.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {shlex.join(words)}\n")
            file.flush()
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the sweep, which tells its runs
                env={**DEFAULTS, **os.environ, **share.environment, PARENT: str(os.getpid())},
            )
        if share.cores:
            with suppress(OSError):  # it has ended already
                os.sched_setaffinity(self._process.pid, share.cores)

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self._start

    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; SIGKILL goes to its own children too."""
        if number != signal.SIGKILL:
            self._process.send_signal(number)
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def last_words(self) -> str:
        """Why it failed: its error's line if it told one, else the signal that ended it, or the log's last line."""
        code = self.code() or 0
        lines = last_lines(self.log)
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        if code < 0 and not errors:
            return f"ended by {signal_name(-code)}"
        return (errors or lines or [f"exit code {code}"])[-1]


def signal_name(number: int) -> str:
    """Such as SIGKILL; not all signals have names."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def last_lines(log: Path) -> list[str]:
    """The lines at the end of a log that its last process wrote; none where the log has gone."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 2**14))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    lines = [line.strip() for line in re.split(r"[\r\n]", text) if line.strip()]
    starts = [i for i, line in enumerate(lines) if line.startswith("--- ")]
    return lines[starts[-1] + 1 :] if starts else lines


def stop(
    workers: Sequence[Worker],
    hurry: Callable[[], bool] = lambda: False,
    ways: Sequence[tuple[signal.Signals, float]] | None = None,
) -> None:
    """End all of them in these ways (`GRACE`), one after another, or killed at once when `hurry` says so."""
    for number, grace in ways or GRACE:
        alive = [worker for worker in workers if worker.code() is None]
        for worker in alive:
            worker.send(number)
        end = time.monotonic() + grace
        while time.monotonic() < end and any(worker.code() is None for worker in alive):
            if hurry() and number != signal.SIGKILL:
                break
            time.sleep(0.05)
