"""A trained run, read back for sampling and evaluation."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import PyTree

from ddpm_jax import data, runs
from ddpm_jax.config import checks
from ddpm_jax.config.identity import splits
from ddpm_jax.devices.plan import Plan, make_plan
from ddpm_jax.errors import UserError
from ddpm_jax.experiment import Experiment, make
from ddpm_jax.training.state import weights


@dataclass(frozen=True, eq=False)
class Restored:
    """The experiment of a run, its weights at a step, its data, and the devices to use."""

    experiment: Experiment
    plan: Plan
    dataset: data.Dataset
    params: PyTree
    step: int


def restore(config: Any, folder: Path, best: bool = False) -> Restored:
    """Read the run in `folder` back, whose config is `config`.

    Args:
        config: from `runs.read_config`, perhaps with other sampler settings.
        folder: the run's.
        best: take the checkpoint with the lowest validation loss and not the latest.

    Raises:
        UserError: no checkpoint, or none that reads back.
    """
    from ddpm_jax.pipeline.job import abstract_state
    from ddpm_jax.training.checkpoints import Checkpoints

    if runs.latest_checkpoint(folder) is None:
        raise UserError(f"{folder}: no checkpoint here; train first, or put a copy of {runs.CHECKPOINTS}/ back")
    plan = make_plan(config.parallel.map, config.parallel.shard, config.parallel.loop)
    dataset = data.load(config.data.name, config.data.dir or None, splits(config))
    checks.check_data(config, dataset.description)
    runs.check_data(folder, data.fingerprint(dataset))
    experiment = make(config, dataset.description)
    with Checkpoints(folder / runs.CHECKPOINTS, plan, read_only=True) as checkpoints:
        step = checkpoints.best if best else None
        unread = [kept for kept in checkpoints.steps if best and checkpoints.facts(kept) is None]
        if best and step is None:
            raise UserError(f"{folder}: no checkpoint here whose validation loss reads; leave out --best")
        if unread:
            warnings.warn(f"step {step} is the best that reads; the checkpoints {unread} do not", stacklevel=2)
        state = checkpoints.restore(abstract_state(experiment), step).state
    return Restored(experiment, plan, dataset, weights(state, config.sampler.ema), int(state.step))
