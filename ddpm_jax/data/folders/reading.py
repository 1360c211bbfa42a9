"""The user's own data by the place where they lie."""

import os
from collections.abc import Mapping
from pathlib import Path

from ddpm_jax.data.folders.assembling import Splitting, assemble
from ddpm_jax.data.folders.decoding import Form
from ddpm_jax.data.folders.pictures import Wanted, collect
from ddpm_jax.data.sources import LARGEST_COPY, Dataset
from ddpm_jax.errors import fail


def load(
    place: str | os.PathLike | None,
    splits: Mapping[str, str] | None = None,
    size: int = 0,
    channels: int = 0,
    background: str = "white",
    skip_bad: bool = False,
    held_out: float = 0.1,
    split_seed: int = 0,
    room: Path | None = None,
) -> Dataset:
    """The data set in a folder of pictures. Every picture is decoded once, and kept in the cache.

    Args:
        place: the folder.
        splits: what is in each split; see `splitting.chosen`.
        size: pixels of both sides, to which the shorter one is resized before the middle is cut out; 0: as they are.
        channels: 1, 3 or 4; 0: 3, or 1 where no picture has colour.
        background: a colour, by its name or as #rrggbb, that transparent pictures are laid on.
        skip_bad: leave out what cannot be read.
        held_out: the share of pictures, by their content, for a split that is missing.
        split_seed: of that.
        room: a file for pixels that need not fit into memory, to be removed by the caller.

    Raises:
        UserError: something is missing or does not fit; it says what to change.
    """
    if not place:
        fail("data.dir", "it is empty; give the folder of your pictures")
    try:
        root = Path(place).expanduser()
    except RuntimeError:  # ~ of a user without a home
        fail("data.dir", f"{place}: no home folder is known; give the whole path")
    form = Form(size, channels, _colour(background))
    how = Splitting(dict(splits or {}), held_out, split_seed)
    return assemble(collect(root, Wanted(form, skip_bad, LARGEST_COPY, room)), how)


def _colour(words: str) -> tuple[int, int, int]:
    from PIL import ImageColor

    try:
        red, green, blue, *_ = ImageColor.getrgb(words)
    except ValueError:
        fail("data.background", f"{words!r} is no colour; give one such as white, grey, or #ff8000")
    return red, green, blue
