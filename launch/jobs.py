"""A member as a job of submitit: its command, which goes on from the last checkpoint when the job is queued again."""

import os
import subprocess
import sys
from dataclasses import dataclass

import cloudpickle
import submitit

DEAF = """\
import os, signal, sys
for number in (signal.SIGTERM, signal.SIGUSR2):
    signal.signal(number, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Runs a command that does not hear what Slurm sends to every process of a job which is to make room.

The job hears it, and ends its command when it has been queued again.
"""


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
        process = subprocess.Popen([sys.executable, "-c", DEAF, *self.command], env=variables)
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


cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a job cannot import this folder
