"""What a checkpoint knows besides its state, kept as arrays beside it, so that one can be had where the other is."""

import math
import zlib
from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class Facts:
    """What a checkpoint knows besides its state; one of an earlier version knows less.

    Attributes:
        elapsed: seconds of training that led to it.
        validation_loss: of its state; NaN where it was saved between two milestones.
        log_bytes: of `metrics.jsonl` at the time; -1 where that is not known.
        log_checksum: CRC-32 of those bytes.
        config: `config.identity.training_mark` of the config that it was trained with; 0: not known.
        validation: `config.identity.validation_mark` of it; 0: not known.
        losses, norms, seconds, steps, skipped: sums over the steps that are not in a row of the log yet.
    """

    elapsed: float = 0.0
    validation_loss: float = math.nan
    log_bytes: int = 0
    log_checksum: int = 0
    config: int = 0
    validation: int = 0
    losses: float = 0.0
    norms: float = 0.0
    seconds: float = 0.0
    steps: int = 0
    skipped: int = 0

    @property
    def milestone(self) -> bool:
        """Whether the state's validation loss was computed."""
        return not math.isnan(self.validation_loss)


WHOLE = ("log_bytes", "log_checksum", "config", "validation", "steps", "skipped")
"""The facts that are whole numbers."""


class DamagedCheckpointError(ValueError):
    """A checkpoint does not hold what was saved."""


def packed(facts: Facts, total: int, frozen_total: int) -> dict[str, np.ndarray]:
    """Facts as arrays, with the checksums of the arrays of the state and of what is frozen, and one of all these."""
    values = [float(getattr(facts, field.name)) for field in fields(Facts)]
    tree = {
        "values": np.asarray(values, np.float64),
        "sum": np.asarray(total, np.uint32),
        "frozen_sum": np.asarray(frozen_total, np.uint32),
    }
    return {**tree, "own_sum": np.asarray(_own_sum(tree), np.uint32)}


def _own_sum(tree: dict[str, np.ndarray]) -> int:
    return zlib.crc32(b"".join(tree[name].tobytes() for name in ("values", "sum", "frozen_sum")))


def abstract_facts() -> dict[str, np.ndarray]:
    """The shapes and types of facts as arrays."""
    return {name: np.empty_like(array) for name, array in packed(Facts(), 0, 0).items()}


def unpacked(tree: dict[str, np.ndarray]) -> Facts:
    """Facts read back. Raises DamagedCheckpointError if they are not what was packed."""
    if _own_sum(tree) != int(tree["own_sum"]):
        raise DamagedCheckpointError("its facts are not those that were saved (checksum)")
    names = [field.name for field in fields(Facts)]
    if len(tree["values"]) == len(names) - 1:  # of an earlier version
        names.remove("validation")
    values = dict(zip(names, tree["values"].tolist(), strict=True))
    return Facts(**{name: int(value) if name in WHOLE else value for name, value in values.items()})
