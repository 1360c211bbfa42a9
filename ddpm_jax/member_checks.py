"""The checks of many configs that need jax, in one process of their own: a sweep lives for days and stays light."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ml_collections import ConfigDict

from ddpm_jax.errors import UserError


@dataclass(frozen=True)
class Checked:
    """What the checks say of one config.

    Attributes:
        error: the one line that is wrong with it; None where nothing is.
        flops_per_step: of training, where the budget is in FLOPs and data were looked at.
    """

    error: str | None = None
    flops_per_step: float | None = None


def check(configs: Sequence[ConfigDict], data: bool = False) -> list[Checked]:
    """`configuration.check` of each, in another process; with `data` also what the data set decides.

    Raises:
        UserError: the other process ended without an answer.
    """
    done = subprocess.run(
        [sys.executable, "-m", "ddpm_jax.member_checks"],
        input=json.dumps({"configs": [config.to_dict() for config in configs], "data": data}),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},  # accelerators are for the runs
    )
    if done.returncode == 130:
        raise KeyboardInterrupt
    try:
        return [Checked(**answer) for answer in json.loads(done.stdout)]
    except ValueError as error:
        raise UserError(f"the members could not be checked: that process ended with {done.returncode}") from error


def _check_one(config: ConfigDict, data: bool) -> Checked:
    from ddpm_jax import configuration

    try:
        configuration.check(config)
        return _look_at_data(config) if data else Checked()
    except UserError as error:
        return Checked(str(error))


def _look_at_data(config: ConfigDict) -> Checked:
    from ddpm_jax import configuration
    from ddpm_jax.data import load

    dataset = load(config.data.name, config.data.dir or None, configuration.splits(config))
    configuration.check_data(config, dataset.description, len(dataset.split("train")))
    for split in ("validation", *(["test"] if config.evaluation.at_end else [])):
        dataset.split(split)
    if not config.training.flops:
        return Checked()
    return Checked(flops_per_step=_flops(config, dataset))


def _flops(config: ConfigDict, dataset: Any) -> float:
    """Of one training step; one device counts them all."""
    from ddpm_jax.experiment import make
    from ddpm_jax.job import make_job
    from ddpm_jax.parallel import make_plan

    plan = make_plan("jit", "replicated", config.parallel.loop, config.data.batch)
    return make_job(make(config, dataset.description), plan, dataset).flops_per_step


def main() -> None:
    """Read configs from the standard input and answer on the standard output, both JSON."""
    asked = json.load(sys.stdin)
    from ddpm_jax import configuration

    answers = [_check_one(configuration.from_dict(values), asked["data"]) for values in asked["configs"]]
    print(json.dumps([asdict(answer) for answer in answers]))


if __name__ == "__main__":
    main()
