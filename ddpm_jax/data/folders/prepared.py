"""A folder that was prepared: pictures of one form in array_record files, read in any order without holding them.

DIR/train.array_record ...   a record an example: its conditions, then its pixels, all of fixed length
DIR/prepared.json            what they are: written last, so that what was cut off is none
"""

import dataclasses
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from ddpm_jax.data.description import Description
from ddpm_jax.data.folders.splitting import Rows, chosen
from ddpm_jax.data.identity import fingerprint
from ddpm_jax.data.recorded import recorded
from ddpm_jax.data.sources import Dataset, Examples, Source
from ddpm_jax.errors import UserError, fail, one_line
from ddpm_jax.files import DAMAGED, Record, read_record, sha256, write_record
from ddpm_jax.plugins import Options
from ddpm_jax.progress import Bar

FILE = "prepared.json"
FORMAT = 1
AT_ONCE = 500
"""Examples that lie in memory while files are written."""


def is_one(root: Path) -> bool:
    """Whether a folder was prepared."""
    return (root / FILE).is_file()


def prepare(dataset: Dataset, folder: Path, options: Options, progress: bool = True) -> Path:
    """Write a data set into an empty folder; gives back its description.

    Args:
        dataset: of own pictures.
        folder: where to.
        options: of `reading.load`, which a config may repeat.
        progress: show a bar.
    """
    from array_record.python.array_record_module import ArrayRecordWriter

    done, total = 0, sum(dataset.sizes.values())
    with Bar("writing: picture", total, unit="pictures", off=not progress) as bar:
        for split, source in dataset.sources.items():
            writer = ArrayRecordWriter(str(_path(folder, split)), "group_size:1")  # any record is read alone
            for start in range(0, len(source), AT_ONCE):
                rows = source.rows(np.arange(start, min(start + AT_ONCE, len(source))))
                values = [rows["condition"][name] for name in dataset.description.conditions]
                for number, image in enumerate(rows["image"]):
                    writer.write(b"".join([*(value[number].tobytes() for value in values), image.tobytes()]))
                done += len(rows["image"])
                bar.update(done)
            writer.close()
    facts = {"format": FORMAT, "options": dict(options), **fingerprint(dataset)}
    write_record(folder / FILE, facts)
    return folder / FILE


def _path(folder: Path, split: str) -> Path:
    return folder / f"{split}.array_record"


def load(folder: Path, words: Mapping[str, str], asked: Options) -> Dataset:
    """The data set that was prepared in a folder. No picture is read.

    Args:
        folder: where it lies.
        words: what a config says is in each split; see `splitting.chosen`.
        asked: options of `reading.load` that must be those of the preparation.

    Raises:
        UserError: it is damaged, or was prepared otherwise.
    """
    facts = _facts(folder)
    _check_asked(folder, facts, asked)
    description = recorded(facts).description
    files = {split: Records(_path(folder, split), description, one["images"]) for split, one in facts["splits"].items()}
    for one in files.values():
        one.check()
    rows = {split: np.arange(one.length) for split, one in files.items()}
    sources = {}
    for split, said in (words or {split: one["words"] for split, one in facts["splits"].items()}).items():
        base = said.partition("[")[0].strip() if words else split
        some = chosen(rows, {split: said})[split] if words else rows[split]
        content = facts["splits"][base]["content"]
        content = sha256([content, some])[:32] if len(some) < files[base].length else content
        sources[split] = Source(description, len(some), partial(_read, files[base], some), (), said, content)
    counts = ", ".join(f"{len(source):,} {split}" for split, source in sources.items())
    return Dataset(description, sources, notes=(f"pictures prepared in {folder}: {counts}",))


def _facts(folder: Path) -> Record:
    try:
        facts = read_record(folder / FILE, older=False)
        if facts.get("format") != FORMAT:
            fail("data.dir", f"{folder} was prepared by another version; prepare the pictures again")
        recorded(facts)
        for one in facts["splits"].values():
            if not (isinstance(one["images"], int) and isinstance(one["content"], str)):
                raise ValueError("a split is not described")
    except (OSError, KeyError, TypeError, AttributeError, *DAMAGED) as error:
        fail("data.dir", f"{folder / FILE} cannot be read ({one_line(error)}); prepare the pictures again")
    return facts


def _check_asked(folder: Path, facts: Record, asked: Options) -> None:
    height, width, channels = facts["description"]["shape"]
    known = {**facts["options"], "size": height if height == width else 0, "channels": channels}
    for name, value in asked.items():
        if value != known.get(name):
            words = f"is {value!r}, and {folder} was prepared with {known.get(name)!r}"
            fail(f"data.{name}", f"{words}; leave it out, or prepare the pictures again")


@dataclasses.dataclass(frozen=True)
class Records:
    """The examples of a file.

    Attributes:
        path: of the file.
        description: of the data set.
        length: how many there are.
    """

    path: Path
    description: Description
    length: int

    @cached_property
    def _opened(self) -> Any:
        from grain.sources import ArrayRecordDataSource

        return ArrayRecordDataSource([str(self.path)])

    def check(self) -> None:
        """Raise UserError unless the file is there and holds as many records."""
        try:
            found = len(self._opened)
        except Exception as error:  # array_record raises many types
            self._refuse(error)
        if found != self.length:
            self._refuse(ValueError(f"{found} records, not {self.length}"))

    def read(self, rows: Rows) -> Examples:
        """Examples by their numbers."""
        try:
            content = b"".join(self._opened.__getitems__([int(row) for row in rows]))
            found = np.frombuffer(content, np.uint8).reshape(len(rows), self._bytes)
        except Exception as error:
            self._refuse(error)
        values, start = {}, 0
        for name, kind in self.description.conditions.kinds:
            part = np.ascontiguousarray(found[:, start : start + kind.nbytes])
            values[name] = part.view(kind.dtype).reshape(len(rows), *kind.shape)
            start += kind.nbytes
        return found[:, start:].reshape(len(rows), *self.description.shape), values

    @property
    def _bytes(self) -> int:
        return self.description.dimensions + sum(kind.nbytes for _, kind in self.description.conditions.kinds)

    def _refuse(self, error: Exception) -> Any:
        reason = (one_line(error) or type(error).__name__)[:200]
        raise UserError(
            f"config.data.dir: {self.path} cannot be read ({reason}); prepare the pictures again"
        ) from error


def _read(records: Records, some: Rows, rows: Rows) -> Examples:
    return records.read(some[rows])
