import contextlib
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

from ddpm_jax.conditions import Conditions, Picture, Text, Vector
from ddpm_jax.conditions import labels as classes
from ddpm_jax.data import Description, Source, draw, fits_device, from_arrays, host_batches, prefetch


def source_of(count, shape=(2, 3, 1)):
    """Image i holds i everywhere but in its last column, where it holds 255; its label is i."""
    images = np.broadcast_to(np.arange(count, dtype=np.uint8).reshape(-1, *[1] * len(shape)), (count, *shape)).copy()
    images[..., -1, :] = 255
    labels = np.arange(count, dtype=np.int32)
    description = Description("numbered", "1.0.0", shape, 256, classes(count))
    return Source(description, count, lambda rows: (images[rows], {"label": labels[rows]}))


def keys_of(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def flipped_rows(batch):
    """Which rows are flipped, after checking that each is its image or that image reversed on the last spatial axis."""
    x, labels = np.asarray(batch["image"]), np.asarray(batch["condition"]["label"])
    flips = x[..., 0, 0].reshape(len(x), -1)[:, 0] == 255
    straight = np.where(flips.reshape(-1, *[1] * (x.ndim - 1)), x[..., ::-1, :], x)
    assert (straight[..., -1, :] == 255).all()
    assert (straight[..., :-1, :] == labels.reshape(-1, *[1] * (x.ndim - 1))).all()
    return flips


@pytest.mark.parametrize("shape", [(3, 1), (2, 3, 1), (2, 2, 3, 2)])
def test_draw_is_uniform_and_flips_half(shape):
    images, conditions = jax.tree.map(jnp.asarray, source_of(20, shape).arrays())
    count = 20_000
    batch = jax.jit(lambda keys: draw(images, conditions, keys, flip=True))(keys_of(count))
    assert batch["image"].dtype == jnp.uint8
    assert batch["condition"]["label"].dtype == jnp.int32
    flips = flipped_rows(batch)
    counts = np.bincount(2 * np.asarray(batch["condition"]["label"]) + flips, minlength=40)
    expected = count / 40  # each image, straight and flipped, alike
    assert ((counts - expected) ** 2 / expected).sum() < chi2.ppf(1 - 1e-6, 39)


@pytest.mark.parametrize("flip", [False, True])
def test_an_example_depends_on_its_own_key_alone(flip):
    images, conditions = jax.tree.map(jnp.asarray, source_of(50).arrays())
    keys = keys_of(64)
    whole = draw(images, conditions, keys, flip)
    order = np.random.default_rng(0).permutation(64)[:10]
    part = draw(images, conditions, keys[order], flip)
    jax.tree.map(np.testing.assert_array_equal, part, jax.tree.map(lambda value: value[order], whole))


def test_flipping_does_not_change_which_images_are_drawn():
    images, conditions = jax.tree.map(jnp.asarray, source_of(50).arrays())
    plain, flipped = (draw(images, conditions, keys_of(64), flip) for flip in (False, True))
    np.testing.assert_array_equal(plain["condition"]["label"], flipped["condition"]["label"])
    assert not flipped_rows(plain).any()
    assert flipped_rows(flipped).any()


def test_host_batches_are_a_pure_function_of_seed_and_step():
    batches = host_batches(source_of(23), seed=4, batch=8, flip=True)
    assert batches[0]["image"].dtype == np.uint8
    assert batches[0]["condition"]["label"].dtype == np.int32
    later = batches[7]
    again = host_batches(source_of(23), seed=4, batch=8, flip=True)[7]  # a resumed run: nothing but the step
    jax.tree.map(np.testing.assert_array_equal, later, again)
    other = host_batches(source_of(23), seed=5, batch=8, flip=True)[7]
    assert (other["condition"]["label"] != later["condition"]["label"]).any()


def test_every_image_comes_once_an_epoch_and_epochs_differ():
    batches = host_batches(source_of(30), seed=0, batch=8)  # 8 does not divide 30
    labels = np.concatenate([batches[step]["condition"]["label"] for step in range(15)]).reshape(4, 30)
    for epoch in labels:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(30))
    for one, other in zip(labels, [*labels[1:], np.arange(30)], strict=True):
        assert (one != other).sum() > 15


def test_the_rows_of_all_processes_are_the_global_batch():
    whole = host_batches(source_of(23), seed=1, batch=12, flip=True)
    for parts in ([slice(0, 6), slice(6, 12)], [range(4), range(4, 8), range(8, 12)], [slice(0, 12)]):
        loaded = [host_batches(source_of(23), 1, 12, rows, flip=True)[5] for rows in parts]
        joined = jax.tree.map(lambda *parts: np.concatenate(parts), *loaded)
        jax.tree.map(np.testing.assert_array_equal, joined, whole[5])


def test_host_flips_are_fair_and_independent_of_the_image():
    batches = host_batches(source_of(200), seed=3, batch=500, flip=True)
    found = [batches[step] for step in range(8)]
    flips = np.concatenate([flipped_rows(batch) for batch in found])
    counts = np.bincount(2 * np.concatenate([batch["condition"]["label"] for batch in found]) + flips, minlength=400)
    # Each image comes 20 times exactly: 200 sets of 20 coins.
    assert ((counts - 10) ** 2 / 10).sum() < chi2.ppf(1 - 1e-6, 200)


def test_neighbouring_seeds_do_not_share_epochs():
    epochs = {}
    for seed in range(4):
        batches = host_batches(source_of(30), seed, batch=30)
        epochs |= {(seed, epoch): tuple(batches[epoch]["condition"]["label"].tolist()) for epoch in range(4)}
    assert len(set(epochs.values())) == 16


@pytest.mark.parametrize("rows", [slice(8, 12), range(4, 9), range(0)])
def test_rows_outside_the_batch_are_refused(rows):
    with pytest.raises(ValueError, match="batch of 8"):
        host_batches(source_of(5), 0, 8, rows)


def test_prefetch_keeps_the_order_and_works_ahead():
    made = []

    class Numbers:
        def __getitem__(self, step):
            time.sleep(0.01 * (step % 3))
            made.append(step)
            return step

    assert list(prefetch(Numbers(), 5, 25, depth=3, threads=3)) == list(range(5, 25))
    assert list(prefetch(Numbers(), 5, 5)) == []
    made.clear()
    ahead = prefetch(Numbers(), 0, 10, depth=2)
    assert next(ahead) == 0
    time.sleep(0.2)
    assert made == [0, 1, 2]  # two ahead, and no further
    ahead.close()


def prefetch_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_prefetch_raises_at_the_batch_that_failed_and_stops_its_threads():
    class Failing:
        def __getitem__(self, step):
            if step == 3:
                raise OSError("the third")
            return step

    seen = []
    with pytest.raises(OSError, match="the third"):
        for step in prefetch(Failing(), 0, 10, depth=4, threads=2):
            seen.append(step)
    assert seen == [0, 1, 2]
    assert not prefetch_threads()
    with contextlib.closing(prefetch(range(100), 0, 100)) as ahead:
        next(ahead)
    assert not prefetch_threads()


def test_fits_device_counts_the_bytes_of_images_and_conditions():
    small = np.zeros((3, 2, 2, 1), np.uint8)
    kinds = Conditions((("pose", Vector(1000)), ("sketch", Picture((8, 8, 1))), ("text", Text((), 40))))
    values = {"pose": np.zeros((3, 1000)), "sketch": np.zeros((3, 8, 8, 1), np.uint8), "text": ["a", "b", "c"]}
    for source in (source_of(10, (4, 5, 1)), from_arrays({"train": (small, values)}, conditions=kinds).split("train")):
        size = sum(array.nbytes for array in jax.tree.leaves(source.arrays()))
        assert fits_device(source, size)
        assert not fits_device(source, size - 1)
