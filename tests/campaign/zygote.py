"""A process that has imported the heavy modules and forks a child for each case, which costs the work alone.

    python tests/campaign/zygote.py

It reads a request a line from standard input and answers with the child's process id, and later with its exit code.
No backend of JAX is started before a fork. A child runs a module or a file as `python -m` and `python` do: as
`__main__`, through the command's real end.
"""

import contextlib
import importlib
import json
import os
import pkgutil
import resource
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HEAVY = [
    "absl.flags",
    "array_record.python.array_record_module",
    "diffrax",
    "flax",
    "flax.linen",
    "grain",
    "matplotlib.pyplot",
    "ml_collections.config_flags",
    "optax",
    "orbax.checkpoint",
    "PIL.Image",
    "scipy.linalg",
    "sklearn.datasets",
    "sklearn.linear_model",
    "tensorflow_datasets",
    "threadpoolctl",
]

COMMANDS = ("train", "sample", "evaluate", "report", "sweep")
"""Left out of what is imported: a child runs them as `__main__`."""


@dataclass(frozen=True)
class Request:
    """What a child is to do.

    Attributes:
        program: a module, or a file that ends in .py.
        arguments: of its command line.
        folder: where it works.
        environment: all its variables.
        out: the file that gets what it prints.
        err: the file that gets what it prints to standard error.
        limits: names of resource limits, such as RLIMIT_NOFILE, and their values.
    """

    program: str
    arguments: Sequence[str]
    folder: str
    environment: Mapping[str, str]
    out: str
    err: str
    limits: Mapping[str, int] = field(default_factory=dict)


class Child:
    """A process that the zygote forked."""

    def __init__(self, number: int):
        self.number, self.pid = number, 0
        self._code: int | None = None
        self._born, self._ended = threading.Event(), threading.Event()

    def born(self) -> "Child":
        """Wait until it has a process id."""
        self._born.wait()
        if not self.pid:
            raise RuntimeError("the zygote has ended")
        return self

    def told(self, answer: Mapping[str, int]) -> None:
        """The zygote has answered."""
        if "pid" in answer:
            self.pid = answer["pid"]
            self._born.set()
        else:
            self._code = answer["code"]
            self._ended.set()

    def poll(self) -> int | None:
        """Its exit code, or minus the signal that ended it; None while it runs."""
        return self._code

    def wait(self, seconds: float) -> int | None:
        """`poll` when it has ended or the seconds are over."""
        self._ended.wait(seconds)
        return self._code


class Zygote:
    """The zygote from the campaign's side."""

    def __init__(self, python: str, environment: Mapping[str, str]):
        self._lock, self._children = threading.Lock(), dict[int, Child]()
        self._process = subprocess.Popen(
            [python, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(environment),
            text=True,
            start_new_session=True,  # Ctrl-C is for the campaign
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, request: Request) -> Child:
        """Fork a child that does it."""
        with self._lock:
            child = Child(len(self._children))
            self._children[child.number] = child
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({**asdict(request), "number": child.number}) + "\n")
            self._process.stdin.flush()
        return child.born()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            self._children[answer.pop("number")].told(answer)
        for child in list(self._children.values()):
            child.told({"pid": child.pid})  # nobody waits for one that is not there any more

    def close(self) -> None:
        """End it and the children that still run."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def load() -> None:
    """Import what commands take long to import."""
    for name in HEAVY:
        importlib.import_module(name)
    from orbax.checkpoint import v1  # noqa: F401

    import ddpm_jax

    for module in pkgutil.walk_packages(ddpm_jax.__path__, "ddpm_jax."):
        if module.name.removeprefix("ddpm_jax.") not in COMMANDS:
            importlib.import_module(module.name)
    warnings.filterwarnings("ignore", ".*fork.*")


def serve(answers: int) -> dict[str, Any] | None:
    """Fork a child for each request; returns the request in a child, and None when there are no more."""
    waiting, numbers = b"", {}
    while True:
        ready, _, _ = select.select([0], [], [], 0.01 if numbers else 1.0)
        while numbers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            answer = {"number": numbers.pop(pid), "code": os.waitstatus_to_exitcode(status)}
            os.write(answers, (json.dumps(answer) + "\n").encode())
        if not ready:
            continue
        if not (read := os.read(0, 2**20)):  # the campaign has ended
            for pid in numbers:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
            return None
        *lines, waiting = (waiting + read).split(b"\n")
        for line in lines:
            request = json.loads(line)
            if not (pid := os.fork()):
                os.close(answers)
                return request
            numbers[pid] = request["number"]
            os.write(answers, (json.dumps({"number": request["number"], "pid": pid}) + "\n").encode())


def become(request: Mapping[str, Any]) -> None:
    """Be the process that was asked for, to its end."""
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    tempfile.tempdir = None
    for target, (name, flags) in enumerate(
        [
            (os.devnull, os.O_RDONLY),
            (request["out"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
            (request["err"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        ]
    ):
        file = os.open(name, flags, 0o644)
        os.dup2(file, target)
        os.close(file)
    for name, value in request["limits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    program = request["program"]
    sys.argv = [program, *request["arguments"]]
    if program.endswith(".py"):
        sys.path.insert(0, str(Path(program).parent))
        runpy.run_path(program, run_name="__main__")
    else:
        sys.path.insert(0, request["folder"])
        sys.modules.pop(program, None)
        runpy.run_module(program, run_name="__main__", alter_sys=True)


def main() -> None:
    """Import, then fork until there are no more requests."""
    sys.path.pop(0)  # this folder is no part of the commands
    answers = os.dup(1)
    os.set_inheritable(answers, False)
    os.dup2(2, 1)
    load()
    if request := serve(answers):
        become(request)


if __name__ == "__main__":
    main()
