"""The loop with a make-believe step and clock: where it stops, what it calls, what it counts as training."""

from dataclasses import dataclass, field

import jax
import numpy as np
import pytest

from ddpm_jax.errors import UserError
from ddpm_jax.training import loop
from ddpm_jax.training.loop import Every, next_stop
from ddpm_jax.training.optimizer import Budget
from ddpm_jax.training.state import TrainState
from ddpm_jax.training.step import Metrics


@dataclass
class World:
    """A step takes a second and its loss is its number; `bad` is the step that goes wrong."""

    now: float = 1000.0
    bad: int = -1
    skipped: tuple = ()
    stop_at: float = np.inf
    dispatches: list = field(default_factory=list)
    clocks: list = field(default_factory=list)
    reports: list = field(default_factory=list)
    calls: list = field(default_factory=list)

    def perf_counter(self):
        return self.now

    def run(self, state, data, count, clock):
        first = int(state.step)
        assert data == (first, count)
        self.now += count
        self.dispatches.append((first, count))
        self.clocks.append(float(clock))
        losses = np.arange(first + 1, first + count + 1)
        bad = self.bad if self.bad in losses else -1
        skipped = np.isin(losses, self.skipped)
        good = losses[~skipped]
        metrics = Metrics(*(good.sum(), 2.0 * len(good), 0.5, np.int32(count), np.int32(skipped.sum()), np.int32(bad)))
        return make_state(first + count), metrics

    def event(self, name, seconds=0.0):
        def action(state, progress):
            self.now += seconds
            self.calls.append((name, int(state.step), progress.step, progress.finished, progress.elapsed))

        return action

    def train(self, *arguments, **options):
        return self.train_and_tell(*arguments, **options)[0]

    def train_and_tell(self, budget, events=(), start=0, dispatch=10, elapsed=0.0):
        return loop.train(
            self.run,
            make_state(start),
            lambda first, count: (first, count),
            budget,
            dispatch,
            lambda interval, progress: self.reports.append((interval, progress)),
            list(events),
            elapsed,
            lambda: self.now >= self.stop_at,
        )


def make_state(step):
    return TrainState({}, {}, {}, {}, {}, np.int32(step), np.zeros(2, np.int32))


@pytest.fixture
def world(monkeypatch):
    made = World()
    monkeypatch.setattr(loop, "time", made)
    return made


def test_next_stop():
    def nothing(state, progress):
        pass

    events = [Every(7, nothing), Every(0, nothing), Every(100, nothing)]
    stops, step = [], 0
    while step < 25:
        step = next_stop(step, 10, Budget(25), events)
        stops.append(step)
    assert stops == [7, 10, 14, 20, 21, 25]
    assert next_stop(12, 10, Budget(25), events) == 14  # resumed between: as the uninterrupted run
    assert next_stop(96, 10, Budget(None, 5.0), events) == 98
    assert next_stop(98, 10, Budget(None, 5.0), events) == 100
    assert next_stop(0, 1, Budget(25), []) == 1


def test_events_at_their_steps_with_their_state(world):
    state = world.train(
        Budget(25), [Every(7, world.event("a")), Every(10, world.event("b")), Every(0, world.event("c"))]
    )
    assert int(state.step) == 25
    assert [call[:4] for call in world.calls] == [
        ("a", 7, 7, False),
        ("b", 10, 10, False),
        ("a", 14, 14, False),
        ("b", 20, 20, False),
        ("a", 21, 21, False),
        *(("a", 25, 25, True), ("b", 25, 25, True), ("c", 25, 25, True)),
    ]
    assert world.dispatches == [(0, 7), (7, 3), (10, 4), (14, 6), (20, 1), (21, 4)]


def test_an_event_at_the_end_is_called_once_and_others_only_if_they_want(world):
    world.train(Budget(20), [Every(10, world.event("a")), Every(15, world.event("b"), last=False)])
    assert [call[:3] for call in world.calls] == [("a", 10, 10), ("b", 15, 15), ("a", 20, 20)]


def test_resumed_runs_stop_and_call_as_uninterrupted_ones(world):
    events = [Every(4, world.event("a")), Every(6, world.event("b"))]
    world.train(Budget(30), events, dispatch=5)
    whole, calls = world.dispatches[:], [call[:3] for call in world.calls]
    world.dispatches.clear()
    world.calls.clear()
    world.train(Budget(30), events, start=12, dispatch=5)
    assert world.dispatches == [one for one in whole if one[0] >= 12]
    assert [call[:3] for call in world.calls] == [call for call in calls if call[1] > 12]


def test_reports_cover_every_step_once(world):
    world.train(Budget(25), [Every(7, world.event("a"))])
    intervals = [interval for interval, _ in world.reports]
    assert [(interval.step, interval.steps) for interval in intervals] == [
        (7, 7),
        (10, 3),
        (14, 4),
        (20, 6),
        (21, 1),
        (25, 4),
    ]
    assert [interval.loss for interval in intervals] == [4.0, 9.0, 12.5, 17.5, 21.0, 23.5]
    assert {(interval.gradient_norm, interval.learning_rate) for interval in intervals} == {(2.0, 0.5)}
    assert [progress.step for _, progress in world.reports] == [interval.step for interval in intervals]
    assert world.reports[-1][1].fraction == 1.0


def test_one_dispatch_stays_in_flight(world):
    """A report comes only when the next dispatch is under way, unless an event needs the state."""
    seen = []
    world.reports = type(
        "Reports", (), {"append": lambda _, item: seen.append((item[0].step, len(world.dispatches)))}
    )()
    world.train(Budget(40))
    assert seen == [(10, 2), (20, 3), (30, 4), (40, 4)]


def test_a_loss_that_is_not_finite_ends_the_run_before_its_state_is_used(world):
    world.bad = 13
    with pytest.raises(UserError, match=r"^step 13: the loss or its gradient is not finite; lower config.optimizer"):
        world.train(Budget(40), [Every(5, world.event("save"))])
    assert [call[1] for call in world.calls] == [5, 10]


@pytest.mark.parametrize("bad", [33, 40])
def test_a_bad_last_dispatch_is_not_saved(world, bad):
    world.bad = bad
    with pytest.raises(UserError, match=f"^step {bad}: "):
        world.train(Budget(40), [Every(100, world.event("save"))])
    assert world.calls == []


def test_seconds_end_a_run_and_set_its_clock(world):
    state = world.train(Budget(None, 25.0), [Every(100, world.event("save"))])
    assert int(state.step) == 30
    np.testing.assert_allclose(world.clocks, [0, 10 / 25, 20 / 25], rtol=1e-6)
    assert [progress.fraction for _, progress in world.reports] == [0.4, 0.8, 1.0]
    assert [call[1:4] for call in world.calls] == [(30, 30, True)]
    assert int(World.train(world, Budget(12, 25.0)).step) == 12  # whichever comes first


def test_seconds_of_earlier_parts_count(world):
    assert int(world.train(Budget(None, 25.0), elapsed=18.0).step) == 10
    assert int(world.train(Budget(None, 25.0), start=50, elapsed=25.0).step) == 50


def test_events_are_not_training_time(world):
    state = world.train(Budget(None, 25.0), [Every(5, world.event("slow", seconds=100.0))], elapsed=3.0)
    assert int(state.step) == 25
    assert [call[4] for call in world.calls] == [8.0, 13.0, 18.0, 23.0, 28.0]
    assert [interval.seconds for interval, _ in world.reports] == [5.0] * 5


def test_a_budget_that_is_spent_trains_nothing(world):
    assert int(world.train(Budget(10), [Every(5, world.event("save"))], start=10).step) == 10
    assert world.dispatches == world.calls == world.reports == []


def test_a_budget_too_long_for_an_int32_still_compiles():
    budget = Budget.of(8, 1.0, 0, 10**18, 0.0, 0.0)
    assert budget.steps == 2**31 - 1
    assert float(jax.jit(budget.fraction)(np.int32(2**30), np.float32(0))) == pytest.approx(0.5)


def test_a_run_that_is_to_stop_ends_between_dispatches_and_calls_nothing_for_its_end(world):
    world.stop_at = 1012.0
    state, progress = world.train_and_tell(Budget(40), [Every(5, world.event("a")), Every(0, world.event("b"))])
    assert (int(state.step), progress.step, progress.finished) == (15, 15, False)
    assert [call[:2] for call in world.calls] == [("a", 5), ("a", 10), ("a", 15)]
    assert [interval.step for interval, _ in world.reports] == [5, 10, 15]  # all that was done is reported
    assert progress.elapsed == 15.0
    _, progress = world.train_and_tell(Budget(15), start=15)
    assert progress.finished  # nothing was left


def test_events_by_time_come_so_many_seconds_after_the_last(world):
    state = world.train(Budget(60), [Every(0, world.event("a"), last=False, seconds=25.0)])
    assert int(state.step) == 60
    assert [call[1] for call in world.calls] == [30, 60]
    world.calls.clear()
    world.train(Budget(30), [Every(20, world.event("b")), Every(0, world.event("a", 3.0), last=False, seconds=10.0)])
    assert [call[:2] for call in world.calls] == [("a", 10), ("b", 20), ("a", 20), ("a", 30), ("b", 30)]


def test_skipped_steps_are_counted_and_no_part_of_the_means(world):
    world.skipped = (3, 4, 12)
    world.train(Budget(20))
    intervals = [interval for interval, _ in world.reports]
    assert [(interval.skipped, interval.steps) for interval in intervals] == [(2, 10), (1, 10)]
    assert [interval.loss for interval in intervals] == [48 / 8, (155 - 12) / 9]
    assert {interval.gradient_norm for interval in intervals} == {2.0}
    world.skipped = tuple(range(1, 21))
    world.train(Budget(20))
    assert [interval.loss for interval, _ in world.reports[2:]] == [0.0, 0.0]
