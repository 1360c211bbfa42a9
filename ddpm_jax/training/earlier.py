"""Steps that earlier versions saved, before checkpoints knew their facts: read as those of this one, never written.

Their folder holds a state that does not count skipped steps, the validation loss as JSON, and in orbax's own metadata
the seconds of training and the checksums.
"""

from dataclasses import fields
from pathlib import Path

import numpy as np

from ddpm_jax.files import Record, read_record
from ddpm_jax.training.facts import DamagedCheckpointError, Facts, packed
from ddpm_jax.training.state import TrainState

METADATA, METRICS = "_CHECKPOINT_METADATA", "metrics"

KNOWN = ("elapsed_seconds", "validation_loss", "checksum", "frozen_checksum")
"""What the two files tell."""


def is_earlier(folder: Path) -> bool:
    """Whether an earlier version saved the step in this folder."""
    return (folder / METRICS).is_dir()


def packed_facts(folder: Path) -> dict[str, np.ndarray]:
    """What is known of such a step, as `facts.packed` has it.

    Raises:
        OSError: a file cannot be read.
        ValueError: one does not tell what it was written to tell.
    """
    metadata, metrics = read_record(folder / METADATA), read_record(folder / METRICS / METRICS)
    told = {**(metadata.get("custom_metadata") or {}), **metrics}
    values = [told[name] for name in KNOWN if isinstance(told.get(name), int | float)]
    if len(values) < len(KNOWN):
        raise DamagedCheckpointError("its metadata are not those that were saved")
    elapsed, loss, total, frozen_total = values
    facts = Facts(float(elapsed), float(loss), log_bytes=-1, log_checksum=-1)
    return packed(facts, int(total), int(frozen_total))


def held(state: TrainState) -> Record:
    """What such a step holds of a state."""
    return {field.name: getattr(state, field.name) for field in fields(TrainState) if field.name != "skipped"}
