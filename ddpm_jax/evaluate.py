"""Evaluate a trained run: bits per dimension, sample quality beside reference lines, copies.

    python -m ddpm_jax.evaluate --workdir=runs/digits_ddpm [--config.evaluation.samples=500] [--config.sampler.steps=10]

Prints the figures and puts them into the run's result.json as they come. Training does this at its end too. What only
figures depend on may be set anew: --config.evaluation.KEY=VALUE, --config.sampler.KEY=VALUE.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from ddpm_jax import commands
from ddpm_jax.config.identity import AFTER_TRAINING
from ddpm_jax.errors import UserError
from ddpm_jax.runs import locks


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = commands.Parser(AFTER_TRAINING, prog="python -m ddpm_jax.evaluate", description=__doc__)
    commands.run_options(parser)
    others, overrides = commands.split(arguments)
    options = commands.parse(parser, others)

    from ddpm_jax import runs

    folder = Path(options.workdir)
    config = commands.start_on_run(options, overrides)

    from ddpm_jax.evaluation import curves, figures
    from ddpm_jax.pipeline import screen
    from ddpm_jax.pipeline.restored import restore
    from ddpm_jax.reporting.summary import summary

    for key in ("raw", "history", "at_end", "pictures"):
        if any(word.startswith(f"--config.evaluation.{key}") for word in overrides):
            raise UserError(f"config.evaluation.{key}: this is train's; give it to the command that trained the run")
    if screen.speaks():
        locks.check_free(folder)
    run = restore(config, folder, options.best)
    place = run.experiment, run.plan, run.params, run.dataset
    with locks.hold(folder) if screen.speaks() else contextlib.nullcontext():
        book = runs.begin_figures(folder, run.step, config)
        figures.evaluate(*place, run.step, screen.bar, book)
        curves.curve(*place, screen.bar, book)
        for line in book.said():
            screen.say(line)
        screen.say(summary(book.values, [folder / runs.RESULT]))
        book.check("the same command tries again")
        runs.end_figures(folder, run.step, config)


if __name__ == "__main__":
    commands.run(main)
