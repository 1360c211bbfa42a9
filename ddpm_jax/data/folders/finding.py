"""Which pictures a folder holds, and what its sub-folders say: splits, and classes.

PICTURES/cat/1.png                    classes
PICTURES/train/cat/1.png              splits, and classes in them
PICTURES/metadata.csv, PICTURES/1.png labels and texts in a table (`metadata.py`)
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ddpm_jax.data.folders import metadata
from ddpm_jax.errors import fail, some

ENDINGS = frozenset(
    f".{ending}"
    for kind in (
        "png apng",
        "jpg jpeg jpe jfif",
        "webp",
        "gif",
        "bmp dib",
        "tif tiff",
        "avif",
        "jp2",
        "ppm pgm pbm pnm",
    )
    for ending in kind.split()
)
"""Of the names of pictures."""

LEFT_BY_SYSTEMS = frozenset(("thumbs.db", "desktop.ini", "__macosx", "@eadir", "lost+found"))
"""Names, in small letters, that say nothing; nor do those that begin with a dot."""

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Names of folders, in small letters, and the splits that they are."""


@dataclass(frozen=True, slots=True)
class Found:
    """A picture's file.

    Attributes:
        path: from the folder, with slashes.
        split: the split that its place says; empty where none does.
        label: of its class, as written; None where it has none.
        text: its caption; None where it has none.
    """

    path: str
    split: str = ""
    label: metadata.Label | None = None
    text: str | None = None


@dataclass(frozen=True)
class Folder:
    """What a folder holds.

    Attributes:
        files: its pictures, by their paths.
        notes: lines to tell a person.
    """

    files: tuple[Found, ...]
    notes: tuple[str, ...]


def find(root: Path) -> Folder:
    """The pictures in a folder.

    Raises:
        UserError: there is no such folder, or no picture in it; its sub-folders mean two things at once; or a table
            beside the pictures does not fit them.
    """
    if not root.is_dir():
        fail("data.dir", f"{root} is no folder" if root.exists() else f"there is no folder {root}")
    names = sorted(_names(root))
    if not names:
        fail("data.dir", f"{root} is empty")
    pictures = [name for name in names if Path(name).suffix.lower() in ENDINGS]
    tables = [name for name in names if name.rpartition("/")[2] in metadata.NAMES]
    others = sorted(set(names) - set(pictures) - set(tables))
    if not pictures:
        known = ", ".join(sorted(ENDINGS))
        fail("data.dir", f"{root} holds no pictures: it has {some(others or tables)}; pictures end in {known}")
    notes = []
    if others:
        notes.append(f"{len(others)} file{'s' * (len(others) > 1)} with the ending of no picture: {some(others)}")
    places = _splits(root, pictures)
    inside = {name: name.partition("/")[2] if places else name for name in pictures}
    classes = {name: path.partition("/")[0] for name, path in inside.items() if "/" in path}
    if 0 < len(classes) < len(inside):
        beside = [name for name in inside if name not in classes]
        notes.append(f"pictures lie beside sub-folders ({some(beside)}), so sub-folders are no classes")
        classes = {}
    found = [Found(name, places.get(name.partition("/")[0], ""), classes.get(name)) for name in pictures]
    if tables:
        rows, said = metadata.read(root, tables, pictures)
        found = [replace(one, **rows[one.path]) for one in found]
        notes += said
    return Folder(tuple(found), tuple(notes))


def _names(root: Path) -> Iterator[str]:
    """Paths of all files, from the root; links are followed, and a folder is walked once."""
    seen = set()
    for place, folders, files in os.walk(root, followlinks=True):
        state = os.stat(place)
        if (state.st_dev, state.st_ino) in seen:
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        folders[:] = sorted(name for name in folders if _meant(name))
        inside = os.path.relpath(place, root)
        for name in files:
            if _meant(name):
                yield name if inside == "." else f"{inside}/{name}".replace(os.sep, "/")


def _meant(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in LEFT_BY_SYSTEMS


def _splits(root: Path, pictures: list[str]) -> dict[str, str]:
    """The split of each sub-folder that is one; none where sub-folders are no splits."""
    tops = dict.fromkeys(name.partition("/")[0] for name in pictures if "/" in name)
    found = {top: SPLITS[top.lower()] for top in tops if top.lower() in SPLITS}
    if not found or (len(found) == 1 and len(tops) > 1):  # a class may be called train
        return {}
    if strangers := [name for name in pictures if name.partition("/")[0] not in found]:
        fail("data.dir", f"{root}: {some(strangers)} lies beside the splits {', '.join(found)}; put it in one of them")
    for split, count in Counter(found.values()).items():
        if count > 1:
            both = " and ".join(top for top in found if found[top] == split)
            fail("data.dir", f"{root}: {both} are both the split {split}; rename one of them")
    if "train" not in found.values():
        fail(
            "data.dir", f"{root} has the splits {', '.join(found)}, and no train; put the pictures to learn from there"
        )
    return found
