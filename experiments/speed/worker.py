"""A worker: a process of its own that measures when it is asked to, by lines of JSON over pipes.

A question is `{"ask": NAME, ...}`, an answer an object, `{"error": "one line"}` where it went wrong. While a worker
waits for a question it does nothing, so two of them can stay alive and measure in turn.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cases import Case, from_dict

Answer = dict[str, Any]


def serve(answers: dict[str, Callable[[Answer], Answer]]) -> None:
    """In the worker: answer questions until there are no more. What others print goes to the standard error."""
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        for line in sys.stdin:
            question = json.loads(line)
            try:
                answer = answers[question["ask"]](question)
            except Exception as error:
                text = " ".join(str(error).split())[:300]
                answer = {"error": f"{type(error).__name__}: {text}" if text else type(error).__name__}
            out.write(json.dumps(answer) + "\n")
            out.flush()


class Measured:
    """What both sides do with a case: `_limit` and `_build` make `run` and say what they made."""

    run: Callable[[], Any]
    _limit: Callable[[Case], Answer]
    _build: Callable[[Case], Answer]

    def prepare(self, question: Answer) -> Answer:
        """Make the case ready and run it once; its parameters and FLOPs."""
        case, began = from_dict(question["case"]), time.perf_counter()
        facts = self._limit(case) if case.task == "product" else self._build(case)
        self.run()
        return {**facts, "prepared_in": time.perf_counter() - began}

    def measure(self, _: Any = None) -> Answer:
        """Time one run."""
        return timed(self.run)


def use_threads(count: int) -> None:
    """Keep this process to so many cores, before a library counts them."""
    if count != os.cpu_count():
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def peak_memory() -> float | None:
    """The most memory that this process has had resident, in MiB, since it began or `forget_peak`; None if unknown."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return None


def forget_peak() -> None:
    """Let `peak_memory` count from now on, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def timed(run: Callable[[], Any]) -> Answer:
    """Seconds of a run, and how many cores it and everyone else had meanwhile, on average; None if unknown."""
    began, mine, all_of_us = time.perf_counter(), time.process_time(), _busy()
    run()
    seconds, mine = time.perf_counter() - began, time.process_time() - mine
    others = None if all_of_us is None else max(0.0, (_busy() or 0) - all_of_us - mine) / seconds
    return {"seconds": seconds, "cores": mine / seconds, "others": others}


def _busy() -> float | None:
    """Seconds in which cores of this machine did anything, since it started, or were taken away from it."""
    try:
        user, nice, system, _, _, *interrupts = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except (OSError, ValueError):
        return None
    return sum(map(int, (user, nice, system, *interrupts))) / os.sysconf("SC_CLK_TCK")


class WorkerError(Exception):
    """A worker could not do what it was asked; the text is one line."""


class Worker:
    """A worker from the side of the one who asks. Use it as a context, which ends it."""

    def __init__(self, script: Path, options: Sequence[str], python: str, environment: dict[str, str]):
        self._said = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115, closed by `end`
        self._process = subprocess.Popen(
            [python, str(script), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=environment,
            start_new_session=True,  # a group of its own, so that what it starts ends with it
        )

    def ask(self, name: str, seconds: float | None = None, **more: Any) -> Answer:
        """The answer to a question.

        Raises:
            WorkerError: it answers with an error, has ended, or needs more than so many seconds.
        """
        process = self._process
        assert process.stdin and process.stdout
        try:
            process.stdin.write(json.dumps({"ask": name, **more}) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(self._end()) from None
        if not select.select([process.stdout], [], [], seconds)[0]:
            raise WorkerError(f"not done within {seconds:.0f} s")
        line = process.stdout.readline()
        if not line:
            raise WorkerError(self._end())
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def _end(self) -> str:
        code = self._process.wait()
        if code < 0:
            return f"the worker was ended by {signal.Signals(-code).name}"
        self._said.seek(0)
        lines = [line.strip() for line in self._said if line.strip()]
        return f"the worker ended with code {code}: {lines[-1][:300] if lines else 'it said nothing'}"

    def end(self) -> None:
        """End the worker, and what it started."""
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._said.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
