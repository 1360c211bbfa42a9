"""The embedded data set: scikit-learn's 1,797 real 8x8 digits, kept as a TFDS data set like any other.

The images are the test set of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, 1998; UCI
repository): 32x32 bitmaps of digits written by hand, counted over 4x4 blocks, so a value is 0 .. 16. Splits are in the
file's order, in which neighbours tend to be by one writer: the held-out splits hold writers that train has not seen.
"""

import contextlib
import functools
import hashlib
import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8

from ddpm_jax.cache import cache_folder
from ddpm_jax.conditions import labels
from ddpm_jax.data.description import Description
from ddpm_jax.data.tfds import quiet
from ddpm_jax.files import read_record, write_record

NAME = "digits"
VERSION = "1.0.0"
SPLITS = {"train": (0, 1000), "validation": (1000, 1350), "test": (1350, 1797)}
MANIFEST = "manifest.json"
DESCRIPTION = Description(NAME, VERSION, (8, 8, 1), levels=17, conditions=labels(10))


def arrays(split: str) -> tuple[UInt8[np.ndarray, "n 8 8 1"], Int32[np.ndarray, " n"]]:
    """One split's images and labels straight from scikit-learn, in file order."""
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    rows = slice(*SPLITS[split])
    return digits.images[rows, :, :, None].astype(np.uint8), digits.target[rows].astype(np.int32)


def prepare() -> Path:
    """The folder of the TFDS data set in the cache, which is written first if it is not there as it was written.

    It is written elsewhere and renamed, so that no one meets a half-written set: of two processes that prepare at
    once, one's folder stays and the other's is dropped; an interrupted one leaves a temporary folder only.
    Raises ImportError where TFDS cannot be imported, OSError where the cache cannot be written.
    """
    root = cache_folder()
    if root is None:
        raise OSError("no home folder is known")
    folder = root / "tfds" / NAME / VERSION
    if _whole(folder):
        return folder
    builder_class = _builder_class()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".digits-", dir=root, ignore_cleanup_errors=True) as part:
        silent = io.StringIO()
        with quiet(), contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
            try:
                builder_class(data_dir=part, file_format="array_record").download_and_prepare()
            except Exception as error:  # of many types where the disk is full
                raise OSError(str(error).splitlines()[0][:200] if str(error) else type(error).__name__) from error
        written = Path(part) / NAME / VERSION
        write_record(written / MANIFEST, _checksums(written))
        if folder.exists() and not _whole(folder):
            with contextlib.suppress(OSError):  # another process may have moved it already
                shutil.move(folder, Path(part) / "damaged")
        try:
            os.rename(written, folder)
        except OSError:
            if not _whole(folder):
                raise
    return folder


def _whole(folder: Path) -> bool:
    """Whether the files are those that were written, by the manifest that was written with them."""
    try:
        found = _checksums(folder)
        return bool(found) and read_record(folder / MANIFEST) == found
    except (OSError, ValueError):
        return False


def _checksums(folder: Path) -> dict[str, str]:
    """The checksum of every file but the manifest."""
    files = sorted(file for file in folder.iterdir() if file.name != MANIFEST)
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@functools.cache
def _builder_class() -> Any:
    """The TFDS builder, made late: importing TFDS takes a second or more."""
    import tensorflow_datasets as tfds
    from PIL import Image

    class Digits(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """scikit-learn's 8x8 digits in file order."""

        VERSION = tfds.core.Version(VERSION)

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=DESCRIPTION.shape, encoding_format="png"),
                "label": tfds.features.ClassLabel(num_classes=DESCRIPTION.labels),
            }
            return tfds.core.DatasetInfo(
                builder=self,
                description="1,797 digits written by hand, 8x8, values 0 to 16 (scikit-learn's load_digits).",
                homepage="https://archive.ics.uci.edu/dataset/80",
                features=tfds.features.FeaturesDict(features),
                supervised_keys=("image", "label"),
                metadata=tfds.core.MetadataDict({"levels": DESCRIPTION.levels}),
                disable_shuffling=True,  # file order
            )

        def _split_generators(self, dl_manager):
            del dl_manager  # nothing is downloaded
            return {split: self._generate_examples(split) for split in SPLITS}

        def _generate_examples(self, split):  # pyright: ignore[reportIncompatibleMethodOverride]
            images, classes = arrays(split)
            for number, (image, label) in enumerate(zip(images, classes, strict=True)):
                # TFDS encodes a NumPy image with TensorFlow only, and a PIL image without it.
                yield number, {"image": Image.fromarray(image[:, :, 0]), "label": int(label)}

    return Digits
