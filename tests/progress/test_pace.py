"""Speeds, the time left, and the time of compilation."""

import math

import pytest

from ddpm_jax.progress.pace import Compilation, Pace, duration


def test_at_a_steady_speed_what_is_left_takes_its_share():
    """Whatever the memory, and in however many parts."""
    for memory in (1.0, 300.0, math.inf):
        pace = Pace(memory=memory)
        for _ in range(50):
            pace = pace.after(3, 1.5)
        assert pace.left(7) == pytest.approx(3.5)
    assert Pace().left(3) is None
    assert Pace().after(0, 9.0).left(3) is None


def test_a_new_speed_is_believed_after_a_while_and_an_old_one_forgotten():
    pace = Pace(memory=10.0)
    for _ in range(100):
        pace = pace.after(1, 1.0)
    before = pace.left(1)
    for _ in range(20):
        pace = pace.after(1, 4.0)
    assert before == pytest.approx(1)
    assert 3.9 < pace.left(1) < 4
    slow = pace.after(1, 4000.0)  # one item alone, longer than the memory
    assert slow.left(1) == pytest.approx(4000, rel=0.01)


def test_compilation_is_counted_once_however_it_nests():
    now = [100.0]
    here = Compilation(lambda: now[0])
    here.end()  # what began before anyone listened
    for inner in (1, 3):
        here.begin()
        for _ in range(inner):
            now[0] += 1
            here.begin()
            now[0] += 2
            here.end()
        here.end()
        now[0] += 10
    assert here.seconds == 3 + 9
    here.begin()
    now[0] += 5
    assert here.seconds == 17
    assert here.going and here.span == 5
    here.end()
    now[0] += 0.1  # lowering follows tracing: one span
    here.begin()
    now[0] += 1
    assert here.span == pytest.approx(6.1)
    here.end()
    assert not here.going and not here.over
    now[0] += 60
    assert here.over


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "?"),
        (0.0, "0 s"),
        (29.4, "29 s"),
        (98.0, "98 s"),
        (100.0, "2 min"),
        (3569.0, "59 min"),
        (3600.0, "1 h 00 min"),
    ],
)
def test_durations(seconds, words):
    assert duration(seconds) == words
