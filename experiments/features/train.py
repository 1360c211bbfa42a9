"""Train the features that come with the package, and print the hash that `ddpm_jax/metrics/kept.py` knows each by.

    python experiments/features/train.py mnist colour --data_dir=TFDS

Another machine rounds differently and so trains other weights, by which no earlier distance compares: the files are
made once and kept. Weights are rounded to float16, but for those of the digits, which are older than that.
"""

from collections.abc import Sequence

import numpy as np
import safetensors.numpy as safetensors

import ddpm_jax as dj
from ddpm_jax import commands
from ddpm_jax.files import write_bytes
from ddpm_jax.metrics.features import Recipe, from_weights, train
from ddpm_jax.metrics.kept import FOLDER

OF = {
    "digits": ("digits", {}, Recipe(), np.float32),
    "mnist": ("mnist", {}, Recipe(), np.float16),
    "colour": ("cifar10", {"train": "train", "test": "test"}, Recipe(dimension=128, epochs=12, shift=2), np.float16),
}


def make(name: str, data_dir: str | None) -> str:
    """Train and write one; its hash and its accuracy on the test split, as words."""
    source, splits, recipe, kind = OF[name]
    data = dj.data.load(source, data_dir, splits or None)
    (images, known), (held_out, held_out_known) = (data.split(split).arrays() for split in ("train", "test"))
    levels, classes = len(data.description.values), data.description.labels
    weights = {
        key: leaf.astype(kind) for key, leaf in train(images, known["label"], levels, classes, recipe, True).items()
    }
    found = from_weights(name, weights, levels, classes, recipe.dimension)
    assert found.predict is not None
    accuracy = float(np.mean(found.predict(held_out).argmax(1) == held_out_known["label"]))
    about = {"classes": str(classes), "dimension": str(recipe.dimension), "accuracy": repr(accuracy)}
    write_bytes(FOLDER / f"{name}.safetensors", safetensors.save(weights, about))
    return f"{name}: hash {found.hash}, right on {accuracy:.1%} of {len(held_out)} test images"


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    parser = commands.Parser(prog="python experiments/features/train.py", description=__doc__)
    parser.add_argument("names", nargs="+", choices=OF)
    parser.add_argument("--data_dir", help="a TFDS data directory")
    options = commands.parse(parser, arguments)
    for name in options.names:
        print(make(name, options.data_dir))


if __name__ == "__main__":
    commands.run(main)
