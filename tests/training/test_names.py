"""Steps with the parameters' names of an earlier version: read as those of this one, whatever else is in the state."""

import shutil
import warnings
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ddpm_jax import models
from ddpm_jax.conditions import labels
from ddpm_jax.devices.plan import Plan
from ddpm_jax.errors import UserError
from ddpm_jax.training import names
from ddpm_jax.training.checkpoints import Checkpoints
from ddpm_jax.training.facts import Facts
from ddpm_jax.training.state import new_state

THEN = {
    "unet": {"['labels']['embedding']": (4, 32)},
    "ddpmpp": {"['labels']['kernel']": (3, 8), "['labels']['bias']": (8,)},
    "ncsnpp": {"['labels']['kernel']": (3, 16), "['labels']['bias']": (16,)},
    "dit": {"['labels']['embedding']": (4, 8)},
    "transformer": {"['labels']['embedding']": (4, 8)},
    "causal_transformer": {"['labels']['embedding']": (4, 8)},
}
"""The label's parameters in networks of these options, with three classes, as commit 27d1bfa made them."""

OPTIONS = {"channels": 8, "groups": 4, "multipliers": (1,), "blocks": 1, "depth": 1, "heads": 1}


def parameters_of(name):
    """Of a small network, by their shapes."""
    known = {**OPTIONS, "attention_resolutions": ()}
    options = {option: known[option] for option in models.options(name) if option in known}
    sites = models.Sites(tuple(range(16))) if name in models.SEQUENTIAL else None
    network = models.make(name, (4, 4, 2), 2, models.Conditioning(labels(3)), sites, **options)
    return jax.eval_shape(network.init, jax.random.key(0))


ARRAYS = {name: np.random.default_rng(place).normal(size=(5, 5)) for place, name in enumerate(("first", "label", "up"))}
"""All of one shape: two that change places would not be found by their shapes."""


def parameters(then):
    """Those of a network told a label, as it was or as it is; `then`, the label's stand between the others."""
    first, label, up = ({"embedding": jnp.asarray(array, jnp.float32)} for array in ARRAYS.values())
    told = {"labels": label} if then else {"conditioning": {"label": label}}
    return {"network": {"first": first, "up": up, **told}, "schedule": {}}


def make_state(step=3, then=False):
    """A state after one step, whose moments and averages are no zeros and no copies."""
    optimizer, params = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam()), parameters(then)
    state = new_state(params, (0.9, 0.99), optimizer)
    _, moments = optimizer.update(jax.tree.map(jnp.sin, params), state.opt_state)
    ema = {decay: jax.tree.map(lambda leaf, d=decay: float(d) * leaf, params) for decay in state.ema}
    return replace(state, ema=ema, opt_state=moments, step=jnp.int32(step), skipped=jnp.asarray([2, 1], jnp.int32))


def check_equal(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def restored(folder, wanted=None):
    with Checkpoints(folder, Plan(), read_only=True) as checkpoints:
        return checkpoints.restore(jax.eval_shape(lambda: wanted or make_state()))


def restored_of_then(folder):
    with pytest.warns(UserWarning, match="an earlier version of ddpm_jax saved checkpoints here"):
        return restored(folder)


def save(folder, *states):
    with Checkpoints(folder, Plan()) as checkpoints:
        for state in states:
            checkpoints.save(state, Facts(10.0, 0.5))


def places(tree):
    return {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree.leaves_with_path(tree)}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


def test_what_was_saved_by_the_names_of_then_comes_back_by_those_of_today(folder):
    save(folder, make_state(then=True))
    found = restored_of_then(folder)
    check_equal(found.state, make_state())
    assert found.facts == Facts(10.0, 0.5)


def test_and_so_does_a_step_in_the_form_of_then(folder, save_as_earlier):
    """Which does not count skipped steps."""
    save_as_earlier(folder, make_state(then=True), 10.0, 0.5)
    check_equal(restored_of_then(folder).state, replace(make_state(), skipped=jnp.zeros(2, jnp.int32)))


def test_a_run_goes_on_in_the_folder_by_the_names_of_today(folder):
    save(folder, make_state(2, then=True))
    with Checkpoints(folder, Plan()) as checkpoints, pytest.warns(UserWarning, match="are given the names of this one"):
        known = checkpoints.resume(make_state, jax.eval_shape(make_state))
        check_equal(known.state, make_state(2))
        checkpoints.save(replace(known.state, step=jnp.int32(4)), Facts())
    check_equal(restored(folder).state, make_state(4))
    shutil.rmtree(folder / "4")
    check_equal(restored_of_then(folder).state, make_state(2))


def test_arrays_that_changed_places_are_found_by_the_checksum_of_then(folder):
    save(folder, make_state(2, then=True), make_state(3, then=True))
    other = make_state(3, then=True)
    network = other.params["network"]
    changed = {**network, "first": network["labels"], "labels": network["first"]}
    save(folder.parent / "other", replace(other, params={**other.params, "network": changed}))
    shutil.rmtree(folder / "3" / "state")
    shutil.copytree(folder.parent / "other" / "3" / "state", folder / "3" / "state")
    with pytest.warns(UserWarning, match="step 3: its arrays are not those that were saved"):
        check_equal(restored_of_then(folder).state, make_state(2))


def test_names_of_today_are_read_at_once_and_without_a_word(folder, monkeypatch):
    save(folder, make_state())
    monkeypatch.setattr(names, "before", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        check_equal(restored(folder).state, make_state())


@pytest.mark.parametrize("name", THEN)
def test_the_label_of_every_network_lay_where_it_is_looked_for(name):
    ours = parameters_of(name)
    then, now = places(names.before(ours)), places(ours)
    assert {place: then[place] for place in then if place not in now} == THEN[name]
    assert all(place.startswith("['conditioning']") for place in now if place not in then)


def test_what_is_told_besides_the_label_stays():
    text, label = jnp.ones(2), jnp.zeros(3)
    tree = {"conditioning": {"label": label, "text": text}}
    assert places(names.before(tree)) == {"['conditioning']['text']": (2,), "['labels']": (3,)}


def test_a_pixelcnn_whose_blocks_had_a_label_each_is_refused_in_a_line(folder):
    today = new_state(parameters_of("pixelcnn"), (), optax.identity())
    save(folder, make_state(then=True))
    with pytest.raises(UserError, match="no renaming makes these parameters of it") as caught:
        restored(folder, today)
    assert "\n" not in str(caught.value)
