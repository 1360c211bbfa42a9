"""What every command does around its work: it runs to an exit code, and whatever goes wrong is told in one line."""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from ddpm_jax.commands import joining, starting
from ddpm_jax.commands.preemption import SIGNALS
from ddpm_jax.errors import Preempted, UserError, keep_traceback, one_line, refused_by_the_system

UNEXPECTED = 1
"""The exit code of a fault that is none of the user's."""

TRACEBACKS = "DDPM_JAX_TRACEBACK"
"""The variable that has tracebacks printed, where otherwise a file keeps them."""


def run(main: Callable[[Sequence[str]], None], stopped: str = "stopped") -> NoReturn:
    """Run a command to its exit code; whatever goes wrong is told in one line.

    0: done; the UserError's code (2) with its line; 85: preempted, start again; 130: the user stopped it; 1: a fault of
    the program, whose traceback is kept in a file that the line names. A second Ctrl-C ends it at once.
    """
    _speak_plainly()
    starting.quieten()
    _end_at_second_interrupt()
    try:
        main(sys.argv[1:])
        sys.stdout.flush()
    except UserError as error:
        _end(error, error.code)
    except Preempted:
        for number in SIGNALS:  # it is being done
            signal.signal(number, signal.SIG_IGN)
        _leave("the machine is wanted back; the same command goes on from the last checkpoint", Preempted.code)
    except KeyboardInterrupt:
        _leave(f"\n{stopped}", 130)
    except BrokenPipeError:  # whoever read the output, such as `head`, has gone
        _exit(1)
    except Exception as error:
        if line := refused_by_the_system(error):
            if TRACEBACKS in os.environ:
                _show(error)
            _end(line)
        if joining.lost(error):
            _end("another process has gone; what it said at its end tells why")
        _end(_unexpected(error), UNEXPECTED)
    _exit(0)


def _speak_plainly() -> None:
    """Warnings are a line; what the terminal cannot show is escaped; what threads of libraries die of is not shown.

    It reaches the command as an exception of its own, or does not matter to it.
    """
    warnings.formatwarning = lambda message, *_, **__: f"warning: {one_line(message)}\n"  # type: ignore[assignment]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if TRACEBACKS not in os.environ:
        threading.excepthook = lambda arguments: None
        sys.unraisablehook = lambda unraisable: None


def _end_at_second_interrupt() -> None:
    """The first Ctrl-C is a KeyboardInterrupt as ever; the next ends the process at once: nothing is half-written."""
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # somebody else's, or ignored
        return
    came: list[int] = []

    def interrupt(number: int, frame: Any) -> None:
        came.append(number)
        if len(came) > 1:
            with contextlib.suppress(OSError):
                os.write(2, b"\nstopped at once\n")
            os._exit(130)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)


def _unexpected(error: Exception) -> str:
    """The line for a fault of the program, whose traceback goes into a file."""
    words = f"{type(error).__name__}: {one_line(error)[:200]}"
    if TRACEBACKS not in os.environ and (file := keep_traceback(error)):
        return f"unexpected, and not your mistake: {words}; please report it with {file}"
    _show(error)
    return f"unexpected, and not your mistake: {words}"


def _show(error: Exception) -> None:
    print("".join(traceback.format_exception(error)), file=sys.stderr)


def to_its_end(line: Sequence[str]) -> int:
    """Run another command to its end, and give back its exit code.

    Ctrl-C reaches it as well; it is then waited for, so that it saves what it has, where `subprocess.run` kills it
    after a quarter of a second.
    """
    process = subprocess.Popen(line)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise


LONGEST = 1000
"""Characters of an error's line, whatever the user has typed."""


def _end(message: object, code: int = UserError.code) -> NoReturn:
    mistakes = [one_line(part) for part in re.split(r"\n(?=config\.|--)", str(message))]
    _leave("error: " + "\n  and ".join(map(_short, mistakes)), code)


def _short(words: str) -> str:
    return words if len(words) <= LONGEST else f"{words[: LONGEST // 2]} ... {words[-LONGEST // 2 :]}"


def _leave(words: str, code: int) -> NoReturn:
    """Say why, and end the process, several together."""
    with contextlib.suppress(OSError):  # nobody can hear it
        print(words, file=sys.stderr)
    joining.leave(code)
    _exit(code)


def _exit(code: int) -> NoReturn:
    """End the process by this code, also where what is left to be said cannot be: Python's own end makes it 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        except (AttributeError, ValueError):  # it was closed from the beginning
            continue
    sys.exit(code)
