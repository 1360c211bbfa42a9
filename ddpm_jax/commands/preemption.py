"""Being asked to make room: SIGTERM and SIGUSR1, which clusters send some seconds before they take a machine back.

While a run trains the signal is only noted; the loop asks for it between two dispatches, saves and ends. At other times
there is nothing to save, and it ends the command at once. Several processes agree on the step at which they stop.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ddpm_jax.errors import Preempted

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""Those that this system has."""

SAVING = 35.0
"""Seconds that a run has to save and end once whoever started it has passed a signal on; it takes at most 30."""


@dataclass
class Notice:
    """Whether the machine is wanted back.

    Attributes:
        several: whether there are other processes. Then JAX hears SIGTERM while a run trains, and agrees with the
            others on where to stop; SIGUSR1 is passed on to it.
        came: whether a signal has come.
        noted: whether one that comes is only noted.
        asked: how often `wanted` was asked.
    """

    several: bool = False
    came: bool = False
    noted: bool = False
    asked: int = 0

    def __call__(self, number: int, frame: Any) -> None:
        """Handle a signal. Raises Preempted where it is not only noted."""
        self.came = True
        if not self.noted:
            raise Preempted
        if self.several:
            os.kill(os.getpid(), signal.SIGTERM)

    @contextmanager
    def only_noted(self) -> Iterator[None]:
        """While this lasts nothing is interrupted."""
        self.noted = True
        try:
            yield
        finally:
            self.noted = False
            if self.several:  # there is nothing left to agree on
                _handle(signal.SIGTERM, self)

    def wanted(self) -> bool:
        """Whether to stop here. Of several processes, which must ask equally often, all are told the same."""
        if not self.several:
            return self.came
        from jax.experimental import multihost_utils

        self.asked += 1
        return multihost_utils.reached_preemption_sync_point(self.asked)


@contextmanager
def listening() -> Iterator[Notice]:
    """Hear the signals for a while. Signals reach the main thread only; in another nothing is heard.

    JAX takes SIGTERM from us when it joins the processes of a run.
    """
    notice = Notice()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        _handle(number, notice)
    try:
        yield notice
    finally:
        for number, handler in before.items():
            _handle(number, handler)


def _handle(number: int, handler: Any) -> None:
    if threading.current_thread() is threading.main_thread() and handler is not None:
        signal.signal(number, handler)
