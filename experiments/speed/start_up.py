"""What a command costs before it works: the answer to --help, imports, and the first training step.

    python experiments/speed/start_up.py --repeats=5 --output=start_up.json

Every figure is of a fresh process. The kinds take turns, so that a slow minute of the machine slows all of them, and a
median is over the turns:

  help: from the start of `python -m ddpm_jax.train --help` (sample, evaluate) to its end.
  bare: `import jax, flax`.
  imports: the modules that a training run has imported when its first step is done, in the run's order; third-party
     ones first, then this project's. A run that is not counted lists them.
  cold, warm: from the end of those imports to the end of a run's first training step, with all that lies between
     (config, data, tracing, compilation, first state, checkpoints, trackers). Cold: no compiled program is kept. Warm:
     the cold run's are.

Data sets are prepared before. The parts of cold and warm are seconds of the main thread in the functions that they
name, and `rest` is what no part names. JAX's own account (tracing, lowering, compilation, of which reading the cache
is a part) lies inside those parts; what nests or runs beside another thread counts twice there.
"""

import contextlib
import dataclasses
import functools
import importlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ddpm_jax import commands
from ddpm_jax.errors import UserError

HELP_TARGET, IMPORTS_TARGET, WARM_TARGET = 1.0, 2.5, 2.0
"""Seconds; a ratio to the bare imports; seconds."""

COMMANDS = ("train", "sample", "evaluate")
HERE = Path(__file__).parent
CONFIG = HERE.parents[1] / "configs" / "digits" / "ddpm.py"

BARE = "import time; began = time.perf_counter(); import jax, flax; print(time.perf_counter() - began)"

IMPORTS = """
import importlib, json, sys, time
lists = json.load(open(sys.argv[1]))
seconds = []
for names in lists:
    began = time.perf_counter()
    for name in names:
        try:
            importlib.import_module(name)
        except Exception:  # some put modules there that cannot be imported by their name
            pass
    seconds.append(time.perf_counter() - began)
print(json.dumps(seconds))
"""

FIRST_STEP = """
import sys
sys.path.insert(0, {here!r})
import start_up
start_up.commands.run(start_up.first_step)
"""

PARTS = {
    "config": ("ddpm_jax.experiment", "check"),
    "data": ("ddpm_jax.data", "load"),
    "job": ("ddpm_jax.pipeline.job", "make_job"),
    "checkpoints": ("ddpm_jax.training.checkpoints", "Checkpoints.__init__"),
    "first state": ("ddpm_jax.training.checkpoints", "Checkpoints.resume"),
    "trackers": ("ddpm_jax.training.logging", "Log.__init__"),
    "first step": ("ddpm_jax.training.loop", "train"),
}
"""The parts of a run until its first step is done, and the functions that do them."""

EVENTS = {
    "/jax/core/compile/jaxpr_trace_duration": "tracing",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lowering",
    "/jax/core/compile/backend_compile_duration": "compilation",
    "/jax/compilation_cache/cache_retrieval_time_sec": "reading the cache",
}
"""What JAX tells of its own work."""


@dataclasses.dataclass(frozen=True)
class Turn:
    """Seconds of one turn, each in a process of its own; `cold` and `warm` are what `first_step` reports."""

    help: dict[str, float]
    bare: float
    third_party: float
    ours: float
    cold: dict[str, Any]
    warm: dict[str, Any]

    @property
    def ratio(self) -> float:
        """All imports over the bare ones."""
        return (self.third_party + self.ours) / self.bare


class FirstStepDone(BaseException):
    """Ends a run after its first step; not an Exception, so that nothing in the run catches it."""


def first_step(arguments: Sequence[str]) -> None:
    """In a child: import what a run imports, then train until the first step is done, and report what it took.

    Args:
        arguments: one, the name of a JSON file with `modules`, to import first; `train`, the command's arguments; and
            `report`, the file to write: seconds in `total`, `parts` and `jax`, how many `programs` were compiled or
            read, and the `modules` at the end.
    """
    asked = json.loads(Path(arguments[0]).read_text())
    for name in asked["modules"]:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    import ddpm_jax.training.loop
    from ddpm_jax.train import main

    parts, events = dict.fromkeys(PARTS, 0.0), dict.fromkeys(EVENTS.values(), 0.0)
    done: dict[str, Any] = {}

    def one_step(run: Callable, state: Any, data: Callable, *_: Any, **__: Any) -> None:
        import jax
        import jax.numpy as jnp

        jax.block_until_ready(run(state, data(0, 1), 1, jnp.float32(0)))
        done.update(at=time.perf_counter(), modules=list(sys.modules))
        raise FirstStepDone

    ddpm_jax.training.loop.train = one_step  # type: ignore[assignment]
    for name, (module, attribute) in PARTS.items():
        *parents, last = attribute.split(".")
        owner: Any = functools.reduce(getattr, parents, importlib.import_module(module))
        setattr(owner, last, _timed(getattr(owner, last), parts, name))
    programs = _listen(events)
    began = time.perf_counter()
    with contextlib.suppress(FirstStepDone):
        main(asked["train"], alone=True)
    total = done["at"] - began  # and not the end of trackers and checkpoints
    report = {"total": total, "parts": {**parts, "rest": total - sum(parts.values())}, "jax": events}
    Path(asked["report"]).write_text(json.dumps({**report, "programs": len(programs), "modules": done["modules"]}))


def _timed(function: Callable, seconds: dict[str, float], name: str) -> Callable:
    @functools.wraps(function)
    def timed(*arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            seconds[name] += time.perf_counter() - began

    return timed


def _listen(seconds: dict[str, float]) -> list[float]:
    """Adds up what JAX tells from now on; the list gets the seconds of each program."""
    from jax import monitoring

    programs: list[float] = []

    def heard(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event in EVENTS:
            seconds[EVENTS[event]] += duration_secs
            if EVENTS[event] == "compilation":
                programs.append(duration_secs)

    monitoring.register_event_duration_secs_listener(heard)
    return programs


class Processes:
    """Starts the children. `folder` holds what they write; the programs that JAX keeps are in its `cache`."""

    def __init__(self, folder: Path, train: Sequence[str]):
        self._folder, self._train = folder, list(train)
        kept = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
        self._environment = {**kept, "DDPM_JAX_CACHE": str(folder / "cache")}
        self.modules: list[str] = []

    def prepare(self) -> None:
        """Prepare the data, by a run that does so, and learn of another what a run imports: `modules`."""
        self.first_step(cold=True)
        self.modules = self.first_step(cold=False)["modules"]

    def run(self, *words: str) -> str:
        """What `python WORDS` prints.

        Raises:
            UserError: it fails; with the last line that it said.
        """
        words = (sys.executable, *words)
        done = subprocess.run(words, check=False, capture_output=True, text=True, env=self._environment)
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
            raise UserError(f"a run to be measured failed: {said.removeprefix('error: ')}")
        return done.stdout

    def help(self, name: str) -> float:
        """Seconds of `python -m ddpm_jax.NAME --help`."""
        began = time.perf_counter()
        self.run("-m", f"ddpm_jax.{name}", "--help")
        return time.perf_counter() - began

    def bare(self) -> float:
        """Seconds of `import jax, flax`."""
        return float(self.run("-c", BARE))

    def imports(self) -> tuple[float, float]:
        """Seconds of a run's imports: third-party ones, then this project's."""
        file = self._folder / "imports.json"
        ours = [name for name in self.modules if is_ours(name)]
        file.write_text(json.dumps([[name for name in self.modules if not is_ours(name)], ours]))
        third_party, own = json.loads(self.run("-c", IMPORTS, str(file)))
        return third_party, own

    def first_step(self, cold: bool) -> dict[str, Any]:
        """What `first_step` reports of a run in a new folder, without a compiled program that is kept if `cold`."""
        workdir, report, asked = (self._folder / name for name in ("run", "report.json", "asked.json"))
        shutil.rmtree(workdir, ignore_errors=True)
        if cold:
            shutil.rmtree(self._folder / "cache" / "compiled", ignore_errors=True)
        train = [*self._train, f"--workdir={workdir}"]
        asked.write_text(json.dumps({"modules": self.modules, "train": train, "report": str(report)}))
        self.run("-c", FIRST_STEP.format(here=str(HERE)), str(asked))
        return json.loads(report.read_text())


def is_ours(module: str) -> bool:
    """Whether a module is this project's."""
    return module.partition(".")[0] == "ddpm_jax"


def measure(processes: Processes, repeats: int, tell: Callable[[str], None]) -> list[Turn]:
    """So many turns."""
    processes.prepare()
    turns = []
    for _ in range(repeats):
        help = {name: processes.help(name) for name in COMMANDS}
        bare, imports = processes.bare(), processes.imports()
        cold, warm = processes.first_step(cold=True), processes.first_step(cold=False)
        for report in (cold, warm):
            report.pop("modules")
        turns.append(Turn(help, bare, *imports, cold, warm))
        tell(
            f"imports {turns[-1].ratio:.2f} of the bare {bare:.2f} s; "
            f"first step {cold['total']:.2f} s cold, {warm['total']:.2f} s warm"
        )
    return turns


@dataclasses.dataclass(frozen=True)
class Row:
    """A figure over the turns; `target` is the most that it may be, if it has one."""

    name: str
    median: float
    least: float
    most: float
    unit: str = "s"
    target: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the median is within the target; None without one."""
        return None if self.target is None else self.median <= self.target


def rows(turns: Sequence[Turn]) -> list[Row]:
    """The figures of the turns."""

    def row(name: str, figure: Callable[[Turn], float], unit: str = "s", target: float | None = None) -> Row:
        values = [figure(turn) for turn in turns]
        return Row(name, statistics.median(values), min(values), max(values), unit, target)

    table = [row(f"{name} --help", lambda turn, name=name: turn.help[name], "s", HELP_TARGET) for name in COMMANDS]
    table += [
        row("import jax, flax", lambda turn: turn.bare),
        row("imports of a run: third-party", lambda turn: turn.third_party),
        row("imports of a run: ours", lambda turn: turn.ours),
        row("imports of a run over bare", lambda turn: turn.ratio, "", IMPORTS_TARGET),
    ]
    for kind, target in (("cold", None), ("warm", WARM_TARGET)):
        table.append(row(f"first step, {kind}", lambda turn, kind=kind: getattr(turn, kind)["total"], "s", target))
        table.append(row("  programs", lambda turn, kind=kind: getattr(turn, kind)["programs"], ""))
        for group in ("parts", "jax"):
            for part in getattr(turns[0], kind)[group]:
                name = f"  {part}" if group == "parts" else f"  (jax) {part}"
                table.append(
                    row(name, lambda turn, kind=kind, group=group, part=part: getattr(turn, kind)[group][part])
                )
    return table


def lines(table: Sequence[Row]) -> list[str]:
    """The figures in words."""
    width = max(len(row.name) for row in table)
    said = [f"{'':<{width}}  median    least     most"]
    for row in table:
        verdict = "" if row.target is None else f"   at most {row.target:g}: {'met' if row.met else 'not met'}"
        said.append(
            f"{row.name:<{width}}{row.median:8.3f} {row.least:8.3f} {row.most:8.3f} {row.unit:<1}{verdict}".rstrip()
        )
    return said


def main(arguments: Sequence[str]) -> None:
    """Read the command line, measure, print, and write what was measured."""
    parser = commands.Parser(prog="python experiments/speed/start_up.py", description=__doc__)
    parser.add_argument("--config", metavar="FILE.py", default=str(CONFIG), help="default: configs/digits/ddpm.py")
    parser.add_argument("--repeats", type=int, default=5, help="turns that count (default: 5)")
    parser.add_argument("--output", metavar="FILE.json", help="also write the figures there")
    options, config, overrides = commands.parse_with_config(parser, arguments)
    from ddpm_jax import runs
    from ddpm_jax.files import obstacle, write_json

    if options.repeats < 1:
        raise UserError(f"--repeats: {options.repeats} is less than 1")
    if options.output and (reason := obstacle(Path(options.output).absolute().parent)):
        raise UserError(f"--output: {options.output} cannot be written ({reason})")
    with tempfile.TemporaryDirectory() as name:
        processes = Processes(Path(name), [f"--config={options.config}", *overrides])
        turns = measure(processes, options.repeats, lambda words: print(words, flush=True))
    table = rows(turns)
    print("\n".join(lines(table)))
    if options.output:
        result = {
            "rows": [{**dataclasses.asdict(row), "name": row.name.strip(), "met": row.met} for row in table],
            "turns": [dataclasses.asdict(turn) for turn in turns],
            "modules": processes.modules,
            "config": config.to_dict(),
            **runs.provenance(),
        }
        write_json(Path(options.output), result)


if __name__ == "__main__":
    commands.run(main)
