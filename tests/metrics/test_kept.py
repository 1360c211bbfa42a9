import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.errors import UserError
from ddpm_jax.metrics import kept
from ddpm_jax.metrics.frechet import frechet_distance
from ddpm_jax.metrics.kept import KEPT, fitted, load_kept, suited, tells_classes


@pytest.mark.parametrize("name", KEPT)
def test_each_is_the_file_of_its_hash_and_a_function_of_the_image(name):
    found = load_kept(name, 256)
    assert (found.name, found.hash) == (name, KEPT[name].hash)
    images = np.random.default_rng(0).integers(0, 256, (12, *KEPT[name].shape)).astype(np.uint8)
    features = found.extract(images)
    assert features.shape == (12, found.dimension)
    np.testing.assert_array_equal(found.extract(images[5:7]), features[5:7])
    assert features.std(0).min() > 0


def test_digits_are_recognised(digits):
    found = load_kept("digits", 17)
    images, labels = digits["test"]
    assert np.mean(found.predict(images).argmax(1) == labels) == pytest.approx(found.accuracy, abs=1e-12)
    assert found.accuracy > 0.95


@pytest.mark.parametrize(("name", "source"), [("mnist", "mnist"), ("colour", "cifar10")])
def test_the_others_tell_the_classes_that_they_were_trained_on(name, source, tfds_dir):
    from ddpm_jax import data

    images, known = data.load(source, tfds_dir, {"test": "test[:500]"}).split("test").arrays()
    found = load_kept(name, 256)
    right = np.mean(found.predict(images).argmax(1) == known["label"])
    assert abs(right - found.accuracy) < 4 * np.sqrt(found.accuracy * (1 - found.accuracy) / 500)


@pytest.mark.slow
def test_a_distance_has_the_same_digits_in_another_process_with_another_cache_and_another_count_of_threads(tmp_path):
    program = (
        "import json, numpy as np\n"
        "from ddpm_jax.metrics.kept import load_kept\n"
        "from ddpm_jax.metrics.frechet import frechet_distance\n"
        "images = np.random.default_rng(1).integers(0, 17, (200, 8, 8, 1)).astype(np.uint8)\n"
        "features = load_kept('digits', 17).extract(images)\n"
        "print(json.dumps(frechet_distance(features[:100], features[100:])))\n"
    )
    found = []
    for number, flags in enumerate(("", "--xla_cpu_multi_thread_eigen=false")):
        env = {**os.environ, "DDPM_JAX_CACHE": str(tmp_path / f"{number}"), "XLA_FLAGS": flags}
        env["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / f"compiled{number}")
        done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout))
    assert found[0] == found[1]


def test_which_data_have_which():
    assert suited("digits", (8, 8, 1)) == "digits"
    assert suited("mnist", (28, 28, 1)) == "mnist"
    assert suited("binarised_mnist", (28, 28, 1)) == "mnist"
    assert suited("mnist", (32, 32, 1)) == "colour"
    assert suited("pictures", (64, 48, 3)) == "colour"
    assert suited("pictures", (64, 48, 1)) == "colour"
    assert suited("still_lifes/32", (32, 32, 3)) == "colour"
    for shape in ((64, 3), (16, 16, 16, 3), (16, 16, 4), (4, 16, 3)):
        assert suited("others", shape) is None
    assert tells_classes("colour", "cifar10") and not tells_classes("colour", "pictures")


def test_larger_levels_are_the_same_image():
    coarse = np.random.default_rng(2).integers(0, 17, (5, 8, 8, 1)).astype(np.uint8)
    in_17, in_241 = load_kept("digits", 17).extract(coarse), load_kept("digits", 241).extract(coarse * 15)
    np.testing.assert_allclose(in_17, in_241, atol=1e-4)


def test_resizing_keeps_brightness_and_grey_is_no_colour():
    x = jax.random.uniform(jax.random.key(0), (3, 64, 64, 1))
    y = fitted(x, (32, 32, 3))
    assert y.shape == (3, 32, 32, 3)
    np.testing.assert_array_equal(y[..., 0], y[..., 2])
    np.testing.assert_allclose(y.mean((1, 2, 3)), x.mean((1, 2, 3)), atol=5e-3)
    ramp = jnp.broadcast_to(jnp.linspace(-1.0, 1.0, 64)[None, :, None, None], (1, 64, 64, 3))
    middle = np.asarray(fitted(ramp, (32, 32, 3)))[0, 4:-4, 10, 0]
    np.testing.assert_allclose(np.diff(middle), 4 / 63, atol=1e-5)


@pytest.mark.parametrize("damage", ["missing", "another"])
def test_a_damaged_file_is_one_line(damage, tmp_path, monkeypatch):
    if damage == "another":
        content = (kept.FOLDER / "digits.safetensors").read_bytes()
        (tmp_path / "digits.safetensors").write_bytes(content[:-4] + b"\0\0\0\0")
    monkeypatch.setattr(kept, "FOLDER", tmp_path)
    kept._read.cache_clear()
    with pytest.raises(UserError, match="install ddpm_jax again"):
        load_kept("digits", 17)
    kept._read.cache_clear()


def test_sets_of_one_kind_are_nearer_than_others(digits):
    found = load_kept("digits", 17)
    images, labels = digits["train"]
    ones, sevens = (found.extract(images[labels == kind]) for kind in (1, 7))
    half = len(ones) // 2
    assert frechet_distance(ones[:half], ones[half:]) < 0.3 * frechet_distance(ones, sevens)
