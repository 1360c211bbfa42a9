"""A run that was trained to its end is made longer: what is asked, and what is refused before anything is spent."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from ddpm_jax import runs
from ddpm_jax.errors import UserError
from ddpm_jax.runs.lineage import EXTENDED, Extension, extended, recorded


def planned(folder: Path, overrides: Sequence[str]) -> tuple[ConfigDict, Extension | None]:
    """The config to go on with in a run's folder, and the extension; None where it has begun already.

    Args:
        folder: the run's.
        overrides: each `--config.KEY=VALUE`, of `lineage.EXTENDABLE`.

    Raises:
        UserError: there is no run, it is not trained to its end, or it would not become longer.
    """
    before = runs.read_unchecked(folder)
    config, changes = extended(before, overrides, folder)
    known = runs.read_lineage(folder)
    if not changes and not known.get(EXTENDED):
        raise UserError(f"--extend: {folder} has this budget already; give more")
    if not changes:  # the same command again
        return config, None
    step = runs.latest_checkpoint(folder) or 0
    extension = Extension(before, step, changes)
    if not step or not (runs.trained(folder) or recorded(known, extension)):
        where = f"step {step}" + (f" of {before.training.steps}" if before.training.steps else "")
        line = f"{folder} is not trained to its end ({where}); the command that trains it goes on, and then --extend"
        raise UserError(line)
    spent = runs.last_row(folder, "elapsed_seconds").get("elapsed_seconds", 0.0)
    if refused := dict(_refusals(config, step, spent)):
        key = next((key for key in refused if key in changes), next(iter(refused)))  # what was asked, first of all
        raise UserError(f"config.{key}: {refused[key]}")
    return config, extension


def _refusals(config: ConfigDict, step: int, spent: float) -> Iterator[tuple[str, str]]:
    """Each limit that ends the run where it is, and why."""
    limits, batch = config.training, config.data.batch
    if limits.steps and limits.steps <= step:
        yield "training.steps", f"{limits.steps} is not more than the {step} steps that are done"
    if limits.images and limits.images // batch <= step:
        yield "training.images", f"{limits.images} is not more than the {step} steps of {batch} images that are done"
    if limits.seconds and limits.seconds <= spent:
        yield "training.seconds", f"{limits.seconds:g} is not more than the {spent:.0f} s that are spent"
