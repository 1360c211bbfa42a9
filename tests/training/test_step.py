"""The training step on a problem small enough to follow in NumPy."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import keys as random
from ddpm_jax.objectives.times import make_times
from ddpm_jax.schedules import VP
from ddpm_jax.training.optimizer import Budget, LearningRate, make_optimizer
from ddpm_jax.training.state import new_state, weights
from ddpm_jax.training.step import Advance, Recipe, flops_of_step, no_metrics, train_step

BATCH = 8
UNIFORM = make_times("uniform", VP(), 10, 0.1)
DATA = np.random.default_rng(0).normal(size=(50, BATCH, 3)).astype(np.float32)


def distance(params, frozen, keys, dropout_keys, batch, t, s, weight):
    """Half the squared distance to the example: its gradient is w - x."""
    return 0.5 * jnp.sum(jnp.square(params["w"] - batch["x"]), axis=1)


@dataclass(frozen=True, eq=False)
class Given:
    """A feed whose steps draw their batch from data that the test gives."""

    draw: Any
    resident: ClassVar[bool] = True
    example: Any = None

    def data(self, start):
        raise AssertionError("the test gives the data")


@dataclass(frozen=True, eq=False)
class Toy:
    """A model of a loss."""

    loss: Any
    times: Any
    looped: ClassVar[tuple[str, ...]] = ()

    @property
    def once(self):
        return self


def make_recipe(
    loss=distance,
    draw=lambda data, keys, i: {"x": data[i]},
    decays=(),
    clip=0.0,
    schedule="constant",
    times=UNIFORM,
    term=None,
    **more,
):
    return Recipe(
        model=Toy(lambda *given: (loss(*given), (term or loss)(*given)), times),
        feed=Given(draw),
        optimizer=make_optimizer("sgd", clip, 0.0, 0.0, 0.0, 0.0),
        rate=LearningRate(0.1, 0, schedule, Budget(50)),
        decays=decays,
        batch=BATCH,
        root=jax.random.key(1),
        **more,
    )


def start(recipe):
    return new_state(
        {"w": jnp.array([1.0, 0.0, -1.0])}, recipe.decays, recipe.optimizer, extra=recipe.model.times.start()
    )


def run(recipe, steps, data=DATA, state=None):
    """The states and metrics after each step of one dispatch."""
    advance = jax.jit(Advance(recipe, None))
    state, metrics, rows = state or start(recipe), no_metrics(), jnp.arange(BATCH)
    history = []
    for _ in range(steps):
        state, metrics = advance(state, metrics, jnp.asarray(data), rows, jnp.float32(0))
        history.append((state, metrics))
    return history


def test_steps_descend_the_batch_mean_and_the_average_follows_its_recursion():
    """w <- w - rate (w - mean x); ema <- d ema + (1 - d) w with d = min(decay, (1 + k)/(10 + k)), in NumPy."""
    recipe = make_recipe(decays=(0.5, 0.999), schedule="linear")
    history = run(recipe, 30)
    w, averages = np.array([1.0, 0.0, -1.0]), {0.5: np.array([1.0, 0.0, -1.0]), 0.999: np.array([1.0, 0.0, -1.0])}
    losses, norms = 0.0, 0.0
    for k, (state, metrics) in enumerate(history):
        losses += 0.5 * np.mean(np.sum((w - DATA[k]) ** 2, axis=1))
        gradient = w - DATA[k].mean(axis=0)
        norms += np.linalg.norm(gradient)
        rate = 0.1 * (1 - k / 50)
        w = w - rate * gradient
        for decay, average in averages.items():
            d = min(decay, (1 + k) / (10 + k))
            averages[decay] = d * average + (1 - d) * w
            np.testing.assert_allclose(weights(state, decay)["w"], averages[decay], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(weights(state, 0.0)["w"], w, rtol=1e-4, atol=1e-5)
        assert (int(state.step), int(metrics.steps), int(metrics.bad_step)) == (k + 1, k + 1, -1)
        got = [metrics.loss, metrics.gradient_norm, metrics.learning_rate]
        np.testing.assert_allclose(got, [losses, norms, rate], rtol=1e-4)


def test_clipping_caps_what_a_step_moves():
    recipe = make_recipe(clip=0.01)
    for (state, metrics), before in zip(run(recipe, 3), [start(recipe), *[s for s, _ in run(recipe, 2)]], strict=True):
        moved = np.linalg.norm(np.asarray(state.params["w"] - before.params["w"]))
        assert moved == pytest.approx(0.1 * 0.01, rel=1e-3)
        assert float(metrics.gradient_norm) > 0.5 * int(metrics.steps)  # as it was before clipping


def noisy(params, frozen, keys, dropout_keys, batch, t, s, weight):
    """A loss that depends on all the randomness of an example."""
    noise = random.normal(keys, (keys.shape[0], 3)) + 2 * random.normal(dropout_keys, (keys.shape[0], 3))
    return jnp.sum(jnp.square(params["w"] - batch["x"] - noise), axis=1) * (1 + t) * (1 + s)


def draw_rows(data, keys, i):
    return {"x": random.normal(keys, (keys.shape[0], 3))}


def test_devices_that_share_a_batch_take_the_step_of_one():
    """Two halves of the rows under a named axis: both see the whole gradient, and the same numbers as one device."""
    recipe = make_recipe(noisy, draw_rows, decays=(0.9,))

    def step(rows, axis):
        return train_step(recipe, start(recipe), None, rows, 0, jnp.float32(0), axis)

    alone = jax.jit(lambda rows: step(rows, None))(jnp.arange(BATCH))
    both = jax.jit(jax.vmap(lambda rows: step(rows, "devices"), axis_name="devices"))(jnp.arange(BATCH).reshape(2, -1))
    for one, shared in zip(jax.tree.leaves(alone), jax.tree.leaves(both), strict=True):
        np.testing.assert_allclose(shared, np.stack([one, one]), rtol=1e-5, atol=1e-6)
    # A half that saw only itself would differ.
    half = jax.jit(lambda rows: step(rows, None))(jnp.arange(BATCH // 2))
    assert abs(float(half[1]) / float(alone[1]) - 1) > 1e-3


def test_every_step_and_every_source_has_randomness_of_its_own():
    seen = []

    def loss(params, frozen, keys, dropout_keys, batch, t, s, weight):
        data = [jax.random.key_data(each) for each in (keys, dropout_keys, batch["keys"])]
        jax.debug.callback(lambda *values: seen.append(values), t, s, *data)
        return jnp.zeros(BATCH) * params["w"][0]

    recipe = make_recipe(loss, lambda data, keys, i: {"keys": keys})
    run(recipe, 3)
    jax.effects_barrier()
    drawn = np.concatenate([np.concatenate(keys) for _, _, *keys in seen])
    assert len(np.unique(drawn, axis=0)) == 3 * 3 * BATCH
    times = np.stack([t for t, *_ in seen])
    assert len(np.unique(times, axis=0)) == 3
    np.testing.assert_allclose(np.stack([s for _, s, *_ in seen]), times - 0.1, atol=1e-6)


def test_a_step_depends_on_its_number_and_not_on_how_it_was_reached():
    """Two runs of 2 steps, the second from the first's end, are one run of 4."""
    recipe = make_recipe(noisy, draw_rows, decays=(0.9,))
    whole = run(recipe, 4)[-1][0]
    resumed = run(recipe, 2, state=run(recipe, 2)[-1][0])[-1][0]
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


def test_bad_step_names_the_first_loss_that_is_not_finite():
    data = DATA.copy()
    data[3, 5] = np.nan
    recipe = make_recipe()
    assert [int(metrics.bad_step) for _, metrics in run(recipe, 6, data)] == [-1, -1, -1, 4, 4, 4]
    later = run(recipe, 2)[-1][0]
    assert [int(metrics.bad_step) for _, metrics in run(recipe, 5, data, later)] == [-1, -1, -1, 6, 6]


def test_bad_step_sees_a_gradient_that_is_not_finite():
    def loss(params, frozen, keys, dropout_keys, batch, t, s, weight):
        return jnp.sqrt(jnp.abs(params["w"][1])) + jnp.zeros(BATCH)  # w[1] = 0: no slope there

    history = run(make_recipe(loss), 1)
    assert np.isfinite(history[0][1].loss)
    assert int(history[0][1].bad_step) == 1


def test_flops_count_the_matrix_products_of_a_step():
    """x W forward and x^T g backward: 2 * 2 * batch * n * m."""
    n, m = 64, 48

    def loss(params, frozen, keys, dropout_keys, batch, t, s, weight):
        return jnp.sum(batch["x"] @ params["w"], axis=1)

    recipe = make_recipe(loss, lambda data, keys, i: {"x": data}, term=lambda *given: jnp.zeros(BATCH))
    state = jax.eval_shape(lambda: new_state({"w": jnp.zeros((n, m))}, (), recipe.optimizer))
    counted = flops_of_step(recipe, state, jax.ShapeDtypeStruct((BATCH, n), jnp.float32))
    assert counted == 4 * BATCH * n * m


def test_learned_times_look_where_losses_are_large_and_keep_the_expected_gradient():
    """A loss of 0 before t = 1/2 and 1 after it: soon nearly all draws go there, and its mean is still 1/2."""

    def term(params, frozen, keys, dropout_keys, batch, t, s, weight):
        return (t > 0.5) * (1 + 0 * params["w"].sum())

    def late(*arguments):
        return arguments[-1] * term(*arguments) + 100  # what does not depend on the time is not looked at

    recipe = make_recipe(loss=late, times=make_times("importance", VP(), 10, 0.1), term=term)
    state = run(recipe, 80, data=np.zeros((80, BATCH, 3), np.float32))[-1][0]
    assert int(state.extra["visits"].min()) >= 10
    t, _, weight = recipe.model.times.draw(jax.random.key(3), 10_000, state.extra)
    assert float(jnp.mean(t > 0.5)) > 0.99
    assert float(jnp.mean(weight * (t > 0.5))) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_accumulated_gradients_are_those_of_the_whole_batch_to_rounding(parts):
    """The same rows, times, noise and dropout, whatever the number of parts: the states agree after several steps."""
    importance = make_times("importance", VP(), 10, 0.1)
    whole, cut = (
        run(make_recipe(noisy, draw_rows, decays=(0.9,), times=importance, accumulate=count), 5)[-1]
        for count in (1, parts)
    )
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(cut), strict=True):
        np.testing.assert_allclose(other, one, rtol=2e-5, atol=1e-6)
    assert float(jnp.abs(whole[0].params["w"]).max()) > 0.01


def test_the_flops_of_a_step_do_not_depend_on_the_number_of_parts():
    def loss(params, frozen, keys, dropout_keys, batch, t, s, weight):
        return batch["x"] @ params["w"]

    recipes = make_recipe(loss), make_recipe(loss, accumulate=4)
    one, four = (flops_of_step(recipe, start(recipe), jnp.asarray(DATA)) for recipe in recipes)
    assert one == four > 0


def spoiled(*steps):
    """The data, in which these steps' batches give no finite gradient."""
    data = DATA.copy()
    data[list(steps), 3, 1] = np.nan
    return data


def test_a_bad_step_changes_nothing_and_is_counted():
    """Steps without the bad ones in NumPy; the step number, and with it keys and data, goes on."""
    history = run(make_recipe(decays=(0.5,), skip_bad=2), 8, spoiled(2, 3, 6))
    w, losses = np.array([1.0, 0.0, -1.0]), 0.0
    for k, (state, metrics) in enumerate(history):
        if k not in (2, 3, 6):
            losses += 0.5 * np.mean(np.sum((w - DATA[k]) ** 2, axis=1))
            w = w - 0.1 * (w - DATA[k].mean(axis=0))
        np.testing.assert_allclose(state.params["w"], w, rtol=1e-4, atol=1e-5)
        assert np.isfinite(state.ema["0.5"]["w"]).all()
        assert (int(state.step), int(metrics.steps), int(metrics.bad_step)) == (k + 1, k + 1, -1)
        assert float(metrics.loss) == pytest.approx(losses, rel=1e-4)
    assert [int(state.skipped[0]) for state, _ in history] == [0, 0, 1, 2, 2, 2, 3, 3]
    assert [int(state.skipped[1]) for state, _ in history] == [0, 0, 1, 2, 0, 0, 1, 0]
    assert [int(metrics.skipped) for _, metrics in history] == [0, 0, 1, 2, 2, 2, 3, 3]


@pytest.mark.parametrize(("most", "named"), [(0, 3), (1, 4), (2, 5), (3, -1)])
def test_too_many_bad_steps_in_a_row_end_the_run_at_the_first_too_many(most, named):
    data = spoiled(2, 3, 4)
    assert int(run(make_recipe(skip_bad=most), 8, data)[-1][1].bad_step) == named
    # The count goes on over the end of a dispatch, and over saving and going on: it is part of the state.
    first = run(make_recipe(skip_bad=most), 4, data)[-1]
    if int(first[1].bad_step) < 0:
        rest = run(make_recipe(skip_bad=most), 4, data[4:], first[0])[-1]
        assert int(rest[1].bad_step) == named
