"""Where a case happens: a slot, the config of its runs, the command lines that meet them, and what is read of them."""

import hashlib
import os
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.campaign.programs import sha256

CHECKOUT = Path(__file__).resolve().parents[2]
PROGRAMS = str(CHECKOUT / "tests" / "campaign" / "programs.py")

TINY = '''"""A run that trains in a moment."""

from ddpm_jax.config.base import base


def get_config():
    config = base()
    config.data.name = "written"
    config.data.batch = 8
    config.data.splits.train = "train[:96]"
    config.data.splits.validation = "validation[:32]"
    config.data.splits.test = "test[:32]"
    config.model.name = "dit"
    config.model.patch, config.model.channels, config.model.depth, config.model.heads = 4, 8, 1, 1
    config.model.conditions = ("label",)
    config.sampler.steps, config.sampler.ema, config.sampler.batch = 2, 0.9, 64
    config.optimizer.ema = (0.9,)
    config.optimizer.warmup = 0
    config.optimizer.learning_rate = 2e-2
    config.training.steps = 6
    config.training.dispatch = 2
    config.training.log_every = 1
    config.training.save_every = 2
    config.training.keep_latest = 3
    config.evaluation.validation_images = 8
    config.evaluation.samples = config.evaluation.likelihood_images = 32
    config.evaluation.likelihood_groups = 4
    config.evaluation.features = "trained"  # of whatever name the images are, and the weights in the cache are attacked
    config.logging.wandb = "off"
    return config


def sweep():
    for number in range(3):
        yield {"name": f"member{number}", "optimizer.learning_rate": (number + 1) * 1e-3}
'''


@dataclass(frozen=True)
class Slot:
    """A place for one case at a time.

    Attributes:
        folder: holds `home`, `tmp`, `here` (where commands work), `cache`, `data` and `runs`.
        number: 0 or 1.
        name: of the run folder.
    """

    folder: Path
    number: int
    name: str = "run"

    @property
    def run(self) -> Path:
        """The run folder that most cases are about."""
        return self.folder / "runs" / self.name

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def tiny(self) -> str:
        """The config file."""
        return str(self.folder / "tiny.py")


def train_words(slot: Slot, *more: str) -> list[str]:
    """The command line that trains the run that is attacked, or goes on with it."""
    return ["train", f"--config={slot.tiny}", f"--workdir={slot.run}", *more]


def sample_words(slot: Slot) -> list[str]:
    """The command line that draws from it."""
    return ["sample", f"--workdir={slot.run}", "--count=8", f"--output={drawn_file(slot).with_suffix('')}"]


def drawn_file(slot: Slot) -> Path:
    """Where the samples go."""
    return slot.folder / "drawn" / "samples.npz"


def read_samples(path: Path) -> str:
    """The SHA-256 of samples' arrays."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            return sha256(*(kept[name] for name in sorted(kept)))
    except Exception as error:
        return f"does not read: {error}"


def read_report(slot: Slot) -> dict[str, str]:
    """The text files of a report, without the slot's place."""
    names = ("report.md", "table.csv", "lines.csv")
    paths = [slot.folder / "report" / name for name in names]
    texts = {path.name: path.read_text(errors="replace") for path in paths if path.exists()}
    return {name: text.replace(str(slot.folder), "SLOT") for name, text in texts.items()}


SLOW = ("features", "floors", "reference_lines", "tfds", "compiled")
"""Folders of the cache that are slow to fill."""


def forget(slot: Slot) -> None:
    """Take what is known of data from the slot's cache, so that they are read anew."""
    for folder in slot.cache.iterdir():
        if folder.name not in SLOW:
            remove(folder)


def listing(*folders: Path) -> set[str]:
    """All paths below the folders."""
    found: set[str] = set()
    for folder in folders:
        for place, names, files in os.walk(folder):
            found.update(os.path.join(place, name) for name in (*names, *files))
    return found


def remove(path: Path) -> None:
    """Delete a file or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def as_data_folder(digits: Path, data: Path) -> None:
    """Copy the embedded digits, as the product prepares them, into a data folder, as a set of another name."""
    copy(digits, data)
    for path in list(data.iterdir()):
        path.rename(path.with_name(path.name.replace("digits-", "written-")))
    info = data / "dataset_info.json"
    info.write_text(info.read_text().replace('"digits"', '"written"'))


def hash_of_product() -> str:
    """Of the product's source: what was made with other code is not compared with."""
    digest = hashlib.sha256()
    for path in sorted((CHECKOUT / "ddpm_jax").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def copy(folder: Path, to: Path) -> None:
    """Copy a folder with the times of its files; links stay links, for W&B's point to places that are not there."""
    shutil.copytree(folder, to, symlinks=True)


def choose(rng: random.Random, weights: Mapping[str, float]) -> str:
    """One of the keys, by its weight."""
    return rng.choices(list(weights), list(weights.values()))[0]
