"""What a sample of each arm costs: network evaluations, FLOPs, and seconds at batch 1 and at a large batch.

    python experiments/why_diffusion/costs.py --tier=digits --runs=runs/why_diffusion/digits --output=costs_digits.json

One run of each arm is timed, compiled and in turn, on a machine that should do nothing else. An autoregressor uses its
cache. Seconds hold for this device only.
"""

import dataclasses
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ddpm_jax import commands
from ddpm_jax.commands import starting
from ddpm_jax.errors import UserError
from ddpm_jax.files import write_json

STUDY = Path(__file__).with_name("study.py")
REPEATS, BATCH = 3, 128


def first_of_each(tier: str, runs: Path) -> dict[str, Path]:
    """A finished run of each arm of the present study, the one with the lowest seed.

    Raises:
        UserError: there is none.
    """
    from ddpm_jax.runs import finished
    from ddpm_jax.sweeps import expansion

    found: dict[str, Path] = {}
    for member in sorted(expansion.members(f"{STUDY}:{tier}", runs), key=lambda member: member.config.seed):
        if finished(member.folder):
            found.setdefault(member.config.name, member.folder)
    if not found:
        raise UserError(f"--runs: no finished run of {tier} in {runs}")
    return found


def cost(folder: Path) -> dict[str, Any]:
    """Of one sample of this run."""
    from ddpm_jax import runs
    from ddpm_jax.evaluation import curves, drawing
    from ddpm_jax.pipeline.restored import restore

    run = restore(runs.read_config(folder), folder)
    flops = curves.flops_per_sample(run.experiment, run.experiment.sampling_in())
    told: dict[str, Any] = {"run": folder.name, "flops": flops}
    for name, batch in (("seconds_at_batch_1", 1), ("seconds_at_large_batch", BATCH)):
        config = run.experiment.config.copy_and_resolve_references()
        config.sampler.batch = batch
        draw = drawing.sampler(dataclasses.replace(run.experiment, config=config), run.plan)
        _, _, evaluations = draw(run.params, 0, batch)
        seconds = []
        for seed in range(1, REPEATS + 1):
            started = time.perf_counter()
            draw(run.params, seed, batch)
            seconds.append((time.perf_counter() - started) / batch)
        told |= {name: statistics.median(seconds), "network_evaluations": float(evaluations.mean())}
    return told


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = commands.Parser(prog="python experiments/why_diffusion/costs.py", description=__doc__)
    parser.add_argument("--tier", metavar="NAME", required=True, help="of the study, such as digits")
    parser.add_argument("--runs", metavar="DIR", required=True, help="run folders of all arms")
    parser.add_argument("--output", metavar="FILE.json", required=True, help="where to keep the told")
    options = commands.parse(parser, arguments)
    starting.start_jax()
    from ddpm_jax.progress import bar
    from ddpm_jax.runs import provenance

    folders = first_of_each(options.tier, Path(options.runs))
    output = Path(options.output)
    kept = json.loads(output.read_text())["arms"] if output.is_file() else {}
    if {name: one.get("run") for name, one in kept.items()} == {name: path.name for name, path in folders.items()}:
        print(f"{output} has these runs already; delete it to measure again")
        return
    arms = {name: cost(folder) for name, folder in bar(folders.items(), "costs: arm", "arms")}
    device = provenance()["device"]["kind"]
    write_json(output, {"device": device, "repeats": REPEATS, "batch": BATCH, "arms": arms})
    print(options.output)


if __name__ == "__main__":
    commands.run(main)
