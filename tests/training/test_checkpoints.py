"""Checkpoints: what is saved comes back, what is kept, and damage that is found and passed over."""

import shutil
import warnings
from dataclasses import fields, replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ddpm_jax.devices.plan import Plan
from ddpm_jax.errors import UserError
from ddpm_jax.training.checkpoints import Checkpoints
from ddpm_jax.training.facts import Facts, _own_sum, packed
from ddpm_jax.training.state import new_state


def make_state(step, frozen=False):
    """A state whose every array is different at each step; some are large enough to be stored as they are."""
    rng = np.random.default_rng(step)
    params = {"w": jnp.asarray(rng.normal(size=(40, 40)), jnp.float32), "half": jnp.asarray([1.5, step], jnp.bfloat16)}
    encoder = np.random.default_rng(0).normal(size=(50, 50))
    fixed = {"encoder": jnp.asarray(encoder, jnp.float32)} if frozen else None
    state = new_state(params, (0.9, 0.99), optax.adam(1e-3), fixed, {"history": jnp.arange(3) + step})
    return replace(state, step=jnp.int32(step))


def abstract(frozen=False):
    return jax.eval_shape(lambda: make_state(0, frozen))


def save(folder, steps, losses=None, frozen=False, **keep):
    with Checkpoints(folder, Plan(), **keep) as checkpoints:
        for number, step in enumerate(steps):
            facts = Facts(10.0 * step, losses[number] if losses else float("nan"))
            checkpoints.save(make_state(step, frozen), facts)


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
        checkpoints.save(make_state(3), Facts(12.5, 0.5))
        checkpoints.save(make_state(3), Facts(99.0, 0.1))  # saved already: nothing happens
        checkpoints.wait()
        restored = checkpoints.restore(abstract())
    check_equal(restored.state, make_state(3))
    assert restored.facts == Facts(12.5, 0.5)
    with Checkpoints(folder, Plan(), read_only=True) as checkpoints:
        assert (checkpoints.steps, checkpoints.best) == ([3], 3)
        check_equal(checkpoints.restore(abstract(), 3).state, make_state(3))


def test_a_state_may_be_donated_once_it_is_saved(folder):
    with Checkpoints(folder, Plan()) as checkpoints:
        state = make_state(1)
        checkpoints.save(state, Facts())
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


@pytest.mark.parametrize("damaged", [True, False])
def test_one_whose_facts_do_not_read_is_not_dropped_for_an_old_one(folder, monkeypatch, damaged):
    """It may be the best. A damaged one is set aside; one that cannot be read just now stays as it is."""
    save(folder, [1], [0.1])
    if damaged:
        for file in (folder / "1" / "facts").rglob("*"):
            if file.is_file():
                file.write_bytes(b"")
    real = Checkpoints._load

    def load(self, step, part, asked):
        if step == 1 and not damaged:
            raise OSError(24, "Too many open files", "x")
        return real(self, step, part, asked)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "_load", load)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            save(folder, [2, 3, 4], [0.9, 0.8, 0.7], keep_latest=1)
    assert any("step 1 is set aside" in str(one.message) for one in said) == damaged
    assert (folder / "1.damaged").is_dir() == damaged
    with Checkpoints(folder, Plan(), read_only=True) as checkpoints:
        assert checkpoints.best == (4 if damaged else 1)


def test_several_processes_look_once(folder, monkeypatch):
    """Orbax reads in all of them together: one must not try again alone."""
    save(folder, [1], [0.1])
    with Checkpoints(folder, Plan(), read_only=True) as checkpoints:
        asked = []

        def fail(step, part, wanted):
            asked.append(step)
            raise OSError(24, "Too many open files", "x")

        monkeypatch.setattr(checkpoints, "_load", fail)
        assert (checkpoints.facts(1), checkpoints.facts(1)) == (None, None)
        assert asked == [1, 1]
        monkeypatch.setattr(jax, "process_count", lambda: 2)
        assert (checkpoints.facts(1), checkpoints.facts(1)) == (None, None)
        assert asked == [1, 1, 1]


EARLIER = "an earlier version of ddpm_jax saved checkpoints here"


@pytest.mark.parametrize("frozen", [False, True])
def test_those_of_an_earlier_version_are_read_and_told_as_that(folder, save_as_earlier, frozen):
    for step, loss in ((1, 0.25), (2, 0.5)):
        save_as_earlier(folder, make_state(step, frozen), 10.0 * step, loss)
    assert {path.name for path in (folder / "2").iterdir() if path.is_dir()} == {"state", "metrics"}
    with Checkpoints(folder, Plan(), read_only=True) as checkpoints, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        assert (checkpoints.steps, checkpoints.milestones, checkpoints.best) == ([1, 2], [1, 2], 1)
        restored = checkpoints.restore(abstract(frozen))
        check_equal(restored.state, make_state(2, frozen))
        check_equal(checkpoints.restore(abstract(frozen), 1).state, make_state(1, frozen))
    assert (restored.facts.elapsed, restored.facts.validation_loss, restored.facts.config) == (20.0, 0.5, 0)
    assert [str(one.message).count(EARLIER) for one in said] == [1]


def test_a_run_goes_on_from_one_of_an_earlier_version(folder, save_as_earlier):
    for step, loss in ((1, 0.25), (2, 0.5)):
        save_as_earlier(folder, make_state(step), 10.0 * step, loss)
    with Checkpoints(folder, Plan()) as checkpoints, pytest.warns(UserWarning, match=EARLIER):
        check_equal(checkpoints.resume(lambda: make_state(0), abstract()).state, make_state(2))
    save(folder, [3, 4], [0.9, 0.8])
    with Checkpoints(folder, Plan(), read_only=True) as checkpoints:
        assert (checkpoints.steps, checkpoints.best) == ([1, 3, 4], 1)


@pytest.mark.parametrize("damaged", ["arrays", "_CHECKPOINT_METADATA", "metrics/metrics"])
def test_a_damaged_one_of_an_earlier_version_is_passed_over(folder, save_as_earlier, damaged):
    for step in (1, 2):
        save_as_earlier(folder, make_state(step), 10.0 * step, 0.5)
    if damaged == "arrays":
        flip(folder / "2" / "state")
    else:
        (folder / "2" / damaged).write_text("{}")
    with (
        Checkpoints(folder, Plan(), read_only=True) as checkpoints,
        pytest.warns(UserWarning, match=r"step 2: its (arrays|metadata) are not those that were saved"),
    ):
        check_equal(checkpoints.restore(abstract()).state, make_state(1))


def test_facts_of_an_earlier_version_without_the_mark_of_validation_are_read(folder, monkeypatch):
    def pack(facts, *sums):
        tree = packed(facts, *sums)
        place = [field.name for field in fields(Facts)].index("validation")
        tree["values"] = np.delete(tree["values"], place)
        return {**tree, "own_sum": np.asarray(_own_sum(tree), np.uint32)}

    facts = Facts(10.0, 0.5, log_bytes=3, log_checksum=4, config=5, validation=6, losses=7.5, steps=8)
    with monkeypatch.context() as patch, Checkpoints(folder, Plan()) as checkpoints:
        patch.setattr("ddpm_jax.training.checkpoints.packed", pack)
        checkpoints.save(make_state(1), facts)
    with Checkpoints(folder, Plan(), read_only=True) as checkpoints:
        restored = checkpoints.restore(abstract())
    check_equal(restored.state, make_state(1))
    assert restored.facts == replace(facts, validation=0)


def test_what_is_saved_between_milestones_takes_no_place_of_theirs(folder):
    """Checkpoints without a validation loss are kept only while they are the newest."""
    nan = float("nan")
    save(folder, [1, 2, 3, 4, 5, 6], [0.9, 0.8, nan, 0.7, nan, nan], keep_latest=2, keep_best=0)
    with Checkpoints(folder, Plan(), read_only=True) as checkpoints:
        assert checkpoints.steps == [2, 4, 5, 6]
        assert checkpoints.milestones == [2, 4]
        assert checkpoints.best == 4


def test_a_validation_loss_that_comes_later_is_kept_with_its_step(folder):
    with Checkpoints(folder, Plan()) as checkpoints:
        for loss in (float("nan"), 0.5, float("nan"), 0.1):
            checkpoints.save(make_state(3), Facts(1.0, loss))
    with Checkpoints(folder, Plan(), read_only=True) as checkpoints:
        assert (checkpoints.steps, checkpoints.best) == ([3], 3)
        assert checkpoints.restore(abstract()).facts == Facts(1.0, 0.5)


def test_a_checkpoint_is_there_until_its_successor_is(folder, monkeypatch):
    """Of the same step: a disk that is full, or a kill, between the two loses neither."""
    save(folder, [3])
    with Checkpoints(folder, Plan()) as checkpoints, monkeypatch.context() as patch:

        def fail(*_):
            raise OSError(28, "No space left on device")

        patch.setitem(
            checkpoints.__dict__, "_ocp", SimpleNamespace(load=checkpoints._ocp.load, save_checkpointables_async=fail)
        )
        with pytest.raises(UserError, match="No space left"):
            checkpoints.save(make_state(3), Facts(1.0, 0.5))
        assert checkpoints.steps == [3]
    (folder / "3").rename(folder / "3.replaced")  # killed in between
    with Checkpoints(folder, Plan()) as checkpoints:
        check_equal(checkpoints.restore(abstract()).state, make_state(3))


def test_what_cannot_be_read_just_now_is_not_set_aside(folder, monkeypatch):
    save(folder, [1, 2])
    with Checkpoints(folder, Plan()) as checkpoints:

        def fail(*_, **__):
            raise OSError(24, "Too many open files", "x")

        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "_load", fail)
            with pytest.raises(UserError, match="step 2 cannot be read now: x: Too many open files"):
                checkpoints.resume(lambda: make_state(0), abstract())
        assert checkpoints.steps == [1, 2]
        check_equal(checkpoints.resume(lambda: make_state(0), abstract()).state, make_state(2))


def small_files(folder):
    """All files of a checkpoint but those that hold arrays, which orbax keeps in folders `d`."""
    return [file for file in sorted(folder.rglob("*")) if file.is_file() and file.parent.name != "d"]


def test_nothing_outside_the_arrays_is_needed_of_checkpoints_that_are_not_read(folder):
    """Whatever happens to the small files of one checkpoint, the others are read, listed, and the run goes on."""
    save(folder, [1, 2], [0.5, 0.6])
    names = [file.relative_to(folder / "1") for file in small_files(folder / "1")]
    assert len(names) >= 4
    for name in names:
        content = (folder / "1" / name).read_bytes()
        for damaged in (b"", content[: len(content) // 2], b"\xff{" + content[2:]):
            (folder / "1" / name).write_bytes(damaged)
            with Checkpoints(folder, Plan()) as checkpoints, warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)
                check_equal(checkpoints.resume(lambda: make_state(0), abstract()).state, make_state(2))
                assert checkpoints.best in (1, 2)
                assert checkpoints.steps == [1, 2]
        (folder / "1" / name).write_bytes(content)


def test_the_latest_with_a_small_file_damaged_is_read_or_set_aside(folder):
    read = 0
    for name in [file.relative_to(folder / "2") for file in (save(folder, [1, 2]), *small_files(folder / "2"))[1:]]:
        content = (folder / "2" / name).read_bytes()
        (folder / "2" / name).write_bytes(b"\xff{" + content[2:])
        with Checkpoints(folder, Plan(), read_only=True) as checkpoints, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            state = checkpoints.restore(abstract()).state
        check_equal(state, make_state(int(state.step)))
        read += int(state.step) == 2
        (folder / "2" / name).write_bytes(content)
    assert read >= 3  # orbax's own checkpoint metadata among them


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit_anywhere_never_changes_what_is_read(folder, seed):
    save(folder, [1, 2], [0.5, 0.25])
    rng = np.random.default_rng(seed)
    files = [file for file in sorted((folder / "2").rglob("*")) if file.is_file() and file.stat().st_size]
    for file in rng.choice(np.asarray(files, object), 3, replace=False):
        content = bytearray(file.read_bytes())
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        before = file.read_bytes()
        file.write_bytes(content)
        with Checkpoints(folder, Plan(), read_only=True) as checkpoints, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            restored = checkpoints.restore(abstract())
            step = int(restored.state.step)
            assert checkpoints.facts(2) in (None, Facts(20.0, 0.25))
        check_equal(restored.state, make_state(step))
        assert restored.facts == Facts(10.0 * step, 0.5 / step)
        file.write_bytes(before)


def test_a_folder_under_another_step_is_not_that_step(folder):
    save(folder, [1])
    (folder / "1").rename(folder / "7")
    with Checkpoints(folder, Plan(), read_only=True) as checkpoints, pytest.raises(UserError, match="it holds step 1"):
        checkpoints.restore(abstract())


def test_a_run_folder_that_is_removed_meanwhile_is_not_made_anew_in_part(folder):
    with Checkpoints(folder, Plan()) as checkpoints:
        checkpoints.save(make_state(1), Facts())
        checkpoints.wait()
        shutil.rmtree(folder.parent)
        with pytest.raises(UserError, match="has been removed while the run was trained"):
            checkpoints.save(make_state(2), Facts())
    assert not folder.parent.exists()


@pytest.mark.parametrize("when", ["begun", "under way"])
def test_a_full_disk_is_told_as_that_whatever_orbax_makes_of_it(folder, monkeypatch, when):
    class Saving:
        def result(self):
            raise ValueError("RESOURCE_EXHAUSTED: [OS error 28: ENOSPC No space left on device]")

    with Checkpoints(folder, Plan()) as checkpoints:
        asked = SimpleNamespace(
            save_checkpointables_async=lambda *_: Saving().result() if when == "begun" else Saving()
        )
        monkeypatch.setitem(checkpoints.__dict__, "_ocp", asked)
        with pytest.raises(
            UserError, match="nothing can be saved: the disk is full; the same command goes on"
        ) as caught:
            checkpoints.save(make_state(1), Facts())
            checkpoints.wait()
        assert "\n" not in str(caught.value)


def test_what_a_killed_process_leaves_is_no_checkpoint_and_goes(folder):
    save(folder, [3])
    for name in ("4.orbax-checkpoint-tmp", "5.orbax-checkpoint-tmp-1", "2.deleted", "6", "3.replaced"):
        (folder / name).mkdir()
    (folder / "2.deleted" / "file").write_text("")
    (folder / "notes").mkdir()
    with Checkpoints(folder, Plan(), read_only=True) as checkpoints:
        assert checkpoints.steps == [3]
    with Checkpoints(folder, Plan()) as checkpoints:
        assert checkpoints.steps == [3]
    assert sorted(path.name for path in folder.iterdir()) == ["3", "6", "notes"]


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
        pytest.warns(UserWarning, match=r"checkpoint step 2.*; trying the one before"),
    ):
        check_equal(checkpoints.restore(abstract()).state, make_state(1))


@pytest.mark.parametrize("damage", [flip, truncate])
def test_a_resumed_run_sets_aside_what_it_passed_over(folder, damage):
    save(folder, [1, 2])
    damage(folder / "2")
    with Checkpoints(folder, Plan()) as checkpoints:
        with pytest.warns(UserWarning, match="trying the one before"):
            restored = checkpoints.resume(lambda: make_state(0), abstract())
        assert (int(restored.state.step), restored.facts.elapsed) == (1, 10.0)
        assert checkpoints.steps == [1]
        assert (folder / "2.damaged").is_dir()
        checkpoints.save(make_state(2), Facts(20.0))
    with Checkpoints(folder, Plan(), read_only=True) as checkpoints:
        check_equal(checkpoints.restore(abstract()).state, make_state(2))


def test_an_emptied_folder_is_no_checkpoint_and_is_said(folder):
    save(folder, [1])
    (folder / "2").mkdir()
    with (
        Checkpoints(folder, Plan()) as checkpoints,
        pytest.warns(UserWarning, match="step 2 is empty; trying the one before"),
    ):
        assert int(checkpoints.resume(lambda: make_state(0), abstract()).state.step) == 1
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


def test_a_state_of_parameters_by_other_names(folder):
    """Which no version gave them."""
    save(folder, [1, 2])
    renamed = replace(abstract(), params={"labels": abstract().params["w"], "half": abstract().params["half"]})
    with (
        Checkpoints(folder, Plan()) as checkpoints,
        pytest.warns(UserWarning, match="other parameters"),
        pytest.raises(UserError, match="step 1: it holds other parameters than this model has") as caught,
    ):
        checkpoints.restore(renamed)
    assert len(str(caught.value).splitlines()) == 1


def test_no_checkpoint(folder):
    with Checkpoints(folder, Plan()) as checkpoints:
        with pytest.raises(UserError, match="no checkpoint here yet; train first"):
            checkpoints.restore(abstract())
        fresh = checkpoints.resume(lambda: make_state(0), abstract())
    check_equal(fresh.state, make_state(0))
    assert fresh.facts.elapsed == 0.0


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
