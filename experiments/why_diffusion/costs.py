"""What a sample of each arm costs: network evaluations, FLOPs, and seconds at batch 1 and at a large batch.

    python experiments/why_diffusion/costs.py --runs=runs/why_diffusion/digits --output=costs_digits.json

One run of each arm is timed, compiled and in turn, on a machine that should do nothing else. An autoregressor uses its
cache. Seconds hold for this device only.
"""

import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ddpm_jax import command, starting
from ddpm_jax.errors import UserError
from ddpm_jax.files import write_json

REPEATS, BATCH = 3, 128


def first_of_each(runs: Path) -> dict[str, Path]:
    """A finished run of each arm, the one with the lowest seed.

    Raises:
        UserError: there is none.
    """
    from ddpm_jax.runs import finished, read_config

    found: dict[str, tuple[int, Path]] = {}
    for path in sorted(runs.glob("*/config.json")):
        if finished(path.parent):
            config = read_config(path.parent)
            found[config.name] = min(found.get(config.name, (2**32, path.parent)), (config.seed, path.parent))
    if not found:
        raise UserError(f"--runs: no finished run in {runs}")
    return {name: folder for name, (_, folder) in found.items()}


def cost(folder: Path) -> dict[str, Any]:
    """Of one sample of this run."""
    from ddpm_jax import curves, evaluation, runs
    from ddpm_jax.restored import restore

    run = restore(runs.read_config(folder), folder)
    steps = len(run.experiment.grid()) - 1
    figures: dict[str, Any] = {"flops": curves.flops_per_sample(run.experiment, steps)}
    for name, batch in (("seconds_at_batch_1", 1), ("seconds_at_large_batch", BATCH)):
        config = run.experiment.config.copy_and_resolve_references()
        config.sampler.batch = batch
        draw = evaluation.sampler(type(run.experiment)(config, run.experiment.description), run.plan)
        _, _, evaluations = draw(run.params, 0, batch)
        seconds = []
        for seed in range(1, REPEATS + 1):
            started = time.perf_counter()
            draw(run.params, seed, batch)
            seconds.append((time.perf_counter() - started) / batch)
        figures |= {name: statistics.median(seconds), "network_evaluations": float(evaluations.mean())}
    return figures


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = command.Parser(prog="python experiments/why_diffusion/costs.py", description=__doc__)
    parser.add_argument("--runs", metavar="DIR", required=True, help="run folders of all arms")
    parser.add_argument("--output", metavar="FILE.json", required=True, help="where to keep the figures")
    options = command.parse(parser, arguments)
    starting.start_jax()
    from tqdm import tqdm

    from ddpm_jax.runs import provenance

    folders = first_of_each(Path(options.runs))
    output = Path(options.output)
    if output.is_file() and set(json.loads(output.read_text())["arms"]) == set(folders):
        print(f"{output} has all arms already; delete it to measure again")
        return
    arms = {name: cost(folder) for name, folder in tqdm(folders.items(), desc="costs")}
    device = provenance()["device"]["kind"]
    write_json(output, {"device": device, "repeats": REPEATS, "batch": BATCH, "arms": arms})
    print(options.output)


if __name__ == "__main__":
    command.run(main)
