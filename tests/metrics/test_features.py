import dataclasses

import jax
import numpy as np
import pytest

from ddpm_jax.errors import UserError
from ddpm_jax.metrics import features as features_module
from ddpm_jax.metrics.features import Recipe, load_features
from ddpm_jax.metrics.features import _host as host
from ddpm_jax.models import classifier

SHORT = Recipe(least_steps=10, epochs=0.0, batch=32)


def short_features(digits, **changes):
    images, labels = digits["train"]
    recipe = dataclasses.replace(SHORT, **changes)
    return load_features(images[:100], labels[:100], 17, 10, recipe=recipe, progress=False)


@pytest.mark.slow
def test_digits_are_recognised(digits):
    images, labels = digits["test"]
    features = load_features(*digits["train"], 17, 10, images, labels, progress=False)
    assert features.name == "trained-cnn"
    assert features.accuracy >= 0.95
    probabilities = features.predict(images)
    assert np.mean(probabilities.argmax(1) == labels) == features.accuracy
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-12)


def test_features_are_a_function_of_the_image_alone(digits, digit_features):
    images = np.concatenate([digits["test"][0], digits["train"][0]])  # more than one block
    features = digit_features.extract(images)
    assert features.shape == (1447, digit_features.dimension)
    assert features.dtype == np.float64
    np.testing.assert_array_equal(digit_features.extract(images[1200:1203]), features[1200:1203])


@pytest.mark.slow
def test_cached_weights_are_read_and_belong_to_recipe_and_data(digits, cache, tmp_path, monkeypatch):
    first = short_features(digits)
    assert len(first.hash) == 16
    other = short_features(digits, seed=1)
    images, labels = digits["train"]
    fewer = load_features(images[:99], labels[:99], 17, 10, recipe=SHORT, progress=False)
    assert len({first.hash, other.hash, fewer.hash}) == len(list((cache / "features").iterdir())) == 3
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("DDPM_JAX_CACHE", str(tmp_path / "elsewhere"))
        assert short_features(digits).hash == first.hash  # one machine, one recipe: same weights
    monkeypatch.setattr(features_module, "train", None)  # training again would fail
    again = short_features(digits)
    assert again.hash == first.hash
    np.testing.assert_array_equal(again.extract(images[:5]), first.extract(images[:5]))


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text", "another's"])
def test_a_damaged_file_is_made_again(digits, cache, monkeypatch, damage):
    trained = []

    def train(images, labels, levels, classes, recipe, progress):  # in an instant
        trained.append(recipe.dimension)
        return host(classifier.init(jax.random.key(recipe.seed), images.shape[1:], classes, recipe.dimension))

    monkeypatch.setattr(features_module, "train", train)
    first = short_features(digits)
    (path,) = (cache / "features").iterdir()
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    if damage == "another's":
        short_features(digits, seed=1)
        (other,) = {*(cache / "features").iterdir()} - {path}
        content = other.read_bytes()
    damaged = {"truncated": content[: len(content) // 2], "empty": b"", "text": b"no weights here"}
    path.write_bytes(damaged.get(damage, content))
    trained.clear()
    assert short_features(digits).hash == first.hash
    assert short_features(digits).hash == first.hash
    assert trained == [64]  # once: the new file is whole


def test_without_labels_the_network_is_random_and_says_so(digits, cache):
    images = digits["train"][0]
    features = load_features(images, None, 17, 0)
    assert (features.name, features.accuracy, features.predict) == ("random-cnn", None, None)
    assert features.extract(images[:7]).shape == (7, features.dimension)
    assert features.hash == load_features(images, None, 17, 0).hash
    assert not cache.exists()


def test_images_without_a_label_have_no_part_in_the_classifier(digits, cache):
    images, labels = digits["train"]
    images, labels = images[:100], labels[:100].copy()
    known = np.arange(100) % 3 > 0
    labels[~known] = 10  # "unknown"
    part = {"recipe": SHORT, "progress": False}
    features = load_features(images, labels, 17, 10, images, labels, **part)
    alone = load_features(images[known], labels[known], 17, 10, images[known], labels[known], **part)
    assert (features.hash, features.accuracy) == (alone.hash, alone.accuracy)
    unlabelled = np.full(100, 10)
    assert load_features(images, labels, 17, 10, images, unlabelled, **part).accuracy is None
    without = load_features(images, unlabelled, 17, 10, images, labels, **part)
    assert (without.name, without.accuracy, without.predict) == ("random-cnn", None, None)
    assert without.hash == load_features(images, None, 17, 0).hash


def test_no_images_have_no_features(digits):
    features = load_features(digits["train"][0][:5], None, 17, 0)
    assert features.extract(digits["train"][0][:0]).shape == (0, features.dimension)


def test_small_images_are_a_user_error():
    with pytest.raises(UserError, match="at least 8 pixels"):
        load_features(np.zeros((4, 6, 6, 1), np.uint8), None, 2, 0)


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3), (9, 20, 3)])
def test_the_classifier_takes_any_size(shape):
    sizes = {"classes": 5, "dimension": 16}

    @jax.jit
    def answers():
        params = classifier.init(jax.random.key(0), shape, **sizes)
        return classifier.apply(params, jax.random.uniform(jax.random.key(1), (3, *shape)), **sizes)

    features, logits = answers()
    assert (features.shape, logits.shape) == ((3, 16), (3, 5))
    assert float(features.std()) > 0.01
