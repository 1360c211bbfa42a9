"""What the commands share: their words, their start, their end, and other processes of the same run.

`parsing.py` reads the command line, `starting.py` sets JAX up, `joining.py` makes several processes one program,
`preemption.py` hears that the machine is wanted back, `on_run.py` reads a run's config, `running.py` brings a command
to its exit code. The commands at the top, sweeps and launchers import it. All of it is light; JAX is imported late.
"""

from ddpm_jax.commands.on_run import start_on_run
from ddpm_jax.commands.parsing import Parser, parse, parse_with_config, run_options, split
from ddpm_jax.commands.running import TRACEBACKS, run, to_its_end

__all__ = [
    "TRACEBACKS",
    "Parser",
    "parse",
    "parse_with_config",
    "run",
    "run_options",
    "split",
    "start_on_run",
    "to_its_end",
]
