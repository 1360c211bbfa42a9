"""The whole of sampling in one call: the law, the refusals, inpainting, grids."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Normal
from ddpm_jax.oracles import GaussianMixture, JointTable
from ddpm_jax.processes import Gaussian, Ordered, make_order
from ddpm_jax.samplers import DPM2M, Cached, Confidence, Euler, FirstOrder, sample
from ddpm_jax.schedules import VP, Flow, ddpm_linear
from ddpm_jax.schedules.keeping import linear

MIXTURE = GaussianMixture(
    jnp.array([0.4, 0.6]),
    jnp.array([[-1.0, 0.3], [0.7, -0.4]]),
    jnp.array([[[0.05, 0.01], [0.01, 0.1]], [[0.08, -0.03], [-0.03, 0.04]]]),
)
PAIR = np.array([[0.3, 0.0, 0.1], [0.0, 0.2, 0.1], [0.05, 0.05, 0.2]])  # of two sites of three levels


@pytest.mark.parametrize("solver", [FirstOrder(1.0), DPM2M()], ids=str)
def test_an_exact_denoiser_gives_back_the_mean_and_the_covariance(solver):
    process, rows = Gaussian(VP()), 4000
    denoise = MIXTURE.denoiser(process)
    x = np.asarray(jax.jit(lambda key: sample(process, denoise, solver, 60, key, (rows, 2)))(jax.random.key(0)))
    weights, means = np.asarray(MIXTURE.weights), np.asarray(MIXTURE.means)
    apart = means - weights @ means
    covariance = np.einsum("k,kij->ij", weights, MIXTURE.covariances) + np.einsum("k,ki,kj->ij", weights, apart, apart)
    centred = x - weights @ means
    products = centred[:, :, None] * centred[:, None]
    np.testing.assert_array_less(np.abs(centred.mean(0)), 4 * x.std(0) / np.sqrt(rows))
    np.testing.assert_array_less(np.abs(products.mean(0) - covariance), 4 * products.std(0) / np.sqrt(rows))


def test_an_exact_denoiser_of_hidden_sites_gives_back_the_table():
    process, rows = Ordered(make_order("random", (2,)), linear), 4000
    table = JointTable(PAIR, np.linspace(-1, 1, 3))
    denoise = table.denoiser(process)
    x = jax.jit(lambda key: sample(process, denoise, FirstOrder(), 2, key, (rows, 2, 1)))(jax.random.key(0))
    shares = np.bincount(np.asarray(table.index(x)), minlength=9) / rows
    error = np.sqrt(PAIR * (1 - PAIR) / rows).ravel()
    np.testing.assert_array_less(np.abs(shares - PAIR.ravel()), 4 * error + 1e-9)


@pytest.mark.parametrize(
    ("solver", "process"),
    [
        (Confidence(), Gaussian(VP())),
        (Cached(), Gaussian(VP())),
        (DPM2M(), Ordered(make_order("random", (2,)), linear)),
        (FirstOrder(1.0), Ordered(make_order("raster", (2,)), linear)),
        (Cached(), Ordered(make_order("raster", (2,)), linear)),  # not causal
        (Euler(), Gaussian(ddpm_linear(100))),
        (Euler(1.0), Gaussian(Flow())),
    ],
    ids=lambda part: type(part).__name__,
)
def test_a_solver_of_another_process_is_refused(solver, process):
    with pytest.raises(ValueError):
        sample(process, lambda x_t, t, condition: Normal(x_t), solver, 4, jax.random.key(0), (1, 2, 1))


def test_the_denoiser_is_told_the_condition_and_each_state_can_be_changed():
    """Inpainting: the first site is put back at its noise level after each step, and stays what it is."""
    process, keys = Gaussian(VP()), random.per_example(jax.random.key(0), jnp.arange(3))
    wanted = jnp.array([[0.5], [-0.5], [0.25]])

    def denoise(x_t, t, condition):
        return Normal(jnp.broadcast_to(condition, x_t.shape))

    def after(keys, x_s, s):
        return x_s.at[:, 0].set(process.corrupt(jnp.full_like(x_s, 7.0), jnp.zeros_like(x_s), s)[:, 0])

    grid = np.array([1, 0.5, 0.1, 0])
    x = sample(process, denoise, FirstOrder(), grid, keys, (3, 2), wanted, after)
    np.testing.assert_allclose(x[:, 0], 7, rtol=1e-6)
    np.testing.assert_allclose(x[:, 1:], wanted, rtol=1e-6)
    alone = sample(process, denoise, FirstOrder(1.0), grid[[0, 1, 3]], keys[1:2], (1, 2), wanted[1:2])
    np.testing.assert_allclose(alone, jnp.broadcast_to(wanted[1:2], (1, 2)), rtol=1e-6)


@pytest.mark.parametrize("process", [Gaussian(VP()), Gaussian(Flow()), Gaussian(ddpm_linear(100))], ids=str)
def test_default_grids_of_noise_fall_from_one_to_zero(process):
    grid = process.grid(10)
    assert grid.shape == (11,)
    assert grid[0] == 1 and grid[-1] == 0
    assert np.all(np.diff(grid) < 0)


def test_default_grids_of_hidden_sites_are_even_and_of_whole_groups():
    np.testing.assert_allclose(
        Ordered(make_order("independent", (4,)), linear).grid(5), np.linspace(1, 0, 6), atol=1e-12
    )
    chunks = Ordered(make_order("raster", (8,), chunk=2), linear).grid(3) * 4
    np.testing.assert_allclose(chunks, [4, 3, 1, 0], atol=1e-12)
