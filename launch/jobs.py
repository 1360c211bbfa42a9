"""A member as a job of submitit: its command, which goes on from the last checkpoint when the job is queued again."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass

import cloudpickle
import submitit

DEAF = (signal.SIGTERM, signal.SIGUSR2)
"""What Slurm sends to every process of a job that is to make room. The job decides; its command goes on until then."""


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
        """Run the command; its output goes to the task's logs. Raises RuntimeError if it fails."""
        variables = dict(os.environ)
        if self.address:
            from ddpm_jax import joining

            task = submitit.JobEnvironment()
            variables |= joining.environment(self.address, task.num_tasks, task.global_rank)
        process = subprocess.Popen(self.command, env=variables, preexec_fn=_ignore)
        try:
            code = process.wait()
        finally:  # also where the job is queued again, by an exception out of the signal's handler
            process.kill()
            process.wait()
        if code:
            raise RuntimeError(f"exit code {code}: {' '.join(self.command)}")
        return "done"

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """What to queue after a preemption or at the end of the time limit: the same, for `train` resumes by itself."""
        return submitit.helpers.DelayedSubmission(self)


def _ignore() -> None:
    for number in DEAF:
        signal.signal(number, signal.SIG_IGN)


cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a job cannot import this folder
