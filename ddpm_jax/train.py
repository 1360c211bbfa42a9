"""Train a model, then sample from it and evaluate it.

    python -m ddpm_jax.train --config=configs/digits/ddpm.py

Any value of the config can be changed: --config.optimizer.learning_rate=3e-4. The run's folder gets checkpoints,
metrics.jsonl, pictures and result.json. The same command started again goes on where it stopped.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ddpm_jax import commands
from ddpm_jax.commands import joining, starting
from ddpm_jax.commands.preemption import Notice, listening
from ddpm_jax.devices import profiling
from ddpm_jax.errors import UserError
from ddpm_jax.pipeline.train import train


def main(arguments: Sequence[str], alone: bool = False) -> None:
    """Read the command line and do it; `alone` in a process in which nothing else has a part."""
    with listening() as notice:
        _main(arguments, notice, alone)


def _main(arguments: Sequence[str], notice: Notice, alone: bool) -> None:
    parser = commands.Parser(prog="python -m ddpm_jax.train", description=__doc__)
    parser.add_argument("--config", metavar="FILE.py", help="the config file; --config.KEY=VALUE changes one value")
    parser.add_argument(
        "--workdir", metavar="DIR", help="the run's folder (default: runs/, the config's name, what is changed)"
    )
    parser.add_argument(
        "--profile",
        metavar="N",
        nargs="?",
        const=str(profiling.STEPS),
        help=f"record N steps (default {profiling.STEPS}) and print where a step's time goes",
    )
    parser.add_argument(
        "--extend",
        action="store_true",
        help="make the finished run in --workdir longer: --config.training.steps=N in all, and another learning rate",
    )
    parser.add_argument(
        "--from",
        dest="start",
        metavar="RUN",
        help="begin with the weights of another run, its folder or FOLDER:STEP; optimizer and averages start anew",
    )
    parser.add_argument("--once", action="store_true", help="do nothing if the run is finished already")
    parser.add_argument("--print_config", action="store_true", help="print the resolved config as JSON and stop")
    others, overrides = commands.split(arguments)
    options, extension = commands.parse(parser, others), None
    for name, flag in (("workdir", "--workdir"), ("start", "--from")):
        if getattr(options, name) == "":
            raise UserError(f"{flag}: the name of the folder is empty")
    if options.extend:
        config, extension = longer(options, overrides)
    else:
        options, config, overrides = commands.parse_with_config(parser, arguments)
    profile = profiling.steps_to_record(options.profile)
    if options.print_config:
        from ddpm_jax.config.identity import to_json

        print(to_json(config))
        return
    from ddpm_jax import runs
    from ddpm_jax.experiment import check

    folder = Path(options.workdir or "")
    if not options.workdir:
        folder = runs.default_folder(options.config, overrides, config, options.start or "")
    if options.once and extension is None and runs.finished(folder, config):
        print(f"{folder} is finished")
        return
    # before the first array: processes must be joined by then
    starting.start_jax(config.parallel.distributed, joining.facts(config, options), preemptible=True)
    check(config)
    notice.several = several_processes()
    start = options.start or ""
    train(config, folder, profile, options.once, notice, extension=extension, start_from=start, remember=alone)


def longer(options: argparse.Namespace, overrides: Sequence[str]) -> tuple[Any, Any]:
    """The config and the extension of a run that is to be made longer.

    Raises:
        UserError: it cannot be.
    """
    if options.config is not None:
        raise UserError("--config: a run that is made longer has its own config; leave it out with --extend")
    if options.start is not None:
        raise UserError("--from: that is for a new run; leave it out with --extend")
    if options.workdir is None:
        raise UserError("--extend: which run? give its folder, --workdir=RUN")
    from ddpm_jax.pipeline.extension import planned

    return planned(Path(options.workdir), overrides)


def several_processes() -> bool:
    """Whether other processes have been joined."""
    import jax

    return jax.process_count() > 1


if __name__ == "__main__":
    commands.run(partial(main, alone=True), "stopped; the same command goes on from the last checkpoint")
