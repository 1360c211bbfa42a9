"""The training loop: one dispatch in flight, and stops for events at steps that depend on nothing else."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ddpm_jax.devices.agreement import agree
from ddpm_jax.errors import UserError
from ddpm_jax.training.optimizer import Budget
from ddpm_jax.training.state import TrainState


@dataclass(frozen=True)
class Every:
    """Something to do at each multiple of `steps`, each time `seconds` have gone by (0: never), and at the `last`."""

    steps: int
    action: Callable[[TrainState, "Progress"], None]
    last: bool = True
    seconds: float = 0.0

    def due(self, step: int, waited: float) -> bool:
        """Whether to do it at this step, so many seconds after the last time."""
        return bool(self.steps and step % self.steps == 0) or bool(self.seconds and waited >= self.seconds)


@dataclass(frozen=True)
class Progress:
    """Where a run is: steps done, seconds of training so far, the fraction of its budget."""

    step: int
    elapsed: float
    fraction: float
    finished: bool = False


@dataclass(frozen=True)
class Interval:
    """Means over the steps since the last report, but for those that were skipped."""

    step: int
    loss: float
    gradient_norm: float
    learning_rate: float
    seconds: float
    steps: int
    skipped: int = 0


def next_stop(step: int, dispatch: int, budget: Budget, events: list[Every]) -> int:
    """The step to dispatch to: the next multiple of `dispatch`, of an event's steps, or the end, whichever is first.

    Multiples are counted from 0, so a resumed run stops where an uninterrupted one does.
    """
    stops = [period - step % period + step for period in (dispatch, *(event.steps for event in events)) if period]
    return min(stops if budget.steps is None else [*stops, budget.steps])


def train(
    run: Callable[[TrainState, Any, Any, Any], tuple[TrainState, Any]],
    state: TrainState,
    data: Callable[[int, int], Any],
    budget: Budget,
    dispatch: int,
    report: Callable[[Interval, Progress], None],
    events: list[Every],
    elapsed: float = 0.0,
    stop: Callable[[], bool] = bool,
) -> tuple[TrainState, Progress]:
    """Train until the budget is spent, or until asked to stop.

    Args:
        run: `(state, data, count, clock) -> (state, metrics)`, compiled, donating the state.
        state: where to start.
        data: `(first step, count) -> data` for a dispatch.
        budget: when to stop.
        dispatch: the most steps in one dispatch.
        report: called about each dispatch, once the next one is under way.
        events: what else to do, and when. They see a state whose steps have all been finite.
        elapsed: seconds of training before this call.
        stop: asked before each dispatch; all processes must be told the same.

    Returns:
        The last state, and where the run is: not `finished` where it was stopped.

    Raises:
        UserError: the loss or the gradient was not finite; names the step.
    """
    start = time.perf_counter() - elapsed
    step = int(state.step)
    waiting: list[tuple[int, Any]] = []
    last = time.perf_counter()

    def now() -> float:
        return agree(time.perf_counter() - start) if budget.seconds else time.perf_counter() - start

    def settle() -> None:
        """Wait for the dispatches in flight, check them and report them."""
        nonlocal last
        while waiting:
            end, metrics = waiting.pop(0)
            metrics = jax.device_get(metrics)
            if metrics.bad_step >= 0:
                raise UserError(
                    f"step {int(metrics.bad_step)}: the loss or its gradient is not finite; lower "
                    "config.optimizer.learning_rate or config.optimizer.clip, with another --workdir, or let the same "
                    "run pass over a few such steps: config.training.skip_bad (the last good checkpoint is kept)"
                )
            count, skipped, seconds = int(metrics.steps), int(metrics.skipped), time.perf_counter() - last
            last = time.perf_counter()
            good = max(1, count - skipped)
            interval = Interval(
                end,
                float(metrics.loss) / good,
                float(metrics.gradient_norm) / good,
                float(metrics.learning_rate),
                seconds,
                count,
                skipped,
            )
            report(interval, progress(end))

    def progress(at: int, finished: bool = False) -> Progress:
        clock = budget.clock(now())
        done = at / budget.steps if budget.steps else 0.0
        return Progress(at, now(), min(1.0, max(done, clock)), finished)

    def over() -> bool:
        return (budget.steps is not None and step >= budget.steps) or budget.clock(now()) >= 1

    entered, done = time.perf_counter(), [0.0] * len(events)
    timed = any(event.seconds for event in events)
    stopped = False
    while not over() and not (stopped := stop()):
        stop_at = next_stop(step, dispatch, budget, events)
        clock = jnp.float32(budget.clock(now()))
        state, metrics = run(state, data(step, stop_at - step), stop_at - step, clock)
        settle()
        waiting.append((stop_at, metrics))
        step = stop_at
        came = agree(time.perf_counter() - entered) if timed else 0.0
        due = [number for number, event in enumerate(events) if event.due(step, came - done[number])]
        if due or budget.seconds:
            settle()
        if due:
            began = time.perf_counter()
            for number in due:
                events[number].action(state, progress(step))
                done[number] = came
            last = time.perf_counter()
            start += last - began  # a budget in seconds pays for training only
    settle()
    if stopped:
        return state, progress(step)
    for event in events:
        if event.last and not (event.steps and step % event.steps == 0):
            event.action(state, progress(step, finished=True))
    return state, progress(step, finished=True)
