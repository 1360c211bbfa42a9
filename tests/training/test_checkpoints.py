"""Checkpoints: what is saved comes back, what is kept, and damage that is found and passed over."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ddpm_jax.errors import UserError
from ddpm_jax.parallel import Plan
from ddpm_jax.training.checkpoints import Checkpoints
from ddpm_jax.training.state import TrainState, new_state


def make_state(step, frozen=False):
    """A state whose every array is different at each step; some are large enough to be stored as they are."""
    rng = np.random.default_rng(step)
    params = {"w": jnp.asarray(rng.normal(size=(40, 40)), jnp.float32), "half": jnp.asarray([1.5, step], jnp.bfloat16)}
    encoder = np.random.default_rng(0).normal(size=(50, 50))
    fixed = {"encoder": jnp.asarray(encoder, jnp.float32)} if frozen else None
    state = new_state(params, (0.9, 0.99), optax.adam(1e-3), fixed, {"history": jnp.arange(3) + step})
    return TrainState(state.params, state.frozen, state.ema, state.opt_state, state.extra, jnp.int32(step))


def abstract(frozen=False):
    return jax.eval_shape(lambda: make_state(0, frozen))


def save(folder, steps, losses=None, frozen=False, **keep):
    with Checkpoints(folder, Plan(), **keep) as checkpoints:
        for number, step in enumerate(steps):
            checkpoints.save(make_state(step, frozen), 10.0 * step, losses[number] if losses else None)


def check_equal(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


def largest_file(folder):
    return max((file for file in folder.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)


def flip(folder):
    """Change one bit in the middle of the arrays."""
    file = largest_file(folder)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def truncate(folder):
    file = largest_file(folder)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(folder):
    for file in sorted(folder.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()


def test_what_is_saved_comes_back(folder):
    with Checkpoints(folder, Plan()) as checkpoints:
        assert checkpoints.steps == []
        assert checkpoints.best is None
        checkpoints.save(make_state(3), 12.5, 0.5)
        checkpoints.save(make_state(3), 99.0, 0.1)  # saved already: nothing happens
        checkpoints.wait()
        restored = checkpoints.restore(abstract())
    check_equal(restored.state, make_state(3))
    assert restored.elapsed == 12.5
    with Checkpoints(folder, Plan(), read_only=True) as checkpoints:
        assert (checkpoints.steps, checkpoints.best) == ([3], 3)
        check_equal(checkpoints.restore(abstract(), 3).state, make_state(3))


def test_a_state_may_be_donated_once_it_is_saved(folder):
    with Checkpoints(folder, Plan()) as checkpoints:
        state = make_state(1)
        checkpoints.save(state, 0.0)
        for leaf in jax.tree.leaves(state):
            leaf.delete()
    with Checkpoints(folder, Plan(), read_only=True) as checkpoints:
        check_equal(checkpoints.restore(abstract()).state, make_state(1))


def test_what_is_kept(folder):
    losses = [0.9, 0.2, 0.8, 0.7, 0.6, 0.5, 0.4]
    save(folder, [1, 2, 3, 4, 5, 6, 7], losses, keep_latest=2, keep_every=4)
    with Checkpoints(folder, Plan(), read_only=True) as checkpoints:
        assert checkpoints.steps == [2, 4, 6, 7]
        assert checkpoints.best == 2
        check_equal(checkpoints.restore(abstract(), checkpoints.best).state, make_state(2))
        check_equal(checkpoints.restore(abstract()).state, make_state(7))


def test_the_latest_alone(folder):
    save(folder, [1, 2, 3], keep_latest=1, keep_best=0)
    with Checkpoints(folder, Plan(), read_only=True) as checkpoints:
        assert checkpoints.steps == [3]
        assert checkpoints.best is None


@pytest.mark.parametrize("damage", [flip, truncate, empty])
def test_damage_falls_back_to_the_one_before(folder, damage):
    save(folder, [1, 2])
    damage(folder / "2")
    with (
        Checkpoints(folder, Plan(), read_only=True) as checkpoints,
        pytest.warns(UserWarning, match=r"checkpoint step 2: .*; trying the one before"),
    ):
        check_equal(checkpoints.restore(abstract()).state, make_state(1))


@pytest.mark.parametrize("damage", [flip, truncate])
def test_a_resumed_run_deletes_what_it_passed_over(folder, damage):
    save(folder, [1, 2])
    damage(folder / "2")
    with Checkpoints(folder, Plan()) as checkpoints:
        with pytest.warns(UserWarning, match="trying the one before"):
            state, elapsed = checkpoints.resume(lambda: make_state(0), abstract())
        assert (int(state.step), elapsed) == (1, 10.0)
        assert checkpoints.steps == [1]
        checkpoints.save(make_state(2), 20.0)
    with Checkpoints(folder, Plan(), read_only=True) as checkpoints:
        check_equal(checkpoints.restore(abstract()).state, make_state(2))


def test_an_empty_folder_of_a_killed_process_is_no_checkpoint(folder):
    save(folder, [1])
    (folder / "2").mkdir()
    with Checkpoints(folder, Plan()) as checkpoints, warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        state, _ = checkpoints.resume(lambda: make_state(0), abstract())
        assert int(state.step) == 1
    assert not (folder / "2").exists()


def test_all_unreadable(folder):
    save(folder, [1, 2])
    flip(folder / "1")
    truncate(folder / "2")
    with Checkpoints(folder, Plan()) as checkpoints, pytest.warns(UserWarning, match="step 2"):
        with pytest.raises(UserError, match=r"no checkpoint can be read \(step 2: .*; step 1: .*\)") as caught:
            checkpoints.resume(lambda: make_state(0), abstract())
        assert "\n" not in str(caught.value)
        assert checkpoints.steps == [1, 2]  # nothing is deleted that was not replaced


def test_a_state_of_another_shape(folder):
    save(folder, [1])
    other = jax.eval_shape(lambda: new_state({"w": jnp.zeros((3, 3))}, (0.9, 0.99), optax.adam(1e-3)))
    with (
        Checkpoints(folder, Plan(), read_only=True) as checkpoints,
        pytest.raises(UserError, match="no checkpoint can be read"),
    ):
        checkpoints.restore(other)


def test_no_checkpoint(folder):
    with Checkpoints(folder, Plan()) as checkpoints:
        with pytest.raises(UserError, match="no checkpoint here yet; train first"):
            checkpoints.restore(abstract())
        state, elapsed = checkpoints.resume(lambda: make_state(0), abstract())
    check_equal(state, make_state(0))
    assert elapsed == 0.0


def test_frozen_parameters_are_saved_once(folder):
    save(folder, [1], frozen=True)
    kept = folder.parent / "frozen"
    before = {file: file.stat().st_mtime_ns for file in kept.rglob("*")}
    assert before
    save(folder, [2], frozen=True)
    assert {file: file.stat().st_mtime_ns for file in kept.rglob("*")} == before
    with Checkpoints(folder, Plan(), read_only=True) as checkpoints:
        check_equal(checkpoints.restore(abstract(frozen=True)).state, make_state(2, frozen=True))
        check_equal(checkpoints.restore(abstract(frozen=True), 1).state, make_state(1, frozen=True))


@pytest.mark.parametrize("damage", [flip, truncate, empty])
def test_damaged_frozen_parameters(folder, damage):
    save(folder, [1], frozen=True)
    damage(folder.parent / "frozen")
    with (
        Checkpoints(folder, Plan(), read_only=True) as checkpoints,
        pytest.raises(UserError, match=r"no checkpoint can be read \(step 1: .*frozen"),
    ):
        checkpoints.restore(abstract(frozen=True))


def test_without_frozen_parameters_there_is_no_such_folder(folder):
    save(folder, [1])
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoints"]
