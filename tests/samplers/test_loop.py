"""The sampling loop with an exact denoiser: what it must recover on any grid, its order, and its bookkeeping."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Normal
from ddpm_jax.exact import GaussianMixture
from ddpm_jax.processes import Gaussian
from ddpm_jax.samplers import first_order, sample, step
from ddpm_jax.schedules import ddpm_linear

WEIGHTS = np.array([0.3, 0.7])
MEANS = np.array([[-1.0, 0.5], [0.8, -0.6]])
COVARIANCES = np.array([[[0.02, 0.01], [0.01, 0.04]], [[0.05, -0.02], [-0.02, 0.03]]])
COSINE = Gaussian(lambda t: (jnp.cos(jnp.pi * t / 2), jnp.sin(jnp.pi * t / 2)))
EXPLODING = Gaussian(lambda t: (jnp.ones_like(t), 0.02 + 50 * t**2))
DDPM = Gaussian(ddpm_linear(1000))


def mixture(dtype=jnp.float32):
    return GaussianMixture(*(jnp.asarray(field, dtype) for field in (WEIGHTS, MEANS, COVARIANCES)))


GRIDS = {1: [1, 0], 3: [1, 0.6, 0.05, 0], 10: np.linspace(1, 0, 11)}


@pytest.mark.parametrize(
    ("process", "grid"),
    [(COSINE, GRIDS[1]), (COSINE, GRIDS[3]), (COSINE, GRIDS[10]), (EXPLODING, GRIDS[3]), (DDPM, GRIDS[10])],
    ids=["cosine-1", "cosine-3", "cosine-10", "exploding-3", "ddpm-10"],
)
def test_exact_draws_recover_the_mixture_on_any_grid(process, grid):
    """eta = 1 and draws of the exact posterior: mean, covariance and mode weights, within 4 standard errors."""
    rows = 4000
    exact = mixture()

    def draw(key):
        key_prior, key_steps = jax.random.split(key)
        start = process.prior(key_prior, (rows, 2))
        return sample(process, first_order(exact.denoiser(process)), np.asarray(grid), 1.0, key_steps, start)[0]

    x = np.asarray(jax.jit(draw)(jax.random.key(0)), np.float64)
    mean = WEIGHTS @ MEANS
    centred = MEANS - mean
    covariance = np.einsum("k,kij->ij", WEIGHTS, COVARIANCES + centred[:, :, None] * centred[:, None])
    products = (x - mean)[:, :, None] * (x - mean)[:, None]
    first = np.argmin(np.sum((x[:, None] - MEANS) ** 2, axis=2), axis=1) == 0  # 9 deviations lie between the modes
    for values, expected in ((x, mean), (products, covariance), (first, WEIGHTS[0])):
        error = 4 * np.std(values, axis=0) / np.sqrt(rows)
        np.testing.assert_array_less(np.abs(np.mean(values, axis=0) - expected), error)


@pytest.mark.parametrize("process", [COSINE, EXPLODING], ids=["cosine", "exploding"])
def test_ddim_with_the_exact_mean_is_of_first_order(process):
    """The deterministic map from noise to images on [1, 0.1], against a fine grid: half the step, half the error."""
    with jax.enable_x64(True):
        denoise = mixture(jnp.float64).denoiser(process)
        estimate = first_order(lambda x_t, t, condition: Normal(denoise(x_t, t, condition).mean))
        start = process.prior(jax.random.key(1), (8, 2))

        @jax.jit
        def end(count):
            def body(i, x):
                t, s = 1 - 0.9 * i / count, 1 - 0.9 * (i + 1) / count
                return step(process, estimate, 0.0, jax.random.key(0), x, None, t, s)[0]

            return jax.lax.fori_loop(0, count, body, start)

        reference = end(6000)
        errors = [float(jnp.abs(end(count) - reference).mean()) for count in (40, 80, 160)]
    slope = -np.polyfit(np.log([40, 80, 160]), np.log(errors), 1)[0]
    assert slope == pytest.approx(1, abs=0.15)


def test_the_whole_walk_at_eta_zero_is_ddim_written_out():
    """Song et al. 2021a, eq. 12 with sigma = 0, in alpha-bars and epsilons, step by step in NumPy."""
    grid = np.array([1000, 700, 300, 20, 0]) / 1000
    betas = np.linspace(1e-4, 0.02, 1000)
    bars = np.concatenate([[1.0], np.cumprod(1 - betas)])
    x = np.array([[0.5, -1.2], [2.0, 0.3]])

    def clean(x_t, t, condition=None):
        return Normal(jnp.tanh(x_t * (1 + t)))

    got, _ = sample(DDPM, first_order(clean), grid, 0.0, jax.random.key(0), jnp.asarray(x, jnp.float32))
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

    def walk(frames):
        return jax.jit(lambda: sample(COSINE, first_order(halfway), grid, 1.0, keys, start, frames=frames))()

    x, (states, estimates) = walk((0, 1, 2, 3))
    np.testing.assert_array_equal(states[0], start)
    np.testing.assert_allclose(estimates, 0.5 * states, rtol=1e-6)
    np.testing.assert_allclose(x, estimates[-1], rtol=1e-6)  # the last step returns its estimate
    for before, after, t, s in zip(states[:-1], states[1:], grid[:-2], grid[1:-1], strict=True):
        # Each frame is a step from the one before: DDIM's direction and fresh noise, of the size that is due.
        (a_t, s_t), (a_s, s_s) = ([np.cos(np.pi * u / 2), np.sin(np.pi * u / 2)] for u in (t, s))
        rest = after - a_s * before / 2 - (a_t * s_s**2 / (a_s * s_t**2)) * (before - a_t * before / 2)
        assert np.all(np.abs(rest) < 5 * s_s)
        assert np.abs(rest).min() > 0

    same, (some, _) = walk((2, 0))
    np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(some, states[np.array([2, 0])])
    none, (empty, _) = walk(())
    np.testing.assert_array_equal(none, x)
    assert empty.shape == (0, 3, 2)


def test_an_image_does_not_depend_on_its_batch():
    """Image i from its key alone: in a batch of 7, of 2, with other neighbours."""
    keys = random.per_example(jax.random.key(5), jnp.arange(7))
    denoise = mixture().denoiser(COSINE)

    @jax.jit
    def draw(keys):
        keys_prior, keys_steps = random.split(keys)
        return sample(
            COSINE,
            first_order(denoise),
            np.linspace(1, 0, 6),
            1.0,
            keys_steps,
            COSINE.prior(keys_prior, (len(keys), 2)),
        )[0]

    whole = draw(keys)
    np.testing.assert_allclose(draw(keys[np.array([5, 2])]), whole[np.array([5, 2])], rtol=1e-5, atol=1e-6)
    assert np.abs(whole[0] - whole[1]).max() > 1e-3


def test_after_is_called_with_the_time_arrived_at_and_its_own_randomness():
    grid = np.array([1, 0.7, 0.4, 0])
    heard = []

    def after(keys, x_s, s):
        noise = random.normal(keys, x_s.shape)
        jax.debug.callback(lambda *values: heard.append(jax.tree.map(np.asarray, values)), s, x_s, noise, ordered=True)
        return x_s + 100

    start = jnp.ones((2, 2))
    x, (states, _) = sample(
        COSINE, first_order(halfway), grid, 0.0, jax.random.key(0), start, after=after, frames=(0, 1, 2)
    )
    jax.effects_barrier()
    np.testing.assert_allclose([s for s, _, _ in heard], [0.7, 0.4, 0], rtol=1e-6)
    np.testing.assert_allclose(states[1:], np.stack([x_s for _, x_s, _ in heard[:-1]]) + 100, rtol=1e-6)
    np.testing.assert_allclose(x, heard[-1][1] + 100, rtol=1e-6)
    assert len({float(noise[0, 0]) for _, _, noise in heard}) == 3


def test_memory_passes_from_step_to_step():
    """An estimate that counts its calls, from the initial memory on."""

    def counting(keys, x_t, t, s, memory):
        return jnp.full_like(x_t, memory), memory + 1

    x, (_, estimates) = sample(
        COSINE, counting, np.array([1, 0.5, 0.2, 0]), 0.0, jax.random.key(0), jnp.ones((1, 1)), 10, frames=(0, 1, 2)
    )
    np.testing.assert_array_equal(np.ravel(estimates), [10, 11, 12])
    assert x.item() == 12
