"""The loss and its objectives for denoisers whose errors are known."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Normal, gaussian_denoiser
from ddpm_jax.likelihood import bound
from ddpm_jax.losses import OBJECTIVES, loss
from ddpm_jax.processes import Gaussian
from ddpm_jax.schedules import ddpm_cosine, ddpm_linear

DDPM = Gaussian(ddpm_linear(100), np.linspace(-1, 1, 17))
ROWS, SITES = 6, 5
X = jnp.asarray(np.random.default_rng(0).integers(0, 17, (ROWS, SITES)) / 8 - 1, jnp.float32)
T = jnp.array([0.01, 0.1, 0.3, 0.5, 0.8, 1.0])


def keys(rows, seed=0):
    return random.per_example(jax.random.key(seed), jnp.arange(rows))


def denoiser(network, prediction, variance="fixed_small"):
    return gaussian_denoiser(network, DDPM, prediction, variance, lambda t: t)


def simple(network, prediction, t=T, rows=ROWS):
    x = jnp.broadcast_to(X[:1], (rows, SITES)) if rows != ROWS else X
    return loss(DDPM, denoiser(network, prediction), OBJECTIVES["simple"], keys(rows), x, None, t, t - 0.01)


@pytest.mark.parametrize("time", [0.01, 0.5, 1.0])
def test_saying_no_noise_costs_one(time):
    """epsilon_hat = 0: the mean of z^2 over 5 sites has the mean 1 and the variance 2/5, at every time."""
    values = np.asarray(simple(lambda x_t, time, _: 0 * x_t, "epsilon", jnp.full(4000, time), 4000), np.float64)
    assert values.mean() == pytest.approx(1, abs=4 * np.sqrt(0.4 / 4000))
    assert values.var() == pytest.approx(0.4, rel=0.15)


def test_saying_a_grey_image_costs_the_signal_to_noise_ratio():
    """x_hat = 0 has the error x: SNR times the mean of x^2, whatever the noise."""
    bars = np.cumprod(1 - np.linspace(1e-4, 0.02, 100) * 10)[np.round(np.asarray(T) * 100).astype(int) - 1]
    expected = bars / (1 - bars) * np.mean(np.asarray(X) ** 2, axis=1)
    np.testing.assert_allclose(simple(lambda x_t, time, _: 0 * x_t, "x0"), expected, rtol=1e-3)


def test_an_error_in_v_counts_alpha_squared():
    """epsilon = alpha v + sigma x_t, so that an output wrong by c makes epsilon wrong by alpha c."""
    z = random.normal(keys(ROWS), X.shape)
    alpha, sigma = (level[:, None] for level in DDPM.schedule(T))
    wrong = alpha * z - sigma * X + 0.3
    np.testing.assert_allclose(simple(lambda x_t, time, _: wrong, "v"), 0.09 * np.ravel(alpha) ** 2, rtol=1e-3)


def test_the_denoiser_sees_a_draw_of_x_t_its_time_and_the_condition():
    seen = []

    def denoise(x_t, t, condition):
        seen.append((x_t, t, condition))
        return Normal(x_t)

    loss(DDPM, denoise, OBJECTIVES["simple"], keys(ROWS), X, "condition", T, T - 0.01)
    [(x_t, t, condition)] = seen
    alpha, sigma = (level[:, None] for level in DDPM.schedule(T))
    np.testing.assert_allclose(x_t, alpha * X + sigma * random.normal(keys(ROWS), X.shape), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(t, T)
    assert condition == "condition"


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_examples_loss_depends_on_its_own_key_and_time(objective):
    def of(rows):
        denoise = denoiser(lambda x_t, time, _: jnp.tanh(x_t), "epsilon")
        rows = np.array(rows)
        return jax.jit(lambda keys, x, t: loss(DDPM, denoise, OBJECTIVES[objective], keys, x, None, t, t - 0.01))(
            keys(ROWS)[rows], X[rows], T[rows]
        )

    np.testing.assert_allclose(of([4, 1]), of(range(ROWS))[np.array([4, 1])], rtol=1e-5)


@dataclass(frozen=True, eq=False)
class Still(Gaussian):
    """The Gaussian process with one and the same noise at every site, so that expectations are single values."""

    def noise(self, keys, shape):
        return jnp.full(shape, 0.7)


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
def test_the_bound_objective_adds_up_to_the_likelihoods_bound(variance):
    """T times its mean over all i is the sum of the bound's steps and its reconstruction."""
    steps = 12
    process = Still(ddpm_cosine(steps), np.linspace(-1, 1, 17))
    denoise = gaussian_denoiser(lambda x_t, time, _: jnp.tanh(x_t), process, "epsilon", variance, lambda t: t)
    x = X[:1]
    terms = jax.jit(lambda x: bound(process, denoise, np.arange(steps, -1, -1) / steps, keys(1), x))(x)

    @jax.jit
    def losses(x, t, s):
        return loss(process, denoise, OBJECTIVES["bound"], keys(steps), x, None, t, s)

    index = jnp.arange(1, steps + 1)
    each = losses(jnp.tile(x, (steps, 1)), index / steps, (index - 1) / steps)
    assert steps * float(each.mean()) == pytest.approx(float((terms.steps + terms.reconstruction)[0]), rel=1e-4)
    assert float(each[0]) == pytest.approx(float(terms.reconstruction[0]), rel=1e-4)
