"""What files hold: hashes of their bytes, and facts and pixels of the pictures in them, found out once.

A file is known by its content. Its hash is kept with its size and its time of change, so that a folder that was read is
not read again; what was decoded is kept by hashes, so that a folder that was moved is not decoded again.
"""

import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from ddpm_jax import cache
from ddpm_jax.data.folders.decoding import VERSION, Form, Unreadable, decode, measure
from ddpm_jax.files import sha256
from ddpm_jax.progress import Bar

AT_ONCE = 1000
"""Files that are waited for together: what is found out of them lies in memory until then."""


@dataclass(frozen=True)
class Scratch:
    """Pixels in a file, which takes the place of an array `[files, height, width, channels]` that memory is small for.

    Attributes:
        path: of the file, which is there.
        shape: of the array.
    """

    path: Path
    shape: tuple[int, ...]

    def __setitem__(self, row: int, pixels: UInt8[np.ndarray, "height width channels"]) -> None:
        with self.path.open("r+b", buffering=0) as file:
            file.seek(row * pixels.nbytes)
            if file.write(pixels.tobytes()) != pixels.nbytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def __getitem__(self, rows: np.ndarray) -> UInt8[np.ndarray, "n height width channels"]:
        found = np.empty((len(rows), *self.shape[1:]), np.uint8)
        with self.path.open("rb", buffering=0) as file:
            for place, row in enumerate(map(int, rows)):
                file.seek(row * found[place].nbytes)
                file.readinto(found[place].data)
        return found


Pixels = np.ndarray | Scratch
"""Room for pictures of one form, `[files, height, width, channels]`, uint8."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What is known of a file.

    Attributes:
        width: of its picture, the right way up.
        height: likewise.
        colour: whether its channels differ anywhere, in its form.
        reason: why it cannot be read; empty where it can.
    """

    width: int = 0
    height: int = 0
    colour: bool = False
    reason: str = ""


@runtime_checkable
class Contents(Protocol):
    """Files by their numbers, wherever they lie."""

    def content(self, row: int, /) -> bytes:
        """The bytes of a file. Raises OSError where it cannot be read."""
        ...


@dataclass(frozen=True)
class Files:
    """Those of a folder.

    Attributes:
        root: the folder.
        names: of the files in it.
    """

    root: Path
    names: Sequence[str]

    def content(self, row: int) -> bytes:
        """The bytes of a file."""
        return (self.root / self.names[row]).read_bytes()


def hashes(root: Path, names: Sequence[str]) -> list[str]:
    """The hexadecimal SHA-256 of each file; empty where a file cannot be read."""
    made_from = [VERSION, "hashes", str(root.resolve())]
    known = _known(cache.load("pictures", made_from) or b"")
    states = [_state(root, name) for name in names]
    found = [known.get(state, b"").decode() for state in states]
    del known  # there may be many
    new = [row for row, digest in enumerate(found) if not digest]
    for row, digest in zip(new, _each(_hashed, [root / names[row] for row in new], "reading files"), strict=True):
        found[row] = digest
    if new:
        rows = (digest.encode() + state for state, digest in zip(states, found, strict=True) if state and digest)
        cache.save("pictures", made_from, b"\0".join(rows))
    return found


def _known(content: bytes) -> dict[bytes, bytes]:
    """The hash of each file that was as its state says."""
    rows = (row[0] for row in re.finditer(rb"[^\0]+", content))
    return {row[64:]: row[:64] for row in rows}


def _state(root: Path, name: str) -> bytes:
    """A file's name, size and time of change; empty where there is none."""
    try:
        state = os.stat(root / name)
    except OSError:
        return b""
    return f"{state.st_size} {state.st_mtime_ns} ".encode() + os.fsencode(name)


def _hashed(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def digests(files: Contents, count: int) -> list[str]:
    """As `hashes`, of files that lie anywhere; no table of them is kept."""
    return list(_each(partial(_digested, files), range(count), "reading files"))


def _digested(files: Contents, row: int) -> str:
    try:
        return hashlib.sha256(files.content(row)).hexdigest()
    except OSError:
        return ""


def sizes(files: Contents, count: int) -> list[tuple[int, int] | None]:
    """Width and height of each picture by its header; None where it has none."""
    return list(_each(partial(_measured, files), range(count), "measuring pictures"))


def _measured(files: Contents, row: int) -> tuple[int, int] | None:
    try:
        return measure(files.content(row))
    except (OSError, Unreadable):
        return None


def known_facts(digests: Sequence[str], form: Form) -> list[Fact] | None:
    """The facts of files of these hashes, from the cache; None where it has them not."""
    content = cache.load("pictures", _key(digests, form))
    return None if content is None else [Fact(*row) for row in json.loads(content)]


def examine(files: Contents, digests: Sequence[str], form: Form, pixels: Pixels | None = None) -> list[Fact]:
    """Decode each file once, and say what is known of it.

    Args:
        files: one for each hash.
        digests: their hashes.
        form: which every picture is brought into.
        pixels: where each is put, in its row, if it is of that shape.
    """
    look = partial(_examined, files, form, pixels)
    facts = list(_each(look, range(len(digests)), "decoding pictures"))
    cache.save("pictures", _key(digests, form), json.dumps([astuple(fact) for fact in facts]).encode())
    return facts


def once_more(files: Contents, facts: Sequence[Fact], form: Form) -> list[Fact]:
    """The facts, those of files that could not be read found out anew: another Pillow, or day, may read them."""
    look = partial(_examined, files, form, None)
    bad = [row for row, fact in enumerate(facts) if fact.reason]
    again = dict(zip(bad, _each(look, bad, "decoding pictures"), strict=True))
    return [again.get(row, fact) for row, fact in enumerate(facts)]


def _key(digests: Sequence[str], form: Form) -> list[Any]:
    return [VERSION, form, sha256(digests)]


def _examined(files: Contents, form: Form, pixels: Pixels | None, row: int) -> Fact:
    try:
        found = decode(files.content(row), form)
    except OSError as error:
        return Fact(reason=error.strerror or type(error).__name__)
    except Unreadable as error:
        return Fact(reason=str(error))
    if pixels is not None and found.pixels.shape == pixels.shape[1:]:
        pixels[row] = found.pixels
    return Fact(*found.size, has_colour(found.pixels))


def has_colour(pixels: UInt8[np.ndarray, "*_ channels"]) -> bool:
    """Whether the channels of colour differ anywhere."""
    return pixels.shape[-1] >= 3 and bool((pixels[..., :1] != pixels[..., 1:3]).any())


def read(files: Contents, rows: Sequence[int], form: Form, shape: tuple[int, ...]) -> UInt8[np.ndarray, "n *shape"]:
    """The pictures of some files, decoded now by several threads.

    Raises:
        OSError: a file is not there any more.
        Unreadable: it is no picture any more.
    """
    found = np.empty((len(rows), *shape), np.uint8)
    with _pool() as pool:
        for row, picture in enumerate(pool.map(partial(_decoded, files, form), rows)):
            found[row] = picture[..., : shape[-1]]
    return found


def _decoded(files: Contents, form: Form, row: int) -> UInt8[np.ndarray, "height width channels"]:
    return decode(files.content(row), form).pixels


def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(len(os.sched_getaffinity(0)) + 1, thread_name_prefix="pictures")  # one waits for a disk


def _each(function: Callable[[Any], Any], items: Sequence[Any], title: str) -> Iterator[Any]:
    """What the function says of each, by several threads, with a bar if it takes a while."""
    with _pool() as pool, Bar(f"{title}: file", len(items), unit="files") as bar:
        for start in range(0, len(items), AT_ONCE):
            part: Iterable[Any] = items[start : start + AT_ONCE]
            for number, answer in enumerate(pool.map(function, part), start + 1):
                bar.update(number)
                yield answer
