"""A dispatch of several training steps as a compiled program, and the memory that compiling took."""

import contextlib
import ctypes
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import PyTree


@dataclass(frozen=True, eq=False)
class Dispatch:
    """Several steps: `(state, data, count, clock) -> (state, metrics)`.

    Attributes:
        program: of all the steps, or of one; compiled by jit or pmap.
        rows: the numbers of the global batch's rows, spread over the devices.
        fresh: makes the metrics of no steps, where the program is of one.
        calls: counts them.
    """

    program: Any
    rows: PyTree
    fresh: Callable[[], Any] | None = None
    calls: Iterator[int] = field(default_factory=itertools.count)

    def __call__(self, state: PyTree, data: PyTree, count: Any, clock: Any) -> tuple[PyTree, PyTree]:
        """Do `count` steps. The first time compiles, and gives back the memory that this took."""
        if self.fresh is None:
            state, metrics = self.program(state, data, self.rows, np.int32(count), clock)
        else:
            metrics = self.fresh()
            for _ in range(int(count)):
                state, metrics = self.program(state, metrics, data, self.rows, clock)
        if next(self.calls) == 0:
            return_free_memory()
        return state, metrics

    def compiled(self, state: PyTree, data: PyTree, count: Any, clock: Any) -> Any:
        """The program for such arguments, to look at: `.as_text()`, `.memory_analysis()`. It is not run."""
        if self.fresh is None:
            return self.program.lower(state, data, self.rows, np.int32(count), clock).compile()
        return self.program.lower(state, self.fresh(), data, self.rows, clock).compile()


def return_free_memory() -> None:
    """Give what is free of the process's memory back to the system, where its C library is glibc.

    Compiling a U-Net's step leaves some 500 MiB that glibc would keep for the life of the process.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
