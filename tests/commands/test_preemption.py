"""Being asked to make room: only noted while a run trains, at once at other times."""

import os
import signal

import pytest

from ddpm_jax.commands.preemption import listening
from ddpm_jax.errors import Preempted


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_signals(number):
    before = signal.getsignal(number)
    with listening() as notice:
        assert not notice.wanted()
        with notice.only_noted():
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
            assert notice.wanted()
        with pytest.raises(Preempted):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


def test_nothing_that_catches_exceptions_swallows_it():
    with listening(), pytest.raises(Preempted):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Exception:
            pytest.fail("swallowed")


def test_of_several_processes_sigusr1_is_passed_on_as_sigterm_while_they_train():
    heard = []
    with listening() as notice:
        signal.signal(signal.SIGTERM, lambda *_: heard.append("term"))  # as JAX does when it joins them
        notice.several = True
        with notice.only_noted():
            os.kill(os.getpid(), signal.SIGUSR1)
            assert heard == ["term"]
            os.kill(os.getpid(), signal.SIGTERM)
            assert heard == ["term", "term"]
        with pytest.raises(Preempted):  # trained: there is nothing left to agree on
            os.kill(os.getpid(), signal.SIGTERM)
