"""What is shown of work that goes on: on a terminal, in a file, and while JAX compiles."""

import io
import math
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ddpm_jax import progress
from ddpm_jax.progress import Bar, bars
from ddpm_jax.progress.pace import Compilation

ROOT = Path(__file__).resolve().parents[2]


class Clock:
    """Seconds that a test says."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Output(io.StringIO):
    """Standard error that is a terminal, or is none."""

    def __init__(self, terminal):
        super().__init__()
        self._terminal = terminal

    def isatty(self):
        return self._terminal


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def out(monkeypatch, clock, request):
    """What is shown on a display of its own, whose compilation a test tells."""
    output = Output(getattr(request, "param", True))
    display = bars.Display(output)
    display.compilation = Compilation(clock)
    monkeypatch.setattr(bars, "DISPLAY", display)
    monkeypatch.setenv("COLUMNS", "200")
    return output


in_a_file = pytest.mark.parametrize("out", [False], indirect=True)


def screen_of(text):
    """What a terminal shows of this, line by line."""
    shown = []
    for line in text.split("\n"):
        now = ""
        for part in line.split("\r"):
            now = part + now[len(part) :]
        shown.append(now.rstrip())
    return shown


def test_time_left_leaves_compilation_out(out, clock):
    with Bar("step", 100, unit="steps", delay=0.0, clock=clock) as bar:
        bars.DISPLAY.compilation.begin()
        clock.now += 38
        bars.DISPLAY.compilation.end()
        bar.update(0)
        clock.now += 2
        bar.update(10)
        clock.now += 2
        bar.update(20, "loss 1")
    assert screen_of(out.getvalue()) == [""]
    last = screen_of(out.getvalue().rpartition("\r")[0].rpartition("\r")[0])[0]
    assert last == "[####................] step 20 of 100 (20 %), 5 steps/s, 16 s left, loss 1"


def test_only_work_that_counts_makes_the_speed(out, clock):
    with Bar("run", 10, unit="runs", delay=0.0, memory=math.inf, clock=clock) as bar:
        bar.update(5, counts=False)  # were finished already
        clock.now += 60
        bar.update(6)
        assert "4 min left" in bar.text


def test_on_a_terminal_a_line_is_printed_above_the_bar_which_stays(out, clock, capsys):
    with Bar("step", 4, unit="steps", delay=0.0, stay=True, clock=clock) as bar:
        clock.now += 1
        bar.update(2)
        before = len(out.getvalue())
        bar.write("validation loss 1")
        assert capsys.readouterr().out == "validation loss 1\n"
        assert out.getvalue()[before:].startswith("\r ")  # cleared, then drawn again
        assert screen_of(out.getvalue())[-1].endswith(bar.text)
        clock.now += 1
        bar.update(4)
    assert screen_of(out.getvalue()) == ["[####################] step 4 of 4 (100 %), 2 steps/s, 0 s left", ""]


def test_what_is_quick_is_not_shown(out, clock):
    assert list(progress.bar(range(3), "x")) == [0, 1, 2]
    bar = Bar("x", 3, clock=clock)
    for number in range(3):
        clock.now += 0.3
        bar.update(number)
    bar.close()
    bar.close()
    assert out.getvalue() == ""


def test_the_innermost_bar_is_drawn(out, clock):
    with Bar("outer", 4, unit="a", delay=0.0, clock=clock) as outer:
        with Bar("inner", 4, unit="b", delay=0.0, clock=clock):
            clock.now += 1
            outer.update(1)
            assert screen_of(out.getvalue())[0].startswith("[....................] inner 0 of 4")
        outer.update(2)
        assert screen_of(out.getvalue())[0].startswith("[##########..........] outer 2 of 4")


def test_a_line_is_not_wider_than_the_terminal(out, clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    with Bar("step", 4, delay=0.0, clock=clock) as bar:
        clock.now += 1
        bar.update(1, "x" * 100)
        assert len(screen_of(out.getvalue())[0]) == 29


@in_a_file
def test_in_a_file_there_is_a_plain_line_each_half_a_minute(out, clock, capsys):
    with Bar("step", 3000, unit="steps", delay=0.0, stay=True, clock=clock) as bar:
        for step in range(1, 1001):
            clock.now += 0.1
            bar.update(step, f"loss {1 / step:.4f}")
        bar.write("a milestone")
    assert out.getvalue().splitlines() == [
        "step 301 of 3,000 (10 %), 10 steps/s, 4 min left, loss 0.0033",
        "step 602 of 3,000 (20 %), 10 steps/s, 4 min left, loss 0.0017",
        "step 903 of 3,000 (30 %), 10 steps/s, 3 min left, loss 0.0011",
    ]
    assert capsys.readouterr().out == "a milestone\n"


@in_a_file
def test_in_a_file_compilation_is_told_when_it_is_long(out, clock):
    display = bars.DISPLAY
    with Bar("step", 10, delay=0.0, clock=clock):
        display.compilation.begin()
        for _ in range(76):
            clock.now += 0.5
            assert display.tick()
        display.compilation.end()
        clock.now += 3
        assert not display.tick()
        display.compilation.begin()
        clock.now += 3
        assert display.tick()
        display.compilation.end()
        clock.now += 3
        assert not display.tick()
    assert out.getvalue().splitlines() == [
        "step 0 of 10 (0 %), compiling ... 10 s",
        "compiled in 38 s",
    ]


def test_on_a_terminal_the_seconds_of_compilation_stand_in_the_bar(out, clock):
    display = bars.DISPLAY
    display.compilation.begin()
    clock.now += 2
    assert display.tick()
    assert screen_of(out.getvalue()) == ["compiling ... 2 s"]
    with Bar("samples: batch", 3, delay=0.0, clock=clock):
        clock.now += 10
        assert display.tick()
        assert screen_of(out.getvalue())[-1] == "samples: batch 0 of 3 (0 %), compiling ... 12 s"
        display.compilation.end()
        clock.now += 3
        assert not display.tick()
        assert screen_of(out.getvalue())[-1] == "[....................] samples: batch 0 of 3 (0 %)"
    assert screen_of(out.getvalue())[-1] == ""


@pytest.mark.parametrize("broken", [None, "closed", "full"])
def test_work_goes_on_where_nothing_can_be_shown(monkeypatch, out, clock, broken):
    def full(_):
        raise OSError(28, "No space left on device")

    if broken == "closed":
        out.close()
    elif broken == "full":
        monkeypatch.setattr(out, "write", full)
    else:
        monkeypatch.setattr(bars, "DISPLAY", bars.Display())
        monkeypatch.setattr(sys, "stderr", None)
    with Bar("step", 3, delay=0.0, stay=True, clock=clock) as bar:
        clock.now += 100
        bar.update(1)


def test_one_process_of_several_speaks(out, clock, capsys):
    with Bar("step", 3, delay=0.0, off=True, clock=clock) as bar:
        clock.now += 100
        bar.update(1)
        bar.write("words")
    assert list(progress.bar(range(2), "x", off=True)) == [0, 1]
    assert out.getvalue() == capsys.readouterr().out == ""


@pytest.mark.slow
def test_what_jax_records_of_its_compilation_is_heard():
    """A program whose compilation takes a while: it is told in seconds, and a thread of ours ends with the process."""
    code = (
        "import time, jax, sys\n"
        "from ddpm_jax import progress\n"
        "from ddpm_jax.progress import bars, pace\n"
        "bars.TICK, bars.TOLD, pace.GAP = 0.05, 0.2, 0.1\n"
        "progress.watch(); progress.watch()\n"
        "def slow(x):\n    time.sleep(0.6)\n    return x + 1\n"
        "jax.jit(slow)(1.0)\n"
        "heard = bars.DISPLAY.compilation.seconds\n"
        "assert 0.6 < heard < 30, heard\n"
        "time.sleep(0.4)\n"
        "jax.jit(slow)(1)\n"
        "assert bars.DISPLAY.compilation.seconds > heard + 0.6\n"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert re.fullmatch(r"compiling \.\.\. \d+ s", lines[0]), lines
    assert re.fullmatch(r"compiled in \d+ s", lines[1]), lines
    assert time.monotonic() - began < 60
