"""A run's `metrics.jsonl`: one row of plain JSON a line, added to as the run goes on, and what a resumed run keeps."""

import errno
import os
import warnings
import zlib
from pathlib import Path

from ddpm_jax.files import Record, from_json, to_json, write_bytes
from ddpm_jax.training.facts import Facts


def parse(line: str | bytes) -> Record | None:
    """The row of a line, with its step; None for a line that is none, such as half of one."""
    try:
        row = from_json(line)
    except ValueError:
        return None
    good = isinstance(row, dict) and type(row.get("step")) is int
    return row if good else None


def read_lines(path: Path) -> list[Record]:
    """The rows of the file; lines that do not read are left out. Empty where it is missing or cannot be read."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return []
    return [row for line in lines if (row := parse(line)) is not None]


def _comes_again(row: Record, step: int) -> bool:
    """Whether a run that goes on from `step` will write the row: a later one's, or figures after its last step."""
    of_training = "learning_rate" in row or "validation_loss" in row
    return row["step"] > step or (row["step"] == step and not of_training)


class Lines:
    """The file of a run that goes on from `step`: rows up to there are kept, later ones will come again.

    Says so if it is not what it was when the checkpoint was saved. A row of the checkpoint's own that is missing, which
    a kill between saving and logging leaves, is written again.

    Args:
        path: of the file.
        step: 0 for a new run.
        facts: of the checkpoint that the run goes on from.

    Raises:
        OSError: it cannot be read or written.
    """

    def __init__(self, path: Path, step: int = 0, facts: Facts | None = None):
        content = path.read_bytes() if path.exists() else b""
        if facts is not None and zlib.crc32(content[: facts.log_bytes]) == facts.log_checksum:
            content = content[: facts.log_bytes]  # what comes after is not vouched for, and comes again
        elif facts is not None and facts.log_bytes >= 0:
            warnings.warn(f"{path} is not as it was at step {step}; the rows of it that read are kept", stacklevel=2)
        parsed = [(line, parse(line)) for line in content.splitlines()]
        kept = [(line, row) for line, row in parsed if row is not None and not _comes_again(row, step)]
        content = b"".join(line + b"\n" for line, _ in kept)
        write_bytes(path, content)
        self._bytes, self._checksum = len(content), zlib.crc32(content)
        self._file = path.open("ab", buffering=0)
        told = any(row["step"] == step and "validation_loss" in row for _, row in kept)
        if facts is not None and facts.milestone and not told:
            self.write(step, {"validation_loss": facts.validation_loss})

    def write(self, step: int, row: Record) -> None:
        """Add a row. Raises OSError."""
        line = (to_json({"step": step, **row}) + "\n").encode()
        if self._file.write(line) != len(line):  # a disk that is full, or a limit: no half a row
            self._file.truncate(self._bytes)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._file.name)
        self._bytes, self._checksum = self._bytes + len(line), zlib.crc32(line, self._checksum)

    @property
    def mark(self) -> tuple[int, int]:
        """How many bytes there are, and their CRC-32: what `Facts` keep."""
        return self._bytes, self._checksum

    def close(self) -> None:
        """Close the file."""
        self._file.close()
