"""The line that says how far something is, and the one screen on which it is drawn."""

import atexit
import contextlib
import math
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from ddpm_jax.progress.pace import MEMORY, Compilation, Pace, duration

EVERY = 30.0
"""Seconds between two lines where the output is no terminal."""

DRAWN, TICK = 0.1, 0.5
"""Seconds between two states of the line on a terminal, as work is done and while there is compilation."""

DELAY = 1.0
"""Seconds from which on something is shown: what is done sooner needs no word."""

TOLD = 10.0
"""Seconds of compilation from which on plain lines tell of it."""

GAUGE = 20
"""Characters of the gauge."""

COMPILING = tuple(
    f"/jax/core/compile/{name}_duration" for name in ("jaxpr_trace", "jaxpr_to_mlir_module", "backend_compile")
)
"""What JAX records when it begins, as a scalar, and when it ends, as a duration: one within another, many times."""

Item = TypeVar("Item")


class Display:
    """What is drawn on: the innermost bar, or compilation alone; one thread at a time.

    Args:
        stream: standard error by default, whatever that is at the time.
    """

    def __init__(self, stream: Any = None):
        self._own = stream
        self.lock, self.bars = threading.RLock(), []
        self.compilation, self.woken, self.watched = Compilation(), threading.Event(), False
        self._width, self._told = 0, 0.0

    @property
    def _stream(self) -> Any:
        return sys.stderr if self._own is None else self._own

    @property
    def terminal(self) -> bool:
        """Whether a line can be drawn again."""
        with contextlib.suppress(AttributeError, ValueError):  # there is none, or it was closed
            return self._stream.isatty()
        return False

    def _put(self, text: str) -> None:
        with contextlib.suppress(AttributeError, ValueError, OSError):  # nobody can see it: no reason to stop
            self._stream.write(text)
            self._stream.flush()

    def draw(self, text: str) -> None:
        """Draw the line again, cut to the terminal's width."""
        text = text[: max(1, shutil.get_terminal_size().columns - 1)]
        self._put(f"\r{text.ljust(self._width)}")
        self._width = len(text)

    def clear(self) -> None:
        """Nothing is drawn any more."""
        if self._width:
            self._put(f"\r{' ' * self._width}\r")
        self._width = 0

    def end(self) -> None:
        """What is drawn stays."""
        if self._width:
            self._put("\n")
        self._width = 0

    def line(self, text: str) -> None:
        """A line of its own."""
        self.clear()
        self._put(f"{text}\n")

    def tick(self) -> bool:
        """Show compilation while there is some; False when there has been none for a while."""
        with self.lock:
            span, inner = self.compilation.span, self.bars[-1] if self.bars else None
            if self.compilation.over:
                if self._told and self.terminal:
                    self.clear()
                    if inner is not None and inner.seen:
                        inner.draw()
                elif self._told:
                    self.line(f"compiled in {span:.0f} s")
                self._told = 0.0
                return False
            if not self.compilation.going or span < (DELAY if self.terminal else max(self._told, TOLD)):
                return True
            words = f"compiling ... {span:.0f} s"
            words = words if inner is None else f"{inner.place}, {words}"
            if self.terminal:
                self.draw(words)
            else:
                self.line(words)
            self._told = span + EVERY
            return True


DISPLAY = Display()
"""Of this process."""


class Bar:
    """A line that says how far something is.

    Args:
        title: what is counted, such as `step`.
        total: how many there will be, if that is known.
        start: how many there are already.
        unit: of the speed: several of what is counted.
        off: show nothing, as in all processes but one.
        delay: seconds before it is shown on a terminal.
        stay: leave the last state there.
        memory: as of `Pace`.
        clock: seconds.
    """

    def __init__(
        self,
        title: str,
        total: int | None = None,
        start: int = 0,
        unit: str = "",
        off: bool = False,
        delay: float = DELAY,
        stay: bool = False,
        memory: float = MEMORY,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._title, self._total, self._unit, self._off, self._stay = title, total, unit, off, stay
        self._done, self._words, self._pace, self._clock = start, "", Pace(memory=memory), clock
        self._last = self._began = self._line = clock()
        self._shown, self._delay = -math.inf, delay
        self._compiled = DISPLAY.compilation.seconds
        self.seen = False
        if not off:
            with DISPLAY.lock:
                DISPLAY.bars.append(self)
                if not delay:
                    self._show()

    def update(self, done: int, words: str = "", counts: bool = True) -> None:
        """So many are done now; `words` go behind. With `counts` False, they have taken no time that tells anything."""
        now, compiled = self._clock(), DISPLAY.compilation.seconds
        spent = now - self._last - (compiled - self._compiled)
        if counts:
            self._pace = self._pace.after(done - self._done, max(0.0, spent))
        self._last, self._compiled, self._done, self._words = now, compiled, done, words
        if not self._off:
            with DISPLAY.lock:
                self._show()

    @property
    def place(self) -> str:
        """Where it is, in words."""
        if self._total is None:
            return f"{self._title} {self._done:,}"
        share = f" ({100 * self._done / self._total:.0f} %)" if self._total else ""
        return f"{self._title} {self._done:,} of {self._total:,}{share}"

    @property
    def text(self) -> str:
        """All there is to say."""
        parts = [self.place]
        if self._pace.items and self._pace.seconds:
            rate = self._pace.items / self._pace.seconds
            parts.append(f"{rate:,.0f} {self._unit}/s" if rate >= 100 else f"{rate:.3g} {self._unit}/s")
        if self._total is not None and (left := self._pace.left(self._total - self._done)) is not None:
            parts.append(f"{duration(left)} left")
        return ", ".join([*parts, *([self._words] if self._words else [])])

    def _show(self) -> None:
        now = self._clock()
        if DISPLAY.terminal:
            first = not DISPLAY.bars or DISPLAY.bars[-1] is self
            if first and now - self._began >= self._delay and now - self._shown >= DRAWN:
                self.draw()
        elif now - self._line >= EVERY:
            self._line = now
            DISPLAY.line(self.text)

    def draw(self) -> None:
        """Draw it on the terminal."""
        self._shown, self.seen = self._clock(), True
        full = round(GAUGE * min(1.0, self._done / self._total)) if self._total else 0
        gauge = f"[{'#' * full}{'.' * (GAUGE - full)}] " if self._total else ""
        DISPLAY.draw(gauge + self.text)

    def write(self, words: str) -> None:
        """Print a line, on standard output, and go on below it."""
        if self._off:
            return
        with DISPLAY.lock:
            DISPLAY.clear()
            print(words, flush=True)
            if DISPLAY.terminal and self.seen:
                self.draw()

    def close(self) -> None:
        """It is over."""
        if self._off or self not in DISPLAY.bars:
            return
        with DISPLAY.lock:
            DISPLAY.bars.remove(self)
            if not DISPLAY.terminal:
                return
            if self._stay and self.seen:
                self.draw()
                DISPLAY.end()
            else:
                DISPLAY.clear()

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()


def bar(items: Iterable[Item], title: str, unit: str = "", off: bool = False) -> Iterator[Item]:
    """The items, with a bar while they are walked."""
    total = len(items) if hasattr(items, "__len__") else None  # type: ignore[arg-type]
    with Bar(title, total, unit=unit, off=off) as shown:
        for number, item in enumerate(items, 1):
            yield item
            shown.update(number)


def watch() -> None:
    """Show from now on when JAX compiles. Once is enough for a process, and for one of several processes."""
    if DISPLAY.watched:
        return
    from jax import monitoring

    DISPLAY.watched = True
    monitoring.register_scalar_listener(_begins)
    monitoring.register_event_duration_secs_listener(_ends)
    over = threading.Event()
    thread = threading.Thread(target=_look, args=(over,), name=__name__, daemon=True)
    with contextlib.suppress(RuntimeError):  # no more threads are allowed: then nothing is shown, and no more
        thread.start()
        atexit.register(_stop, thread, over)


def _begins(event: str, value: float | int, **facts: Any) -> None:
    del value, facts
    if event in COMPILING:
        DISPLAY.compilation.begin()
        DISPLAY.woken.set()


def _ends(event: str, duration_secs: float | int, **facts: Any) -> None:
    del duration_secs, facts
    if event in COMPILING:
        DISPLAY.compilation.end()


def _look(over: threading.Event) -> None:
    """What the thread does: sleep until there is compilation, and show it while it lasts."""
    while not over.is_set():
        DISPLAY.woken.wait()
        DISPLAY.woken.clear()
        while not over.wait(TICK) and DISPLAY.tick():
            pass


def _stop(thread: threading.Thread, over: threading.Event) -> None:
    over.set()
    DISPLAY.woken.set()
    thread.join(2 * TICK)
