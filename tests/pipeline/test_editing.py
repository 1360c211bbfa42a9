"""Editing by models of both families: what is known stays, codes come back, and what cannot be is refused."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import data
from ddpm_jax.config import families
from ddpm_jax.config.base import digits, digits_transformer
from ddpm_jax.devices.plan import Plan
from ddpm_jax.editing import Averages, Inpaint, Restore, Vary
from ddpm_jax.errors import UserError
from ddpm_jax.experiment import make
from ddpm_jax.pipeline import editing
from ddpm_jax.pipeline.restored import Run

pytestmark = pytest.mark.slow


def run(family, **changes):
    """An untrained run: its draws are noise of a kind, which is all that these tests need."""
    config, dataset = digits(), data.load("digits")
    getattr(families, family)(config)
    config.update_from_flattened_dict({key.replace("__", "."): value for key, value in changes.items()})
    if family in ("masked", "autoregressive"):
        digits_transformer(config)
        config.model.depth = 1
    config.model.channels, config.sampler.batch = 16, 16
    experiment = make(config, dataset.description)
    params = experiment.model.init(jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf + 0.05 * jax.random.normal(jax.random.key(leaf.size), leaf.shape), params)
    return Run(experiment, Plan(devices=tuple(jax.devices()[:1])), dataset, params, 0)


def images(made, count=3):
    return np.asarray(made.dataset.split("test").rows(np.arange(count))["image"])


MASK = np.zeros((1, 8, 8, 1), bool)
MASK[:, 4:] = True  # the lower half: a raster order cannot see it while it draws the upper one


@pytest.mark.parametrize("family", ["flow", "masked", "autoregressive"])
def test_every_family_fills_a_hole_and_leaves_the_rest(family):
    made, how = run(family), editing.Looking(seed=1, condition={}, candidates=4)
    before = images(made)
    found = editing.inpaint(made, before, np.broadcast_to(MASK, before.shape), Inpaint(), how)
    np.testing.assert_array_equal(found.images[:, 4:], before[:, 4:])
    assert np.all([np.any(one != other) for one, other in zip(found.images[:, :4], before[:, :4], strict=True)])
    if family == "autoregressive":
        assert np.all((found.effective >= 0.999) & (found.effective <= 4.001))
        assert np.all(found.evaluations == 4 * 64)
    else:
        assert found.effective is None


@pytest.mark.parametrize("family", ["flow", "masked", "autoregressive"])
def test_a_variation_keeps_what_its_mask_says(family):
    made, how = run(family), editing.Looking(seed=1, condition={})
    before = images(made)
    found = editing.vary(made, before, np.broadcast_to(MASK, before.shape), 0.75, Vary(), how)
    np.testing.assert_array_equal(found.images[:, 4:], before[:, 4:])
    assert np.any(found.images[:, :4] != before[:, :4])


def test_an_image_is_what_its_code_is_decoded_to():
    """Of an untrained network whose estimate is nearly linear, and so exactly undone in the limit of many steps."""
    made = run("flow")
    before = images(made, 2)
    found = editing.interpolate(made, before[:1], before[1:], np.array([0.0, 1.0]), editing.Looking(condition={}))
    assert np.abs(found.images.astype(int) - before).mean() < 1.0


def test_what_is_known_stays_visible_though_steps_hide_sites_again():
    """The process may hide any site again with eta; what is drawn beside must have seen what is known at every step."""
    from ddpm_jax.editing.keeping import Shown

    task, given = Inpaint(), {"image": jnp.ones((1, 4, 1)), "mask": jnp.array([[[True], [False], [True], [False]]])}
    made = run("masked")
    hook = task.after(made.model.process, given)
    assert isinstance(hook, Shown)
    hidden = jnp.full((1, 4, 1), -2.0)
    np.testing.assert_array_equal(np.ravel(hook(jax.random.key(0), hidden, 0.5)), [1, -2, 1, -2])


def test_a_solver_without_steps_puts_nothing_back_and_says_so():
    made, how = run("flow", sampler__name="tsit5"), editing.Looking(condition={})
    before = images(made)
    mask = np.broadcast_to(MASK, before.shape)
    with pytest.raises(UserError, match="--sampler: tsit5 has no steps after which"):
        editing.inpaint(made, before, mask, Inpaint(), how)
    found = editing.vary(made, before, np.zeros_like(mask), 0.5, Vary(), how)  # nothing is known
    assert found.images.shape == before.shape


def test_what_a_family_cannot_do_is_refused():
    made, how = run("masked"), editing.Looking(condition={})
    before = images(made)
    with pytest.raises(UserError, match="--task: it is for gaussian processes, not for ordered ones"):
        editing.restore(made, np.zeros((3, 4, 4, 1), np.float32), Restore(Averages(2)), how)
    with pytest.raises(UserError, match="--task"):
        editing.interpolate(made, before[:1], before[1:2], np.array([0.5]), how)
    with pytest.raises(UserError, match="--method: tmpd is for Gaussian processes"):
        editing.inpaint(made, before, np.broadcast_to(MASK, before.shape), Inpaint("tmpd"), how)
    with pytest.raises(UserError, match="--jump: jumps are for Gaussian processes"):
        editing.inpaint(made, before, np.broadcast_to(MASK, before.shape), Inpaint(), replace(how, jump=2))


def told(**noise):
    """An untrained run that is told what is known of a picture, and its edges."""
    config = digits()
    families.flow(config)
    dataset = data.with_views(data.load("digits"), ("edges", "known"), **noise)
    config.model.conditions, config.model.channels = ("label", "edges", "known"), 16
    config.objective.condition_drop_each = 0.5
    experiment = make(config, dataset.description)
    params = experiment.model.init(jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf + 0.05 * jax.random.normal(jax.random.key(leaf.size), leaf.shape), params)
    return Run(experiment, Plan(devices=tuple(jax.devices()[:1])), dataset, params, 0)


def test_a_network_trained_for_holes_is_told_what_is_known_and_nothing_of_the_rest():
    made = told()
    before, other = images(made), images(made)
    other[:, :4] = 0  # what is hidden
    mask = np.broadcast_to(MASK, before.shape)
    edits = [editing.hole(made, one, mask, Inpaint("trained"), editing.Looking()) for one in (before, other)]
    np.testing.assert_array_equal(edits[0].condition["known"], edits[1].condition["known"])
    picture, given = np.split(edits[0].condition["known"], 2, -1)
    assert (given[:, 4:] == 1).all() and (given[:, :4] == 0).all() and (picture[:, :4] == 0).all()
    found = editing.inpaint(made, before, mask, Inpaint("trained"), editing.Looking(seed=1, film=True))
    np.testing.assert_array_equal(found.images[:, 4:], before[:, 4:])
    assert len(found.film) == 2 and found.film[0].shape == (3, len(found.times), 8, 8, 1)


def test_a_picture_to_follow_gets_the_noise_that_is_told_and_no_more_than_there_was():
    made = told(noise=0.5)
    rows = made.dataset.split("test").rows(np.arange(2))["condition"]
    how = editing.Looking(condition=rows)
    plain, noisy = (editing.follow(made, how, level).condition["edges"] for level in (0.0, 0.3))
    np.testing.assert_array_equal(plain, rows["edges"])
    assert (noisy[..., -1] == np.float32(0.3)).all()
    assert 0.2 < (noisy - rows["edges"])[..., 0].std() < 0.4
    with pytest.raises(UserError, match="the network was trained with"):
        editing.follow(made, how, 0.6)


def test_a_network_that_was_not_told_of_holes_cannot_fill_them_so():
    made = run("flow")
    with pytest.raises(UserError, match="--method: the network was not told what is known"):
        editing.hole(made, images(made), np.broadcast_to(MASK, (3, 8, 8, 1)), Inpaint("trained"), editing.Looking())


def test_only_holes_are_filled_by_what_a_network_was_told_of_them():
    made = told()
    before = images(made)
    with pytest.raises(UserError, match="--method: trained is for inpaint"):
        editing.variation(made, before, np.broadcast_to(MASK, before.shape), 0.5, Vary("trained"), editing.Looking())
    assert editing.own_method(made.model) == "trained" and editing.own_method(run("masked").model) == "replacement"


def test_a_film_of_jumps_shows_estimates_alone():
    made = run("flow", sampler__steps=6)
    before = images(made)
    how = editing.Looking(seed=1, jump=2, repeats=3, film=True)
    found = editing.inpaint(made, before, np.broadcast_to(MASK, before.shape), Inpaint(), how)
    grid = np.asarray(editing.hole(made, before, np.broadcast_to(MASK, before.shape), Inpaint(), how).sampling.grid)
    falling = set(grid[:-1][np.diff(grid) < 0].tolist())
    assert np.any(np.diff(grid) > 0) and set(found.times) <= falling


def test_a_run_edits_as_the_command_does():
    made = run("flow", model__conditions=("label",))
    before, label = images(made), {"label": np.array([3, 3, 3])}
    known = np.broadcast_to(MASK, before.shape)
    how = editing.Looking(seed=1, condition=label)
    found = made.inpaint(before, MASK[0], seed=1, label=3)
    np.testing.assert_array_equal(found, editing.inpaint(made, before, known, Inpaint(), how).images)
    assert np.any(found != made.inpaint(before, MASK[0], seed=1))
    nothing = np.zeros_like(known)
    wanted = editing.vary(made, before, nothing, 0.5, Vary(), editing.Looking(seed=2)).images
    np.testing.assert_array_equal(made.vary(before, 0.5, seed=2), wanted)
    y, task = Averages(2)(made.model.description.encode(before)), Restore(Averages(2))
    np.testing.assert_array_equal(
        made.restore(y, task, 1, label=3), editing.restore(made, np.asarray(y), task, how).images
    )
    with pytest.raises(UserError, match="the run's are"):
        made.inpaint(before[..., 0], MASK[0, ..., 0])
    with pytest.raises(UserError, match="not told 'text'"):
        made.vary(before, 0.5, text="seven")
