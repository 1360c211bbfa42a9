"""Why does diffusion work better than autoregression? The whole study, from nothing to its report.

    python experiments/why_diffusion/run.py                      # the known law and the digits
    python experiments/why_diffusion/run.py --tiers=known        # the known law alone
    python experiments/why_diffusion/run.py --report             # the report of what there is

Started again, it goes on where it stopped. `--trials` first tries three learning rates for every arm and writes the
best into learning_rates.json, which is committed; without it those rates are used, and in a tier that has none yet the
middle one of the three.
"""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ddpm_jax import commands
from ddpm_jax.errors import UserError
from ddpm_jax.files import write_json
from ddpm_jax.sweeps import expansion

HERE = Path(__file__).parent

sys.path.append(str(HERE.parent))
import studies  # noqa: E402

STUDY, RATES = HERE / "study.py", HERE / "learning_rates.json"
TIERS = {"known": ("known", "known_data"), "digits": ("digits",), "mnist": ("mnist",), "cifar10": ("cifar10",)}
"""The sweeps of each tier."""
SWEEPS = tuple(name for names in TIERS.values() for name in names)
SMALL = ("known", "digits")
"""Those that two CPU cores do."""


def sweep(name: str, runs: Path, jobs: int) -> bool:
    """Train what is left of a sweep. Whether all of it is done."""
    print(f"== {name}", flush=True)
    return studies.sweep(f"{STUDY}:{name}", runs / name, jobs)


def choose_rates(tier: str, runs: Path) -> dict[str, float]:
    """The learning rate of each arm with the lowest validation loss at the end of its trial; of trials that ended."""
    from ddpm_jax.runs import finished

    best: dict[str, tuple[float, float]] = {}
    for member in expansion.members(f"{STUDY}:{tier}_rates", runs / f"{tier}_rates"):
        if not finished(member.folder):
            continue
        rows = [json.loads(line) for line in (member.folder / "metrics.jsonl").read_text().splitlines()]
        loss = [row["validation_loss"] for row in rows if "validation_loss" in row][-1]
        arm = member.config.name.partition(" at ")[0]
        best[arm] = min(best.get(arm, (math.inf, 0.0)), (loss, member.config.optimizer.learning_rate))
    return {arm: rate for arm, (_, rate) in best.items()}


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = commands.Parser(prog="python experiments/why_diffusion/run.py", description=__doc__)
    parser.add_argument(
        "--tiers", metavar="A,B", default=",".join(SMALL), help=f"of {', '.join(TIERS)} ({','.join(SMALL)})"
    )
    parser.add_argument("--trials", action="store_true", help="try learning rates first")
    studies.add_options(parser, "runs/why_diffusion", jobs=2)
    options = commands.parse(parser, arguments)
    tiers = studies.listed("--tiers", options.tiers, f"name some of {', '.join(TIERS)}")
    studies.check_names("--tiers", "tier", tiers, TIERS)
    runs, output = studies.places(options)
    done = options.report or sum(train(tier, runs, options) for tier in tiers) == len(tiers)
    import story

    there = [tier for tier in tiers if (runs / tier).is_dir()]
    if not there:
        raise UserError(f"--runs: there is no run of {' or '.join(tiers)} in {runs}; leave --report out to train")
    for tier in tiers:
        if tier not in there:
            print(f"{tier}: no runs yet")
    members = {name: {one.name for one in expansion.members(f"{STUDY}:{name}", runs / name)} for name in SWEEPS}
    for line in story.write(runs, there, output, members):
        print(line)
    studies.check_done(done)


def train(tier: str, runs: Path, options: Any) -> bool:
    """All runs of a tier, and what is measured beside them. Whether all went well."""
    done = True
    if options.trials:
        if not sweep(f"{tier}_rates", runs, options.jobs):
            return False
        kept = json.loads(RATES.read_text()) if RATES.exists() else {}
        write_json(RATES, {**kept, tier: choose_rates(tier, runs)})
    if tier == "known" and not (runs / "perfect.json").exists():
        done &= studies.python(str(HERE / "perfect.py"), f"--output={runs / 'perfect.json'}") == 0
    for name in TIERS[tier]:
        done &= sweep(name, runs, options.jobs)
    if not done:
        return False
    words = f"--tier={tier}", f"--runs={runs / tier}", f"--output={runs / f'costs_{tier}.json'}"
    return studies.python(str(HERE / "costs.py"), *words) == 0


if __name__ == "__main__":
    commands.run(main)
