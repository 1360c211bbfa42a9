"""The sampling loop: its walk against one written out, and its bookkeeping."""

import jax
import jax.numpy as jnp
import numpy as np

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Normal
from ddpm_jax.processes import Gaussian
from ddpm_jax.samplers import FirstOrder, Problem, ReverseStep, walk
from ddpm_jax.schedules import Cosine, ddpm_linear

COSINE = Gaussian(Cosine())
DDPM = Gaussian(ddpm_linear(1000))


def test_the_whole_walk_at_eta_zero_is_ddim_written_out():
    """Song et al. 2021a, eq. 12 with sigma = 0, in alpha-bars and epsilons, step by step in NumPy."""
    grid = np.array([1000, 700, 300, 20, 0]) / 1000
    betas = np.linspace(1e-4, 0.02, 1000)
    bars = np.concatenate([[1.0], np.cumprod(1 - betas)])
    x = np.array([[0.5, -1.2], [2.0, 0.3]])

    def clean(x_t, t, condition=None):
        return Normal(jnp.tanh(x_t * (1 + t)))

    problem = Problem(DDPM, clean, grid=grid)
    got, _ = walk(FirstOrder(), problem, jax.random.key(0), jnp.asarray(x, jnp.float32))
    for now, then in zip([1000, 700, 300, 20], [700, 300, 20, 0], strict=True):
        x_hat = np.tanh(x * (1 + now / 1000))
        epsilon = (x - np.sqrt(bars[now]) * x_hat) / np.sqrt(1 - bars[now])
        x = np.sqrt(bars[then]) * x_hat + np.sqrt(1 - bars[then]) * epsilon
    np.testing.assert_allclose(got, x, rtol=1e-4, atol=1e-4)


def halfway(x_t, t, condition=None):
    """A denoiser that makes frames easy to follow."""
    return Normal(0.5 * x_t)


def test_frames_are_the_states_before_their_steps_and_the_estimates_used():
    grid = np.array([1, 0.8, 0.5, 0.2, 0])
    keys = random.per_example(jax.random.key(0), jnp.arange(3))
    start = COSINE.prior(keys, (3, 2))

    def walked(frames):
        return jax.jit(lambda: walk(FirstOrder(1.0), Problem(COSINE, halfway, grid=grid), keys, start, frames))()

    x, (states, estimates) = walked((0, 1, 2, 3))
    np.testing.assert_array_equal(states[0], start)
    np.testing.assert_allclose(estimates, 0.5 * states, rtol=1e-6)
    np.testing.assert_allclose(x, estimates[-1], rtol=1e-6)  # the last step returns its estimate
    for before, after, t, s in zip(states[:-1], states[1:], grid[:-2], grid[1:-1], strict=True):
        # Each frame is a step from the one before: DDIM's direction and fresh noise, of the size that is due.
        (a_t, s_t), (a_s, s_s) = ([np.cos(np.pi * u / 2), np.sin(np.pi * u / 2)] for u in (t, s))
        rest = after - a_s * before / 2 - (a_t * s_s**2 / (a_s * s_t**2)) * (before - a_t * before / 2)
        assert np.all(np.abs(rest) < 5 * s_s)
        assert np.abs(rest).min() > 0

    same, (some, _) = walked((2, 0))
    np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(some, states[np.array([2, 0])])
    none, (empty, _) = walked(())
    np.testing.assert_array_equal(none, x)
    assert empty.shape == (0, 3, 2)


def test_after_is_called_with_the_time_arrived_at_and_its_own_randomness():
    grid = np.array([1, 0.7, 0.4, 0])
    heard = []

    def after(keys, x_s, s):
        noise = random.normal(keys, x_s.shape)
        jax.debug.callback(lambda *values: heard.append(jax.tree.map(np.asarray, values)), s, x_s, noise, ordered=True)
        return x_s + 100

    start = jnp.ones((2, 2))
    problem = Problem(COSINE, halfway, grid=grid)
    x, (states, _) = walk(FirstOrder(), problem, jax.random.key(0), start, (0, 1, 2), after)
    jax.effects_barrier()
    np.testing.assert_allclose([s for s, _, _ in heard], [0.7, 0.4, 0], rtol=1e-6)
    np.testing.assert_allclose(states[1:], np.stack([x_s for _, x_s, _ in heard[:-1]]) + 100, rtol=1e-6)
    np.testing.assert_allclose(x, heard[-1][1] + 100, rtol=1e-6)
    assert len({float(noise[0, 0]) for _, _, noise in heard}) == 3


def test_memory_passes_from_step_to_step():
    """An estimate that counts its calls, from the initial memory on."""

    class Counting(ReverseStep):
        def start(self, problem, x):
            return jnp.full((), 10)

        def estimate(self, problem, keys, x_t, memory, t, s):
            return jnp.full_like(x_t, memory), memory + 1

    problem = Problem(COSINE, halfway, grid=np.array([1, 0.5, 0.2, 0]))
    x, (_, estimates) = walk(Counting(), problem, jax.random.key(0), jnp.ones((1, 1)), (0, 1, 2))
    np.testing.assert_array_equal(np.ravel(estimates), [10, 11, 12])
    assert x.item() == 12


def test_a_solver_corrects_each_state_before_what_comes_after_it():
    class Doubling(FirstOrder):
        def correct(self, problem, keys, x_s, s):
            return 2 * x_s

    grid = np.array([1, 0.5, 0])
    problem, start = Problem(COSINE, halfway, grid=grid), jnp.ones((1, 1))
    plain, (states, _) = walk(FirstOrder(), problem, jax.random.key(0), start, (1,))
    doubled, (after, _) = walk(Doubling(), problem, jax.random.key(0), start, (1,), lambda keys, x_s, s: x_s + 1)
    np.testing.assert_allclose(after, 2 * states + 1, rtol=1e-6)
    np.testing.assert_allclose(doubled, 2 * 0.5 * after[0] + 1, rtol=1e-6)
    np.testing.assert_allclose(plain, 0.5 * states[0], rtol=1e-6)
