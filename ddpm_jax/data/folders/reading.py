"""The user's own data by the place where they lie."""

import inspect
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ddpm_jax.data.folders import huggingface, prepared, stored
from ddpm_jax.data.folders.assembling import Splitting, assemble
from ddpm_jax.data.folders.decoding import Form
from ddpm_jax.data.folders.pictures import Wanted, collect, find_raw
from ddpm_jax.data.sources import LARGEST_COPY, Dataset
from ddpm_jax.errors import UserError, fail
from ddpm_jax.plugins import Options


def write(place: str | os.PathLike, folder: Path, options: Options) -> Iterator[str]:
    """Prepare the data at a place in a folder, which is empty or not there, and say what is done.

    Raises:
        UserError: as `load`; the folder is left as it was.
    """
    if prepared.is_one(Path(place)):
        fail("data.dir", f"{place} is prepared already")
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UserError(f"{folder} is not empty; choose another, or remove it")
    room = folder / "pixels.part"
    try:
        room.touch()
        dataset = load(place, None, **options, room=room)
        yield from dataset.notes
        path = prepared.prepare(dataset, folder, options)
        yield f"  {path}"
    except BaseException:
        for file in folder.iterdir():
            file.unlink()
        if new:
            folder.rmdir()
        raise
    finally:
        room.unlink(missing_ok=True)


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
    """The data set in a folder of pictures, one that was prepared of these, a file of arrays, or one of Hugging Face's.

    Every picture is decoded once, and kept in the cache.

    Args:
        place: the folder, which may be what `datasets` of Hugging Face saved to disk, or an .npz or .npy file.
        splits: what is in each split; see `splitting.chosen`.
        size: pixels of both sides, to which the shorter one is resized before the middle is cut out; 0: as they are.
        channels: 1, 3 or 4; 0: 3, or 1 where no picture has colour.
        background: a colour, by its name or as #rrggbb, that transparent pictures are laid on.
        skip_bad: leave out what cannot be read.
        held_out: the share of pictures, by their content, for a split that is missing.
        split_seed: of that.
        room: an empty file for pixels, which then need not fit into memory.

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
    if root.suffix.lower() in stored.ENDINGS and not root.is_dir():
        if not root.is_file():
            fail("data.dir", f"there is no file {root}")
        return assemble(stored.collect(root, form), how)
    if prepared.is_one(root):
        given = {"size": size, "channels": channels, "background": background, "skip_bad": skip_bad}
        given |= {"held_out": held_out, "split_seed": split_seed}
        unasked = {name: one.default for name, one in inspect.signature(load).parameters.items()}
        return prepared.load(root, how.words, {name: one for name, one in given.items() if one != unasked[name]})
    raw = huggingface.find_raw(root) if huggingface.is_one(root) else find_raw(root)
    return assemble(collect(raw, Wanted(form, skip_bad, LARGEST_COPY, room)), how)


def _colour(words: str) -> tuple[int, int, int]:
    from PIL import ImageColor

    try:
        red, green, blue, *_ = ImageColor.getrgb(words)
    except ValueError:
        fail("data.background", f"{words!r} is no colour; give one such as white, grey, or #ff8000")
    return red, green, blue
