"""The learned schedule: monotone whatever its parameters, where it starts, and that it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ddpm_jax.schedules import Learned, log_snr, rates


def random_parameters(learned, seed, size):
    start = learned.init(jax.random.key(0))
    draw = np.random.default_rng(seed)
    sizes = {"start": 0.3, "range": 0.3}  # more is more noise than float32 can tell from no image
    return {
        name: np.float32(value + sizes.get(name, size) * draw.normal(size=value.shape)) for name, value in start.items()
    }


def test_it_starts_as_a_straight_line_between_the_two_ends():
    learned = Learned(-9.0, 3.0)
    params = learned.init(jax.random.key(0))
    assert all(value.dtype == np.float32 for value in params.values())
    with jax.enable_x64(True):
        t = np.linspace(0, 1, 101)
        gamma = np.asarray(learned.bind(params).gamma(t))
    np.testing.assert_allclose(gamma[[0, -1]], [-9, 3], atol=1e-5)
    np.testing.assert_allclose(gamma, -9 + 12 * t, atol=0.02)


def test_initial_parameters_are_numbers_even_in_a_traced_function():
    """So that what is built from the schedule before training can be kept."""
    kept = []
    jax.jit(lambda key: kept.append(Learned().init(key)))(jax.random.key(0))
    assert all(isinstance(value, np.ndarray) for value in kept[0].values())


@jax.jit
def values(params, t):
    schedule = Learned(width=16).bind(params)
    return (schedule.gamma(t), *schedule(t), log_snr(schedule, t))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [1.0, 5.0, 100.0])
def test_log_snr_falls_for_any_parameters(seed, size):
    learned = Learned(width=16)
    params, t = random_parameters(learned, seed, size), np.linspace(0, 1, 2001)
    short = np.asarray(values(params, t.astype(np.float32))[3])
    assert np.all(np.isfinite(short))
    assert np.all(np.diff(short) <= 1e-5 * np.abs(short).max())  # but for rounding
    with jax.enable_x64(True):
        gamma, alpha, sigma, log_snrs = (np.asarray(value) for value in values(params, t))
    assert np.all(np.diff(gamma) > 0)
    np.testing.assert_allclose(alpha**2 + sigma**2, 1, rtol=1e-12)
    np.testing.assert_allclose(log_snrs, -gamma, rtol=1e-10, atol=1e-10)


def test_derivatives_are_those_of_finite_differences_for_random_parameters():
    learned = Learned()
    schedule = learned.bind(random_parameters(learned, 0, 1.0))
    with jax.enable_x64(True):
        t, h = np.linspace(0.01, 0.99, 30), 1e-6
        called = jax.jit(schedule)
        after, before = np.array(called(t + h)), np.array(called(t - h))
        got = jax.jit(lambda t: rates(schedule, t))(t)
        np.testing.assert_allclose(got, (after - before) / (2 * h), rtol=1e-6, atol=1e-9)


def test_float32_derivatives_keep_their_digits_where_alpha_is_near_one():
    schedule = Learned().bind(Learned().init(jax.random.key(0)))
    t = np.array([1e-5, 0.01, 0.2, 0.5, 0.9, 1.0], np.float32)
    slopes = jax.jit(lambda t: rates(schedule, t))
    with jax.enable_x64(True):
        exact = np.array(slopes(t.astype(np.float64)))
    np.testing.assert_allclose(slopes(t), exact, rtol=1e-4)


def test_gradients_reach_every_parameter_through_the_derivative_in_t():
    learned = Learned(width=4)

    def slope(params):
        return jnp.sum(rates(learned.bind(params), jnp.array([0.2, 0.6]))[1])

    gradient = jax.jit(jax.grad(slope))(jax.tree.map(jnp.asarray, learned.init(jax.random.key(0))))
    assert all(np.all(np.isfinite(value)) and np.any(value != 0) for value in gradient.values())


def test_adam_at_a_rate_of_a_thousandth_learns_ends_and_shape():
    learned, t = Learned(), jnp.linspace(0, 1, 65)
    target, optimizer = -9 + 11 * t**3, optax.adam(1e-3)

    def loss(params):
        return jnp.mean(jnp.square(learned.bind(params).gamma(t) - target))

    def step(carry, _):
        params, state = carry
        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state), value

    params = jax.tree.map(jnp.asarray, learned.init(jax.random.key(0)))
    losses = jax.jit(lambda carry: jax.lax.scan(step, carry, None, 3000)[1])((params, optimizer.init(params)))
    assert losses[-1] < 0.05 * losses[0]


@pytest.mark.parametrize("options", [{"gamma_min": 5.0}, {"width": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Learned(**options)
