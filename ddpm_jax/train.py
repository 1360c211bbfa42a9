"""Train a model, then sample from it and evaluate it.

    python -m ddpm_jax.train --config=configs/digits/ddpm.py

Any value of the config can be changed: --config.optimizer.learning_rate=3e-4. The run's folder gets checkpoints,
metrics.jsonl, pictures and result.json. The same command started again goes on where it stopped.
"""

from collections.abc import Sequence
from pathlib import Path

from ddpm_jax import commands
from ddpm_jax.commands import joining, starting
from ddpm_jax.commands.preemption import Notice, listening
from ddpm_jax.devices import profiling
from ddpm_jax.errors import UserError
from ddpm_jax.pipeline.train import train


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    with listening() as notice:
        _main(arguments, notice)


def _main(arguments: Sequence[str], notice: Notice) -> None:
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
    parser.add_argument("--once", action="store_true", help="do nothing if the run is finished already")
    parser.add_argument("--print_config", action="store_true", help="print the resolved config as JSON and stop")
    options, config, overrides = commands.parse_with_config(parser, arguments)
    profile = profiling.steps_to_record(options.profile)
    if options.print_config:
        from ddpm_jax.config.identity import to_json

        print(to_json(config))
        return
    from ddpm_jax import runs
    from ddpm_jax.experiment import check

    if options.workdir == "":
        raise UserError("--workdir: the name of the folder is empty")
    folder = Path(options.workdir) if options.workdir else runs.default_folder(options.config, overrides, config)
    if options.once and runs.finished(folder, config):
        print(f"{folder} is finished")
        return
    # before the first array: processes must be joined by then
    starting.start_jax(config.parallel.distributed, joining.facts(config, options), preemptible=True)
    check(config)
    notice.several = several_processes()
    train(config, folder, profile, options.once, notice)


def several_processes() -> bool:
    """Whether other processes have been joined."""
    import jax

    return jax.process_count() > 1


if __name__ == "__main__":
    commands.run(main, "stopped; the same command goes on from the last checkpoint")
