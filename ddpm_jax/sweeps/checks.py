"""The checks of many configs that need jax, in one process of their own: a sweep lives for days and stays light."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from ml_collections import ConfigDict

from ddpm_jax import progress
from ddpm_jax.commands import starting
from ddpm_jax.errors import UserError


@dataclass(frozen=True)
class Checked:
    """What the checks say of one config.

    Attributes:
        error: the one line that is wrong with it; None where nothing is.
        steps: of its budget, if data were looked at; None where only time limits it.
    """

    error: str | None = None
    steps: int | None = None


def check(configs: Sequence[ConfigDict], data: bool = False) -> list[Checked]:
    """`experiment.check` of each, in another process; with `data` also what the data set decides.

    Raises:
        UserError: the other process ended without an answer.
    """
    done = subprocess.run(
        [sys.executable, "-m", "ddpm_jax.sweeps.checks"],
        input=json.dumps({"configs": [config.to_dict() for config in configs], "data": data}),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"},  # accelerators are for the runs
    )
    if done.returncode in (130, -signal.SIGINT):  # the latter before Python is ready to catch it
        raise KeyboardInterrupt
    try:
        return [Checked(**answer) for answer in json.loads(done.stdout)]
    except ValueError as error:
        raise UserError(f"the members could not be checked: that process ended with {done.returncode}") from error


def _check_one(config: ConfigDict, data: bool) -> Checked:
    from ddpm_jax.experiment import checks

    try:
        checks.check(config)
        return Checked(steps=_look_at_data(config)) if data else Checked()
    except UserError as error:
        return Checked(str(error))


def _look_at_data(config: ConfigDict) -> int | None:
    """The steps of the budget. Raises UserError for what does not fit the data."""
    from ddpm_jax.experiment import checks
    from ddpm_jax.training.optimizer import Budget

    place = json.dumps({"data": config.data.to_dict(), "model": {"text_encoder": config.model.text_encoder}})
    dataset = _load(place)
    checks.check_data(config, dataset.description, dataset.sizes)
    for split in ("validation", *(["test"] if config.evaluation.at_end else [])):
        dataset.split(split)
    limits = config.training
    flops = _flops_per_step(_shape(config), place) if limits.flops else 0.0
    return Budget.of(config.data.batch, flops, limits.steps, limits.images, limits.flops, limits.seconds).steps


@cache
def _load(place: str) -> Any:
    """The data set of what a config says of it, which is JSON."""
    from ddpm_jax.config.identity import from_dict
    from ddpm_jax.experiment import load_data

    return load_data(from_dict(json.loads(place)))


def _shape(config: ConfigDict) -> str:
    """The config as JSON, without what its FLOPs cannot depend on, so that members share one count."""
    from ddpm_jax.config import base
    from ddpm_jax.config.identity import from_dict, to_json

    plain = from_dict(config.to_dict())
    plain.seed, plain.name = 0, ""
    plain.optimizer.learning_rate = base.base().optimizer.learning_rate
    plain.training = base.base().training
    plain.training.steps = 1
    return to_json(plain)


@cache
def _flops_per_step(values: str, place: str) -> float:
    """Of one training step of the config, which is JSON; one device counts them all."""
    from ddpm_jax.config.identity import from_dict
    from ddpm_jax.devices.plan import make_plan
    from ddpm_jax.experiment import make
    from ddpm_jax.pipeline.job import make_job

    config, dataset = from_dict(json.loads(values)), _load(place)
    plan = make_plan("jit", "replicated", "auto", config.data.batch)
    return make_job(make(config, dataset.description), plan, dataset).count_flops()


def main() -> None:
    """Read configs from the standard input and answer on the standard output, both JSON."""
    asked = json.load(sys.stdin)
    from ddpm_jax.config.identity import from_dict

    members = progress.bar(asked["configs"], "checking: member", "members")
    answers = [_check_one(from_dict(values), asked["data"]) for values in members]
    print(json.dumps([asdict(answer) for answer in answers]))


if __name__ == "__main__":
    starting.quieten()
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
