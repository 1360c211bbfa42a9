"""How fast something goes, how long it still takes, and how long JAX has compiled meanwhile."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

MEMORY = 300.0
"""Seconds after which what was done counts 1/e in the speed."""

GAP = 2.0
"""Seconds between two compilations up to which they are told as one."""


@dataclass(frozen=True)
class Pace:
    """How fast something goes.

    >>> Pace().after(10, 2.0).left(5)
    1.0

    Attributes:
        items: done, and
        seconds: spent on them; both fade with age.
        memory: seconds after which they count 1/e; infinite: always whole.
    """

    items: float = 0.0
    seconds: float = 0.0
    memory: float = MEMORY

    def after(self, items: int, seconds: float) -> "Pace":
        """With so much done since the last time."""
        kept = math.exp(-seconds / self.memory)
        return Pace(kept * self.items + items, kept * self.seconds + seconds, self.memory)

    def left(self, items: int) -> float | None:
        """The seconds that more items take; None where nothing tells."""
        return items * self.seconds / self.items if self.items else None


class Compilation:
    """How long JAX has traced and compiled: `begin` and `end` are told, one within another, from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._lock = clock, threading.Lock()
        self._depth, self._sum, self._began = 0, 0.0, 0.0
        self._first, self._last = -math.inf, -math.inf  # of what goes on with little between

    def begin(self) -> None:
        """Something begins."""
        with self._lock:
            self._depth += 1
            if self._depth == 1:
                self._began = self._clock()
                if self._began - self._last > GAP:
                    self._first = self._began

    def end(self) -> None:
        """The last that began ends."""
        with self._lock:
            if not self._depth:  # its beginning was not heard
                return
            self._depth -= 1
            if not self._depth:
                self._last = self._clock()
                self._sum += self._last - self._began

    @property
    def seconds(self) -> float:
        """In all up to now."""
        with self._lock:
            return self._sum + (self._clock() - self._began if self._depth else 0.0)

    @property
    def span(self) -> float:
        """Of what goes on now, or was the last to."""
        with self._lock:
            return (self._clock() if self._depth else self._last) - self._first

    @property
    def going(self) -> bool:
        """Whether it goes on now."""
        with self._lock:
            return self._depth > 0

    @property
    def over(self) -> bool:
        """Whether it has not gone on for a while."""
        with self._lock:
            return not self._depth and self._clock() - self._last > GAP


def duration(seconds: float | None) -> str:
    """Seconds in words.

    >>> duration(7000.0)
    '1 h 57 min'
    """
    if seconds is None:
        return "?"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
