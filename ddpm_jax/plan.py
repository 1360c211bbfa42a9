"""Say what a run would take on hardware that one does not have: memory, time, what it sends.

    python -m ddpm_jax.plan --config=configs/cifar10/ddpm.py --topology=v5e:2x4
    python -m ddpm_jax.plan --config=configs/cifar10/ddpm.py --topology=h100:8 --instant

The run's programs are compiled for the hardware, which need not be there, in minutes: for TPUs with the packages of the
extra `plan`, for GPUs with those of JAX's `cuda13`, for this machine's CPUs (`cpu:1`) with none. What was compiled is
kept in the cache. --instant compiles nothing: bytes of the state, and whether the batch divides. Data sets that are not
there are known by their facts. The plan is written as JSON too.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from ddpm_jax import commands
from ddpm_jax.commands import starting
from ddpm_jax.devices import topology
from ddpm_jax.errors import UserError, nearest
from ddpm_jax.files import obstacle, write_json


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = commands.Parser(prog="python -m ddpm_jax.plan", description=__doc__)
    parser.add_argument("--config", metavar="FILE.py", help="the config file; --config.KEY=VALUE changes one value")
    parser.add_argument(
        "--topology", metavar="NAME", required=True, help="such as v5e:4x4, v5litepod-16, h100:8, cpu:1"
    )
    parser.add_argument("--what", metavar="A,B", default="train", help="train, sample, likelihood (default: train)")
    parser.add_argument("--instant", action="store_true", help="compile nothing")
    parser.add_argument("--sweep", action="store_true", help="all members of the config file's sweep()")
    parser.add_argument("--output", metavar="FILE.json", default="plan.json", help="(default: plan.json)")
    others, overrides = commands.split(arguments)
    options = commands.parse(parser, others)
    hardware, output = topology.parse(options.topology), Path(options.output)
    what = [word for word in options.what.split(",") if word]
    for word in what:
        if word not in ("train", "sample", "likelihood"):
            raise UserError(f"--what: {word!r} is none; {nearest(word, ('train', 'sample', 'likelihood'))}")
    if output.is_dir() or (reason := obstacle(output.parent)):
        reason = "it is a folder" if output.is_dir() else reason
        raise UserError(f"--output: {output} cannot be written ({reason}); choose another")
    if options.sweep:
        from ddpm_jax.sweeps import expansion

        if not options.config:
            raise UserError("--config is missing, for example --config=configs/digits/sweep_learning_rate.py")
        found = expansion.members(options.config, Path("runs"), overrides)
        members = [(f"{options.config} {member.name}", member.config) for member in found]
    else:
        options, config, _ = commands.parse_with_config(parser, arguments)
        members = [(options.config, config)]
    os.environ["JAX_PLATFORMS"] = "cpu"  # nothing runs
    if hardware.platform == "cpu":
        os.environ["JAX_NUM_CPU_DEVICES"] = str(hardware.count)
    starting.start_jax()
    from ddpm_jax.planning import making, report

    made = []
    for name, config in members:
        made.append(making.planned(name, config, hardware, what, options.instant))
        print("\n".join(report.lines(made[-1])), flush=True)
        print()
    plain = [one.plain() for one in made]
    if len(made) > 1 and all(one["hours"] is not None for one in plain):
        hours = sum(one["hours"] for one in plain)
        print(f"{len(made)} members: {hours:,.1f} hours one after another, {hours * hardware.chips:,.1f} chip-hours")
    output.parent.mkdir(parents=True, exist_ok=True)
    write_json(output, json.loads(json.dumps(plain if options.sweep else plain[0])))
    print(output)


if __name__ == "__main__":
    commands.run(main)
