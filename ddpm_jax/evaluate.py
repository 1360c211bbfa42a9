"""Evaluate a trained run: bits per dimension, sample quality beside reference lines, copies.

    python -m ddpm_jax.evaluate --workdir=runs/digits_ddpm

Prints the figures and puts them into the run's result.json. Training does this at its end too.
"""

from collections.abc import Sequence
from pathlib import Path

from ddpm_jax import command


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = command.Parser(prog="python -m ddpm_jax.evaluate", description=__doc__)
    command.run_options(parser)
    options = command.parse(parser, arguments)

    from ddpm_jax import runs

    folder = Path(options.workdir)
    config = command.start_on_run(options)

    from ddpm_jax import curves, evaluation, screen
    from ddpm_jax.restored import restore

    run = restore(config, folder, options.best)
    place = run.experiment, run.plan, run.params, run.dataset
    figures = evaluation.evaluate(*place, run.step, screen.bar)
    figures["curve"] = curves.curve(*place, figures, screen.bar)
    path = runs.write_result(folder, figures)
    screen.say(screen.summary(figures, [path]))


if __name__ == "__main__":
    command.run(main)
