"""The training loop: one dispatch in flight, and stops for events at steps that depend on nothing else."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ddpm_jax.errors import UserError
from ddpm_jax.parallel import agree
from ddpm_jax.training.optimizer import Budget
from ddpm_jax.training.state import TrainState


@dataclass(frozen=True)
class Every:
    """Something to do at each multiple of `steps` (0: never) and, with `last`, at the end."""

    steps: int
    action: Callable[[TrainState, "Progress"], None]
    last: bool = True


@dataclass(frozen=True)
class Progress:
    """Where a run is: steps done, seconds of training so far, the fraction of its budget."""

    step: int
    elapsed: float
    fraction: float
    finished: bool = False


@dataclass(frozen=True)
class Interval:
    """Means over the steps since the last report."""

    step: int
    loss: float
    gradient_norm: float
    learning_rate: float
    seconds: float
    steps: int


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
) -> TrainState:
    """Train until the budget is spent.

    Args:
        run: `(state, data, count, clock) -> (state, metrics)`, compiled, donating the state.
        state: where to start.
        data: `(first step, count) -> data` for a dispatch.
        budget: when to stop.
        dispatch: the most steps in one dispatch.
        report: called about each dispatch, once the next one is under way.
        events: what else to do, and when. They see a state whose steps have all been finite.
        elapsed: seconds of training before this call.

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
                    "config.optimizer.learning_rate or config.optimizer.clip, with another --workdir "
                    "(the last good checkpoint is kept)"
                )
            count, seconds = int(metrics.steps), time.perf_counter() - last
            last = time.perf_counter()
            interval = Interval(
                end,
                float(metrics.loss) / count,
                float(metrics.gradient_norm) / count,
                float(metrics.learning_rate),
                seconds,
                count,
            )
            report(interval, progress(end))

    def progress(at: int, finished: bool = False) -> Progress:
        clock = budget.clock(now())
        done = at / budget.steps if budget.steps else 0.0
        return Progress(at, now(), min(1.0, max(done, clock)), finished)

    def over() -> bool:
        return (budget.steps is not None and step >= budget.steps) or budget.clock(now()) >= 1

    while not over():
        stop = next_stop(step, dispatch, budget, events)
        clock = jnp.float32(budget.clock(now()))
        state, metrics = run(state, data(step, stop - step), stop - step, clock)
        settle()
        waiting.append((stop, metrics))
        step = stop
        due = [event for event in events if event.steps and step % event.steps == 0]
        if due or budget.seconds:
            settle()
        if due:
            began = time.perf_counter()
            for event in due:
                event.action(state, progress(step))
            last = time.perf_counter()
            start += last - began  # a budget in seconds pays for training only
    settle()
    for event in events:
        if event.last and not (event.steps and step % event.steps == 0):
            event.action(state, progress(step, finished=True))
    return state
