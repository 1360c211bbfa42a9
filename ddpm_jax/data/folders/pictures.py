"""A folder of pictures as a collection: found, hashed, decoded once, and what cannot be read refused or left out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ddpm_jax.data.folders import contents
from ddpm_jax.data.folders.assembling import Collection
from ddpm_jax.data.folders.contents import Contents, Fact, Pixels
from ddpm_jax.data.folders.decoding import Form, Unreadable
from ddpm_jax.data.folders.finding import find
from ddpm_jax.data.folders.splitting import Rows
from ddpm_jax.errors import UserError, fail, some

SUGGESTED = 64
"""The greatest size that a line proposes."""


@dataclass(frozen=True)
class Wanted:
    """What is asked for of the pictures in a folder.

    Attributes:
        form: which they are brought into.
        skip_bad: leave out what cannot be read.
        most: bytes of pixels that are kept from decoding; more are decoded when they are needed.
        room: a file for them, in place of memory.
    """

    form: Form
    skip_bad: bool = False
    most: int = 2**30
    room: Path | None = None


@dataclass(frozen=True)
class Raw:
    """Pictures that were found, a row each, and not decoded yet.

    Attributes:
        place: where, for people.
        files: what they are in.
        names: for people.
        digests: hashes of the files' contents.
        splits: as `Collection` has them, and so the rest.
    """

    place: Path
    files: Contents
    names: Sequence[str]
    digests: Sequence[str]
    splits: Sequence[str]
    labels: Sequence[str | int | None]
    texts: Sequence[str | None]
    classes: Sequence[str] = ()
    notes: Sequence[str] = ()


def find_raw(root: Path) -> Raw:
    """The pictures in a folder. Raises UserError as `finding.find`."""
    folder = find(root)
    names = [one.path for one in folder.files]
    return Raw(
        place=root,
        files=contents.Files(root, names),
        names=names,
        digests=contents.hashes(root, names),
        splits=[one.split for one in folder.files],
        labels=[one.label for one in folder.files],
        texts=[one.text for one in folder.files],
        notes=folder.notes,
    )


def collect(raw: Raw, wanted: Wanted) -> Collection:
    """Pictures, decoded once.

    Raises:
        UserError: a file cannot be read, or none can; or the pictures are of several sizes, and none is asked for.
    """
    facts, pixels = contents.known_facts(raw.digests, wanted.form), None
    if facts is None:
        side = (wanted.form.size,) * 2 if wanted.form.size else _common(raw)
        pixels = _room(len(raw.names), (*side, wanted.form.kept), wanted)
        facts = contents.examine(raw.files, raw.digests, wanted.form, pixels)
    else:
        facts = contents.once_more(raw.files, facts, wanted.form)
    kept, notes = _kept(raw, facts, wanted.skip_bad)
    shape, said = _shape(raw.place, [facts[row] for row in kept], wanted.form)
    rows = np.asarray(kept)
    decoded = None if pixels is None else partial(_taken, pixels, rows, shape[-1])
    form = replace(wanted.form, channels=shape[-1])
    return Collection(
        names=_of(raw.names, kept),
        digests=_of(raw.digests, kept),
        read=decoded or partial(_read, raw, rows, wanted.form, shape),
        shape=shape,
        made_from=f"{contents.VERSION} {form}",
        splits=_of(raw.splits, kept),
        labels=_of(raw.labels, kept),
        texts=_of(raw.texts, kept),
        classes=raw.classes,
        notes=[*raw.notes, *notes, *said],
    )


def _of(values: Sequence[Any], rows: Sequence[int]) -> list[Any]:
    """The values in these rows; none where there are none."""
    return [values[row] for row in rows] if values else []


def _room(count: int, shape: tuple[int, ...], wanted: Wanted) -> Pixels | None:
    if wanted.room is not None:
        return contents.Scratch(wanted.room, (count, *shape))
    return np.empty((count, *shape), np.uint8) if count * int(np.prod(shape)) <= wanted.most else None


def _kept(raw: Raw, facts: Sequence[Fact], skip_bad: bool) -> tuple[list[int], list[str]]:
    """The rows of the pictures that can be read, and a line that says how many cannot."""
    kept = [row for row, fact in enumerate(facts) if not fact.reason]
    bad = [f"{raw.names[row]} ({fact.reason})" for row, fact in enumerate(facts) if fact.reason]
    if not bad:
        return kept, []
    line = f"{len(bad)} of {len(facts)} pictures in {raw.place} cannot be read: {some(bad)}"
    if not skip_bad:
        fail("data.dir", f"{line}; mend or remove them, or set config.data.skip_bad=True")
    if not kept:
        fail("data.dir", f"{line}; so there is none")
    return kept, [f"left out: {line}"]


def _common(raw: Raw) -> tuple[int, int]:
    """Height and width of all pictures, by their headers.

    Raises:
        UserError: they are of several sizes.
    """
    found = Counter(size for size in contents.sizes(raw.files, len(raw.names)) if size)
    if len(found) > 1:
        _refuse_sizes(raw.place, found)
    if not found:
        return (1, 1)  # what is wrong with them is said when they are decoded
    ((width, height),) = found
    return height, width


def _refuse_sizes(root: Path, found: Counter[tuple[int, int]]) -> None:
    (width, height), count = found.most_common(1)[0]
    most = min(min(size) for size in found)
    proposed = min(SUGGESTED, 2 ** max(3, most.bit_length() - 1))
    words = (
        f"the pictures in {root} are of {len(found)} sizes, most often {width}x{height} ({count} of {found.total()})"
    )
    fail("data.size", f"{words}; give one for all, such as config.data.size={proposed}")


def _shape(root: Path, facts: Sequence[Fact], form: Form) -> tuple[tuple[int, int, int], list[str]]:
    """Of all pictures in their form, and lines to tell a person."""
    sizes, notes = Counter((fact.width, fact.height) for fact in facts), []
    if not form.size and len(sizes) > 1:
        _refuse_sizes(root, sizes)
    ((width, height), _), *_ = sizes.most_common(1)
    if form.size:
        cut = sum(count for size, count in sizes.items() if size[0] != size[1])
        small = sum(count for size, count in sizes.items() if min(size) < form.size)
        if cut:
            notes.append(f"{cut:,} of {len(facts):,} pictures are not square: their middle is kept")
        if small:
            notes.append(f"{small:,} of {len(facts):,} pictures are smaller than {form.size} pixels, and are enlarged")
        width = height = form.size
    channels = form.channels or (3 if any(fact.colour for fact in facts) else 1)
    if not form.channels and channels == 1:
        notes.append("no picture has colour, so there is one channel (config.data.channels)")
    return (height, width, channels), notes


def _taken(pixels: Pixels, kept: Rows, channels: int, rows: Rows) -> UInt8[np.ndarray, "n height width channels"]:
    """Pictures that were decoded."""
    return pixels[kept[rows]][..., :channels]


def _read(
    raw: Raw, kept: Rows, form: Form, shape: tuple[int, ...], rows: Rows
) -> UInt8[np.ndarray, "n height width channels"]:
    """Pictures that are decoded now."""
    try:
        return contents.read(raw.files, kept[rows].tolist(), form, shape)
    except (OSError, Unreadable, ValueError) as error:
        raise UserError(
            f"config.data.dir: the pictures in {raw.place} changed while they were read ({error})"
        ) from error
