"""The features in which sample quality is measured, each set with a name and a hash of its weights.

A Frechet distance means nothing without its features. `Features` is what the metrics ask for, and any embedding fits
it. Those of `kept.py` come with the package; `load_features` makes others: a small classifier trained on the data's own
training split by one fixed recipe, or a random network where there are no labels. Only Inception features would make
the distance an "FID".
"""

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import safetensors.numpy as safetensors
from jaxtyping import Array, Float, Integer, Key, PyTree, UInt8

from ddpm_jax import cache
from ddpm_jax import progress as shown
from ddpm_jax.errors import UserError
from ddpm_jax.files import Record, sha256
from ddpm_jax.models import classifier

BLOCK = 500  # images at a time, the last block padded: one compilation, bounded memory


@dataclasses.dataclass(frozen=True)
class Features:
    """An embedding of images. Figures on different names or hashes do not compare.

    >>> means = Features("pixel means", "0" * 16, 1, None, lambda images: images.mean((1, 2)).astype(np.float64), None)
    >>> means.extract(np.ones((5, 8, 8, 1), np.uint8)).shape
    (5, 1)
    """

    name: str
    hash: str  # 16 hexadecimal digits of the sha256 of the weights
    dimension: int
    accuracy: float | None  # on held-out images with labels; None where there are none
    extract: Callable[[UInt8[np.ndarray, "n *site"]], Float[np.ndarray, "n features"]]  # float64
    predict: Callable[[UInt8[np.ndarray, "n *site"]], Float[np.ndarray, "n classes"]] | None  # class probabilities


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How the classifier is trained. Any change of it, or of `version`, makes other features."""

    version: int = 1
    dimension: int = 64
    batch: int = 128
    epochs: float = 6.0
    least_steps: int = 600
    rate: float = 2e-3  # Adam, cosine decay to zero
    weight_decay: float = 1e-3
    shift: int = 1  # pixels, each way, edges repeated
    seed: int = 0

    def steps(self, images: int) -> int:
        return max(self.least_steps, round(self.epochs * images / self.batch))


def load_features(
    images: UInt8[np.ndarray, "n *space channels"],
    labels: Integer[np.ndarray, " n"] | None,
    levels: int,
    classes: int,
    held_out_images: UInt8[np.ndarray, "m *space channels"] | None = None,
    held_out_labels: Integer[np.ndarray, " m"] | None = None,
    *,
    recipe: Recipe | None = None,
    progress: bool = True,
) -> Features:
    """The features of a data set, from its training split: trained once, then read from the cache.

    `images` hold integers 0..levels-1 and are scaled to [-1, 1]. With labels: "trained-cnn", the last hidden layer of
    a classifier trained by `recipe`; its accuracy is measured on the held-out images. Images whose label is unknown
    (`classes`, or anything that is no class) have no part in either. Without any label, or with `classes` = 0:
    "random-cnn", the same layer of an untrained network, which is weaker (it sees texture and layout, no meaning).

    The weights lie in the cache, by the recipe and the data. Another machine or device rounds differently and so trains
    weights of another hash; those of `kept.py` are the same everywhere.
    """
    recipe = recipe or Recipe()
    shape = images.shape[1:]
    if min(shape[:-1]) < 8:
        raise UserError(f"features need images of at least 8 pixels a side, these are {shape}: evaluate larger images")
    if classes and labels is None:
        raise ValueError(f"{classes} classes but no labels")
    images, labels = _known(images, labels, classes)
    if not len(labels):
        weights = _host(classifier.init(jax.random.key(recipe.seed), shape, 1, recipe.dimension))
        return from_weights("random-cnn", weights, levels, 0, recipe.dimension)
    made_from = [repr(recipe), shape, levels, classes, images, labels.astype(np.int64)]
    kept = cache.load("features", made_from)
    if kept is None:
        weights = train(images, labels, levels, classes, recipe, progress)
        cache.save("features", made_from, safetensors.save(weights))
    else:
        weights = safetensors.load(kept)
    features = from_weights("trained-cnn", weights, levels, classes, recipe.dimension)
    held_out_images, held_out_labels = _known(held_out_images, held_out_labels, classes)
    if not len(held_out_labels):
        return features
    assert features.predict is not None
    accuracy = float(np.mean(features.predict(held_out_images).argmax(1) == held_out_labels))
    return dataclasses.replace(features, accuracy=accuracy)


def _known(images, labels, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The images whose class is known, and their labels."""
    if images is None or labels is None:
        return np.empty(0), np.empty(0)
    known = (labels >= 0) & (labels < classes)
    return (images, labels) if known.all() else (images[known], labels[known])


def from_weights(
    name: str,
    weights: dict[str, np.ndarray],
    levels: int,
    classes: int,
    dimension: int,
    fit: Callable[[Float[Array, "n *site"]], Float[Array, "n *other"]] | None = None,
) -> Features:
    """The features of a classifier with these weights, by their path, for images of integers 0 ... levels - 1.

    `classes` is 0 for a network that knows none; `fit` brings images in [-1, 1] to the size that it knows. Products are
    of float32 on every device, for some would take fewer bits.
    """
    params = _nested(weights)

    @jax.jit
    def forward(params: PyTree, x: Float[Array, "n *site"]) -> tuple[Array, Array]:
        with jax.default_matmul_precision("highest"):
            return classifier.apply(params, x if fit is None else fit(x), classes or 1, dimension)

    def run(images: np.ndarray, output: int) -> np.ndarray:
        blocks = []
        for start in range(0, max(len(images), 1), BLOCK):  # of no images, the features are of the right shape
            block = images[start : start + BLOCK]
            padded = np.pad(block, [(0, BLOCK - len(block))] + [(0, 0)] * (block.ndim - 1))
            blocks.append(np.asarray(forward(params, _scaled(padded, levels))[output], np.float64)[: len(block)])
        return np.concatenate(blocks)

    def predict(images: UInt8[np.ndarray, "n *site"]) -> Float[np.ndarray, "n classes"]:
        logits = run(images, 1)
        odds = np.exp(logits - logits.max(1, keepdims=True))
        return odds / odds.sum(1, keepdims=True)

    return Features(
        name=name,
        hash=_hash(weights)[:16],
        dimension=dimension,
        accuracy=None,
        extract=lambda images: run(images, 0),
        predict=predict if classes else None,
    )


def _scaled(images, levels: int) -> Float[Array, "n *site"]:
    return 2 * jnp.asarray(images, jnp.float32) / (levels - 1) - 1


def train(
    images: UInt8[np.ndarray, "n *site"],
    labels: Integer[np.ndarray, " n"],
    levels: int,
    classes: int,
    recipe: Recipe,
    progress: bool,
) -> dict[str, np.ndarray]:
    """The classifier's weights by their path, trained by a recipe on images whose labels are all known."""
    steps = recipe.steps(len(images))
    key_init, key_steps = jax.random.split(jax.random.key(recipe.seed))
    optimiser = optax.adamw(optax.cosine_decay_schedule(recipe.rate, steps), weight_decay=recipe.weight_decay)
    pixels, targets = jnp.asarray(images), jnp.asarray(labels, jnp.int32)  # uint8: the whole split fits the device

    def loss(params, x, y):
        _, logits = classifier.apply(params, x, classes, recipe.dimension)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, number, pixels, targets):
        key_rows, key_shift = jax.random.split(jax.random.fold_in(key_steps, number))
        rows = jax.random.randint(key_rows, (recipe.batch,), 0, len(pixels), jnp.int32)
        x = _shifted(key_shift, _scaled(pixels[rows], levels), recipe.shift)
        updates, state = optimiser.update(jax.grad(loss)(params, x, targets[rows]), state, params)
        return optax.apply_updates(params, updates), state

    params = classifier.init(key_init, images.shape[1:], classes, recipe.dimension)
    state = optimiser.init(params)
    for number in shown.bar(range(steps), "training the features: step", "steps", off=not progress):
        params, state = step(params, state, number, pixels, targets)
    return _host(params)


def _shifted(key: Key[Array, ""], x: Float[Array, "n *site"], most: int) -> Float[Array, "n *site"]:
    """Each image moved by up to `most` pixels along each spatial axis, its edges repeated."""
    if not most:
        return x
    space = x.ndim - 2
    padded = jnp.pad(x, [(0, 0)] + [(most, most)] * space + [(0, 0)], mode="edge")
    starts = jax.random.randint(key, (len(x), space), 0, 2 * most + 1, jnp.int32)
    return jax.vmap(lambda image, start: jax.lax.dynamic_slice(image, (*start, 0), x.shape[1:]))(padded, starts)


def _flat(params: PyTree) -> Record:
    """A nested dict's leaves, named by their path."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _host(params: PyTree) -> dict[str, np.ndarray]:
    return {name: np.asarray(leaf) for name, leaf in _flat(params).items()}


def _nested(weights: dict[str, np.ndarray]) -> PyTree:
    params = {}
    for name, leaf in weights.items():
        *folders, last = name.split("/")
        place = params
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = jnp.asarray(leaf, jnp.float32)
    return params


def _hash(weights: dict[str, np.ndarray]) -> str:
    return sha256([part for name in sorted(weights) for part in (name, weights[name])])
