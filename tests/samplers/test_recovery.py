"""With the exact denoiser of a mixture, samplers recover it on every schedule: mean, covariances, mode weights."""

import jax
import numpy as np
import pytest

from ddpm_jax.processes import Gaussian
from ddpm_jax.samplers import Problem, make
from ddpm_jax.schedules import EDM, VE, VP, Cosine, Flow, SubVP, ddpm_cosine, ddpm_linear
from ddpm_jax.schedules.grids import make_grid

pytestmark = pytest.mark.slow

ROWS = 4000

SCHEDULES = {
    "vp": VP(),
    "subvp": SubVP(),
    "ve": VE(0.01, 50.0),
    "edm": EDM(),
    "flow": Flow(),
    "cosine": Cosine(),
    "ddpm_linear": ddpm_linear(1000),
    "ddpm_cosine": ddpm_cosine(1000),
}


@pytest.fixture
def draw(mixture):
    """`draw(name, schedule, grid, eta, **options)`: ROWS samples in one compiled call."""

    def drawn(name, schedule, grid, eta, exact=False, **options):
        process = Gaussian(schedule)
        denoise = mixture.draws(process) if exact else mixture.mean(process)

        @jax.jit
        def run(key):
            key_prior, key_steps = jax.random.split(key)
            start, problem = process.prior(key_prior, (ROWS, 2)), Problem(process, denoise, grid=grid)
            chosen = {"eta": eta, "churn_min": 0.0, "churn_max": float("inf"), "churn_noise": 1.0, **options}
            return make(name, chosen).solve(problem, key_steps, start)[0]

        return np.asarray(run(jax.random.key(0)), np.float64)

    return drawn


@pytest.fixture
def assert_recovered(mixture):
    """Within 4 standard errors: the mean, the covariance, the covariance within modes and the modes' weights."""
    mean = mixture.weights @ mixture.means
    within = np.diag(mixture.weights @ mixture.variances)
    between = np.einsum("k,ki,kj->ij", mixture.weights, mixture.means - mean, mixture.means - mean)

    def products(rows):
        return rows[:, :, None] * rows[:, None]

    def check(x):
        mode = np.argmin(np.sum((x[:, None] - mixture.means) ** 2, axis=2), axis=1)
        for values, expected in (
            (x, mean),
            (products(x - mean), within + between),
            (products(x - mixture.means[mode]), within),
            (mode == 0, mixture.weights[0]),
        ):
            error = np.std(values, axis=0) / np.sqrt(len(x))
            np.testing.assert_array_less(np.abs(np.mean(values, axis=0) - expected), 4 * error)

    return check


def grid_for(schedule, steps):
    if not schedule.continuous:
        return make_grid(schedule, steps, "quadratic", 1 / 1000)
    return make_grid(schedule, steps, "log_snr", 1e-3)


GRIDS = {1: [1, 0], 3: [1, 0.6, 0.05, 0], 10: np.linspace(1, 0, 11)}
EVERY = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)


@pytest.mark.parametrize(("name", "points"), list(zip(SCHEDULES, (10, 3, 10, 3, 1, 3, 10, 3), strict=True)), ids=str)
def test_exact_draws_recover_the_mixture_on_any_grid(draw, assert_recovered, name, points):
    """eta = 1 and draws of the exact posterior: no step is too long."""
    assert_recovered(draw("first_order", SCHEDULES[name], np.asarray(GRIDS[points]), 1.0, exact=True))


@EVERY
@pytest.mark.parametrize(("name", "steps"), [("first_order", 300), ("heun", 60), ("dpm_2m", 60)])
def test_deterministic_samplers_recover_the_mixture(draw, assert_recovered, name, steps, schedule):
    """eta = 0 and the posterior's mean, with steps enough that their error is below the samples'."""
    assert_recovered(draw(name, schedule, grid_for(schedule, steps), 0.0))


@pytest.mark.parametrize("name", ["ve", "flow"])
def test_the_adaptive_solver_recovers_the_mixture(draw, assert_recovered, name):
    """It chooses its steps by itself: the grid is only where it ends."""
    assert_recovered(draw("tsit5", SCHEDULES[name], np.array([1, 1e-3, 0]), 0.0, rtol=1e-4, atol=1e-4))


@pytest.mark.parametrize(("name", "churn"), [("heun", 20.0), ("dpm_2m", 0.0)])
def test_fresh_noise_in_second_order_samplers_keeps_the_law(draw, assert_recovered, name, churn):
    """Churn before Heun steps, and the SDE form of 2M."""
    eta = 0.0 if churn else 1.0
    assert_recovered(draw(name, SCHEDULES["vp"], grid_for(SCHEDULES["vp"], 100), eta, churn=churn))
