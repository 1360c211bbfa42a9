"""Learning rates at known points, budgets by hand, and each optimizer against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.training.optimizer import SCHEDULES, Budget, LearningRate, make_optimizer


def rate_at(step, schedule="constant", warmup=0, budget=None, clock=0.0):
    rate = LearningRate(0.5, warmup, schedule, budget or Budget(100))
    return float(rate(jnp.int32(step), jnp.float32(clock)))


def test_warm_up_is_a_straight_line_from_the_first_step():
    np.testing.assert_allclose([rate_at(k, warmup=4) for k in range(6)], [0.125, 0.25, 0.375, 0.5, 0.5, 0.5])
    assert rate_at(0) == 0.5
    assert rate_at(1, "linear", warmup=4) == pytest.approx(0.25 * 0.99)  # the two multiply


@pytest.mark.parametrize(
    ("schedule", "start", "quarter", "half", "end"),
    [("constant", 1, 1, 1, 1), ("linear", 1, 0.75, 0.5, 0), ("cosine", 1, (2 + np.sqrt(2)) / 4, 0.5, 0)],
)
def test_schedules_at_known_points(schedule, start, quarter, half, end):
    got = [rate_at(step, schedule) / 0.5 for step in (0, 25, 50, 100, 150)]
    np.testing.assert_allclose(got, [start, quarter, half, end, end], atol=1e-6)
    assert set(SCHEDULES) == {"constant", "linear", "cosine"}


def test_the_rate_follows_the_clock_where_it_is_ahead_of_the_steps():
    assert rate_at(10, "linear", clock=0.6) == pytest.approx(0.5 * 0.4)
    assert rate_at(90, "linear", clock=0.6) == pytest.approx(0.5 * 0.1)
    timed = Budget(None, seconds=10.0)
    assert rate_at(10**6, "linear", budget=timed, clock=0.25) == pytest.approx(0.5 * 0.75)


LIMITS = {"batch": 10, "flops_per_step": 50.0, "steps": 0, "images": 0, "flops": 0.0, "seconds": 0.0}


@pytest.mark.parametrize(
    ("limits", "steps", "seconds"),
    [
        ({"steps": 70}, 70, None),
        ({"images": 405}, 40, None),  # whole steps, never more images than allowed
        ({"images": 3}, 1, None),
        ({"flops": 1070.0}, 21, None),
        ({"flops": 1.0}, 1, None),
        ({"seconds": 9.0}, None, 9.0),
        ({"steps": 70, "images": 405, "flops": 10_000.0, "seconds": 9.0}, 40, 9.0),
        ({"steps": 30, "images": 405, "flops": 10_000.0}, 30, None),
        ({"steps": 70, "images": 405, "flops": 1070.0}, 21, None),
    ],
)
def test_the_first_limit_ends_the_run(limits, steps, seconds):
    assert Budget.of(**{**LIMITS, **limits}) == Budget(steps, seconds)


def test_fractions_spent():
    budget = Budget(200, seconds=8.0)
    assert [budget.clock(elapsed) for elapsed in (0.0, 2.0, 8.0, 50.0)] == [0, 0.25, 1, 1]
    assert Budget(200).clock(1e9) == 0
    spent = [
        float(budget.fraction(jnp.int32(step), jnp.float32(clock))) for step, clock in ((50, 0), (50, 0.5), (300, 0))
    ]
    np.testing.assert_allclose(spent, [0.25, 0.5, 1])


def directions(optimizer, gradients, params):
    """The optimizer's direction at each step, with the parameters held still."""
    state, made = optimizer.init(params), []
    for gradient in gradients:
        direction, state = optimizer.update(gradient, state, params)
        made.append(np.asarray(direction["w"], np.float64))
    return np.stack(made)


PARAMS = {"w": jnp.array([1.0, -2.0, 0.5])}
GRADIENTS = np.array([[0.3, -1.0, 2.0], [0.1, 4.0, -0.5], [-2.0, 0.2, 0.0]])


def made(name, clip=0.0, b1=0.9, b2=0.95, epsilon=1e-3, weight_decay=0.1):
    gradients = [{"w": jnp.asarray(gradient, jnp.float32)} for gradient in GRADIENTS]
    return directions(make_optimizer(name, clip, b1, b2, epsilon, weight_decay), gradients, PARAMS)


def test_adam_and_adamw():
    """Kingma and Ba 2015 as weighted means: bias correction makes the weights of the past sum to one."""
    expected = []
    for k in range(3):
        past = GRADIENTS[: k + 1]
        first, second = (np.array([b ** (k - j) for j in range(k + 1)]) for b in (0.9, 0.95))
        mean, square = first @ past / first.sum(), second @ past**2 / second.sum()
        expected.append(mean / (np.sqrt(square) + 1e-3))
    np.testing.assert_allclose(made("adam"), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(made("adamw"), np.array(expected) + 0.1 * np.asarray(PARAMS["w"]), rtol=1e-4, atol=1e-6)


def test_sgd_sums_past_gradients_with_falling_weights():
    expected = [sum(0.9 ** (k - j) * GRADIENTS[j] for j in range(k + 1)) for k in range(3)]
    np.testing.assert_allclose(made("sgd"), expected, rtol=1e-5)
    np.testing.assert_allclose(made("sgd", b1=0.0), GRADIENTS, rtol=1e-6)


def test_clipping_caps_the_norm_over_all_parameters_and_keeps_the_direction():
    optimizer = make_optimizer("sgd", 1.0, 0.0, 0.0, 0.0, 0.0)
    params = {"a": jnp.zeros(2), "b": jnp.zeros(1)}
    state = optimizer.init(params)
    large, _ = optimizer.update({"a": jnp.array([3.0, 0.0]), "b": jnp.array([-4.0])}, state)
    small, _ = optimizer.update({"a": jnp.array([0.3, 0.0]), "b": jnp.array([-0.4])}, state)
    np.testing.assert_allclose(np.concatenate(jax.tree.leaves(large)), [0.6, 0, -0.8], rtol=1e-6)
    np.testing.assert_allclose(np.concatenate(jax.tree.leaves(small)), [0.3, 0, -0.4], rtol=1e-6)
