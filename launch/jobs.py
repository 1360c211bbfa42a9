"""A member as a job of submitit: its command, which goes on from the last checkpoint when the job is queued again.

Slurm sends SIGTERM to every process of a job that is to make room, and, as submitit asks it to, SIGUSR2 some time
before the end of the time limit. The job passes both on to its command as SIGTERM, on which a run saves and ends with a
code of its own (85). Then the job is queued again, by Slurm where that does so itself, else by submitit.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cloudpickle
import submitit

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Of these SIGUSR2 is submitit's, or SIGUSR1 where `SUBMITIT_PREEMPT_SIGNAL` says so."""

MADE_ROOM = 85
"""The exit code of a run that was told to make room, and has saved: `ddpm_jax.errors.Preempted.code`."""

GRACE = 35
"""Seconds that a command has to save and end; a run takes at most 30."""

PAUSE = 0.1
"""Seconds between two looks at the command and at what Slurm has sent."""


@dataclass(frozen=True)
class Job:
    """Runs a command in each of a job's tasks.

    Attributes:
        command: its words.
        address: host:port at which the tasks of one machine find one another; JAX asks Slurm itself.
    """

    command: list[str]
    address: str = ""

    def __call__(self) -> str:
        """Run the command; its output goes to the task's logs.

        Returns:
            What became of it. Of "made room" only where no Slurm asks for an exit code.

        Raises:
            RuntimeError: the command failed.
            SystemExit: it was told to make room. Then no result is left, for the job goes on another time.
        """
        variables = dict(os.environ)
        if self.address:
            from ddpm_jax.commands import joining

            task = submitit.JobEnvironment()
            variables |= joining.environment(self.address, task.num_tasks, task.global_rank)
        came: list[int] = []
        submitits: dict[int, Any] = {
            number: signal.signal(number, lambda number, _: came.append(number)) for number in SIGNALS
        }
        code = run(self.command, variables, came)
        if not code:
            return "done"
        if not came and code != MADE_ROOM:
            sys.tracebacklimit = 0  # why is told by the command itself, above
            raise RuntimeError(f"exit code {code}: {' '.join(self.command)}")
        print(f"made room (exit code {code})", flush=True)
        asked = next((number for number in came if number != signal.SIGTERM), None)
        if os.environ.get("SUBMITIT_EXECUTOR") != "slurm":
            if asked is None:  # whoever said so starts the launcher again
                return "made room"
        elif (
            submitit.JobEnvironment().global_rank
        ):  # the first task queues the job again, and would not live to do so if this one ended
            wait_for(lambda: signal.SIGTERM in came)
        else:
            asked = (asked or signal.SIGUSR2) if left_to_us() else None
        if asked and callable(again := submitits[asked]):
            queue_again(again, asked)
        sys.exit(MADE_ROOM)

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """What to queue again: the same, for `train` resumes by itself."""
        return submitit.helpers.DelayedSubmission(self)


def run(command: list[str], variables: Mapping[str, str], came: list[int]) -> int:
    """Run a command to its end, and give back its exit code. From the first signal that `came` on it has `GRACE`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})  # it reaches the command too, but is not for that
    try:
        process = subprocess.Popen(command, env=variables)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
    deadline = 0.0
    try:
        while (code := process.poll()) is None:
            if came and not deadline:
                process.terminate()  # Slurm may have sent the same; a run takes it for one
                deadline = time.monotonic() + GRACE
            if deadline and time.monotonic() > deadline:
                break
            time.sleep(PAUSE)
    finally:
        process.kill()
        process.wait()
    return process.returncode if code is None else code


def wait_for(condition: Any) -> None:
    """Wait until it is so, but not for long."""
    deadline = time.monotonic() + GRACE
    while not condition() and time.monotonic() < deadline:
        time.sleep(PAUSE)


def left_to_us() -> bool:
    """Whether Slurm will not queue the job again by itself, though nobody has cancelled it."""
    words = ["scontrol", "show", "job", "--oneliner", os.environ["SLURM_JOB_ID"]]
    try:
        told = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        print(f"Slurm cannot be asked what becomes of the job ({error}); submit it again if it does not", flush=True)
        return False
    facts = dict(word.split("=", 1) for word in told.split() if "=" in word)
    if facts.get("JobState") == "RUNNING":  # nothing ends it: it was told in time
        return True
    restarts = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    preempted = facts.get("PreemptTime", "None") != "None"
    return preempted and facts.get("Restarts") == str(restarts)  # it ends, and that is all that Slurm does


def queue_again(again: Any, number: int) -> None:
    """Let submitit's handler of a signal queue the job again, and exit. Returns where Slurm refuses."""
    try:
        again(number, None)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"Slurm does not queue the job again ({error}); submit it again", flush=True)


cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a job cannot import this folder
