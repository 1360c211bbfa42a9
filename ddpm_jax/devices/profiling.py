"""Where a training step's time goes: some dispatches recorded by JAX's profiler, and a table of what they did.

`Recorder` stands in front of the compiled dispatch and records a few of them once nothing compiles any more. It
calls the same program on the same arguments in the same order, so a run's numbers do not depend on it; its waits and
the writing of the trace do cost time, which rates and a budget in seconds see.
"""

import contextlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddpm_jax.devices.xplane import KINDS, PHASES, Event, Operation, read
from ddpm_jax.errors import UserError

STEPS = 10
"""How many steps are recorded unless asked otherwise."""

WARM_UP = 2
"""Dispatches before the recording: the first compiles, the second may still find arrays placed otherwise."""


def steps_to_record(text: str | None) -> int:
    """The value of `--profile`: 0 where it is not given. Raises UserError for what is no number of steps."""
    if text is None:
        return 0
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"--profile: {text!r} is not a number of steps; write --profile or, for example, --profile=20")
    return int(text)


class Recorder:
    """A compiled dispatch that records some of its calls.

    Args:
        run: a `plan.Dispatch`, `(state, data, count, clock) -> (state, metrics)`.
        folder: gets `step_K/` with the trace, K being the first recorded step; each process has its own.
        steps: how many to record, rounded up to whole dispatches; a milestone of the run ends the recording early.
        tell: shows the table.
    """

    def __init__(self, run: Any, folder: Path, steps: int, tell: Callable[[str], None]):
        self._run, self._folder, self._wanted, self._tell = run, folder, steps, tell
        self._calls = self._recorded = 0
        self._recording = self._over = False
        self._last: Any = None
        self._program = ""

    def __call__(self, state: Any, data: Any, count: Any, clock: Any) -> Any:
        """As `run`."""
        import jax

        if not self._over and not self._recording and self._calls >= WARM_UP:
            self._begin(state, data, count, clock)
        self._calls += 1
        if not self._recording:
            return self._run(state, data, count, clock)
        with jax.profiler.StepTraceAnnotation("train", step_num=self._recorded):
            result = self._last = self._run(state, data, count, clock)
        self._recorded += int(count)
        if self._recorded >= self._wanted:
            self.finish()
        return result

    def _begin(self, state: Any, *more: Any) -> None:
        import jax

        jax.block_until_ready(state)
        part = f"_process_{jax.process_index()}" if jax.process_count() > 1 else ""
        self._folder = self._folder / f"step_{int(state.step) + 1}{part}"
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0  # each Python call would be an event, and slower
        try:
            self._program = self._run.compiled(state, *more).as_text()  # compiled already: it is only looked up
            self._folder.mkdir(parents=True, exist_ok=True)
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True, profiler_options=options)
            self._recording = True
        except Exception as error:  # a full disk, another profiler: no reason to end the run
            self._over = True
            warnings.warn(f"the profile failed, the run goes on: {error}", stacklevel=3)

    def finish(self) -> None:
        """End the recording, if one is under way, and tell what it says."""
        import jax

        if not self._recording:
            return
        jax.block_until_ready(self._last)
        try:
            self._stop()
            words = table(read(newest_trace(self._folder), self._program), self._recorded)
            (self._folder / "table.txt").write_text(words + "\n")
            self._tell(f"{words}\n{where_to_look(self._folder)}")
        except Exception as error:
            warnings.warn(f"the profile failed, the run goes on: {error}", stacklevel=2)

    def close(self) -> None:
        """End the recording of a run that failed, if one is under way; nothing is told."""
        with contextlib.suppress(Exception):  # the run's own error is the one to see
            self._stop()

    def _stop(self) -> None:
        import jax

        self._last = None
        if self._recording:
            self._recording, self._over = False, True
            jax.profiler.stop_trace()

    def missing(self) -> str:
        """What to say at the end of a run in which nothing was recorded; "" where something was."""
        if self._over or self._recording:
            return ""
        return f"nothing profiled: the run ended in its first {WARM_UP} dispatches, which are not recorded"


def newest_trace(folder: Path) -> Path:
    """The trace file of the last recording in a folder. Raises FileNotFoundError where there is none."""
    files = sorted(folder.glob("plugins/profile/*/*.xplane.pb"))
    if not files:
        raise FileNotFoundError(f"no trace in {folder}")
    return files[-1]


def where_to_look(folder: Path) -> str:
    """How to open a recording."""
    return (
        f"the trace: open {newest_trace(folder).parent / 'perfetto_trace.json.gz'} at https://ui.perfetto.dev\n"
        f"           or: pip install xprof; xprof --logdir={folder}"
    )


@dataclass(frozen=True)
class Spent:
    """Time by operation.

    Attributes:
        window: nanoseconds from the first operation's start to the last one's end, the mean over devices.
        idle: of these, when no operation ran: the device waited for the host, or did what the profiler does not see.
        devices: how many were recorded.
        of: each operation's nanoseconds, the mean over devices. They and `idle` add up to `window`.
    """

    window: float
    idle: float
    devices: int
    of: dict[Operation, float]


def spent(events: Sequence[Event]) -> Spent:
    """The time that each operation took on its device; where k run at once, each counts for 1/k of that time."""
    by_device: dict[str, list[Event]] = {}
    for event in events:
        if event.end > event.start:
            by_device.setdefault(event.device, []).append(event)
    window = idle = 0.0
    of: dict[Operation, float] = {}
    for here in by_device.values():
        bounds = [(event.start, True, i) for i, event in enumerate(here)]
        bounds = sorted(bounds + [(event.end, False, i) for i, event in enumerate(here)])
        last, running = bounds[0][0], 0
        had = 0.0  # what an operation that ran from the start would have had by now
        began = [0.0] * len(here)
        window += bounds[-1][0] - last
        for now, starts, i in bounds:
            if running:
                had += (now - last) / running
            else:
                idle += now - last
            last = now
            running += 1 if starts else -1
            if starts:
                began[i] = had
            else:
                of[here[i].operation] = of.get(here[i].operation, 0.0) + had - began[i]
    count = max(len(by_device), 1)
    return Spent(window / count, idle / count, count, {operation: time / count for operation, time in of.items()})


def table(events: Sequence[Event], steps: int, dearest: int = 10) -> str:
    """Shares of a step's time by kind of operation and phase, and the dearest parts of the step.

    A part is all operations of one kind and phase with the same path in the network; outside the network, with the
    same primitive.
    """
    time = spent(events)
    if not time.window:
        return "where a step's time goes: the trace holds no operation"
    share = {operation: 100 * took / time.window for operation, took in time.of.items()}
    lines = [
        f"where a step's time goes: {steps} steps of {time.window / steps / 1e6:.2f} ms as recorded, on {time.devices} "
        f"device{'s' * (time.devices > 1)} of this process",
        f"  {'':<18}{'all':>8}" + "".join(f"{phase:>10}" for phase in PHASES),
    ]

    def row(name: str, part: dict[Operation, float]) -> str:
        phases = "".join(f"{_sum(part, lambda o, phase=phase: o.phase == phase):>9.1f}%" for phase in PHASES)
        return f"  {name:<18}{sum(part.values()):>7.1f}%{phases}"

    by_kind = [(kind, {o: value for o, value in share.items() if o.kind == kind}) for kind in KINDS]
    lines += [row(kind, part) for kind, part in sorted(by_kind, key=lambda pair: -sum(pair[1].values())) if part]
    lines += [row("all operations", share), f"  {'idle or untraced':<18}{100 * time.idle / time.window:>7.1f}%"]
    parts: dict[tuple[str, str, str], float] = {}
    for operation, value in share.items():
        key = (operation.phase, operation.kind, operation.path or f"({operation.words})")
        parts[key] = parts.get(key, 0.0) + value
    lines.append("the dearest parts")
    for (phase, kind, where), value in sorted(parts.items(), key=lambda pair: -pair[1])[:dearest]:
        lines.append(f"  {value:>5.1f}%  {phase:<9} {kind:<15} {where}")
    return "\n".join(lines)


def _sum(share: dict[Operation, float], of: Callable[[Operation], bool]) -> float:
    return sum((value for operation, value in share.items() if of(operation)), 0.0)
