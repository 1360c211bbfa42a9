"""From examples of any kind of file to a data set: splits, classes, captions, and what a person is to know of them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ddpm_jax.conditions import Conditions
from ddpm_jax.conditions.table import Condition
from ddpm_jax.data.description import Description
from ddpm_jax.data.folders.labelling import captions_of, classes_of
from ddpm_jax.data.folders.splitting import TRAIN, Rows, assign, chosen
from ddpm_jax.data.sources import Dataset, Examples, Source
from ddpm_jax.errors import fail, some
from ddpm_jax.files import sha256
from ddpm_jax.plugins import FOLDER


@dataclass(frozen=True)
class Splitting:
    """How examples come into splits.

    Attributes:
        words: what a config says is in each split; none: what is found.
        share: for a split that is missing.
        seed: of what goes there.
    """

    words: Mapping[str, str]
    share: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class Collection:
    """Examples, each a row.

    Attributes:
        names: for people.
        digests: hashes of their contents.
        read: from rows to pictures, uint8 `[n, *shape]`.
        shape: of a picture.
        made_from: what the pictures depend on besides their contents.
        levels: how many values there may be.
        splits: of each; empty where none is said.
        labels: of each, as written; None where one has none.
        texts: likewise.
        classes: names of classes, in the order of their numbers, where labels are these.
        notes: lines to tell a person.
        costly: to make the pictures takes a while, so that a copy is kept.
    """

    names: Sequence[str]
    digests: Sequence[str]
    read: Callable[[Rows], UInt8[np.ndarray, "..."]]
    shape: tuple[int, ...]
    made_from: str
    levels: int = 256
    splits: Sequence[str] = ()
    labels: Sequence[str | int | None] = ()
    texts: Sequence[str | None] = ()
    classes: Sequence[str] = ()
    notes: Sequence[str] = ()
    costly: bool = True


def assemble(found: Collection, how: Splitting) -> Dataset:
    """The data set of a collection. No picture is read.

    Raises:
        UserError: a split is empty, or a class of train; or captions have no words.
    """
    places = found.splits or [""] * len(found.digests)
    rows = assign(places, found.digests, how.share, how.seed)
    notes = [*found.notes, *_twins(found, rows)]
    if drawn := [split for split in rows if split not in places]:
        share = f"{how.share:g} of the pictures each for {', '.join(split for split in drawn if split != TRAIN)}"
        notes.append(f"splits by content: {share} (config.data.held_out, config.data.split_seed)")
    for split, some_rows in rows.items():
        if not len(some_rows) and not how.words:
            words = f"no picture of {len(found.digests)} comes into the split {split}"
            fail("data.held_out", f"{words}; set it above {how.share:g}, or another config.data.split_seed")
    words = {split: split for split in rows}
    if how.words:
        rows, words = chosen(rows, how.words), dict(how.words)
    kinds, values, said = _conditions(found, rows)
    description = Description(FOLDER, "1", found.shape, found.levels, kinds)
    sources = {}
    for split, some_rows in rows.items():
        told = {name: array[some_rows] for name, array in values.items()}
        parts = [
            FOLDER,
            found.made_from,
            description.shape,
            *(found.digests[row] for row in map(int, some_rows)),
            *told.values(),
        ]
        content = sha256(parts)[:32]
        get = partial(_read, found.read, some_rows, told)
        sources[split] = Source(
            description, len(some_rows), get, [content] if found.costly else (), words[split], content
        )
    counts = ", ".join(f"{len(source):,} {split}" for split, source in sources.items())
    size = "x".join(map(str, description.space[::-1]))
    classes = f", {description.labels} classes" if description.labels else ""
    first = f"pictures: {counts}; {size}, {_CHANNELS.get(description.channels, description.channels)}{classes}"
    return Dataset(description, sources, notes=(first, *notes, *said))


_CHANNELS = {1: "grey", 3: "RGB", 4: "RGB and alpha"}


def _read(read: Callable, rows: Rows, told: Mapping[str, np.ndarray], indices: np.ndarray) -> Examples:
    return read(rows[indices]), {name: array[indices] for name, array in told.items()}


def _twins(found: Collection, rows: Mapping[str, Rows]) -> list[str]:
    """A line where one content is in two splits."""
    where: dict[str, str] = {}
    twice: dict[tuple[str, str], list[str]] = {}
    for split, some_rows in rows.items():
        for row in map(int, some_rows):
            first = where.setdefault(found.digests[row], split)
            if first != split:
                twice.setdefault((first, split), []).append(found.names[row])
    return [
        f"{len(names)} picture{'s' * (len(names) > 1)} of {second} also in {first}: {some(names)}"
        for (first, second), names in twice.items()
    ]


def _conditions(found: Collection, rows: Mapping[str, Rows]) -> tuple[Conditions, Condition, list[str]]:
    """The kinds, the values of all examples, and lines to tell a person."""
    kinds: list[tuple[str, Any]] = []
    values, said = {}, []
    if found.labels and None not in found.labels:
        labels: Any = found.labels
        kind, numbers = classes_of(labels, found.classes)
        if kind.classes == 1:
            said.append(f"all pictures are of one class ({labels[0]}), so there is no label")
        else:
            said += _absent(kind.names or range(kind.classes), numbers, rows, kind.classes)
            kinds.append(("label", kind))
            values["label"] = numbers
    if found.texts and None not in found.texts:
        captions: Any = found.texts
        kind, numbers = captions_of(captions)
        kinds.append(("text", kind))
        values["text"] = numbers
    return Conditions(tuple(kinds)), values, said


def _absent(names: Sequence[Any], numbers: np.ndarray, rows: Mapping[str, Rows], classes: int) -> list[str]:
    """Lines that say which classes a split has no picture of; of train that is an error."""
    said = []
    for split, some_rows in rows.items():
        counts = np.bincount(numbers[some_rows], minlength=classes)
        if missing := [str(names[number]) for number in range(classes) if not counts[number]]:
            line = f"{split} has no picture of {len(missing)} of {classes} classes: {some(missing)}"
            if split == TRAIN:
                few = Counter(numbers.tolist())
                one = next(number for number in range(classes) if not counts[number])
                words = f"{line} ({few[one]} of {names[one]} in all)"
                fail("data.dir", f"{words}; add pictures, take the class out, or set another config.data.split_seed")
            said.append(line)
    return said
