"""Solvers inside of something else: with a hook after each step, under a gradient, on every table."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.denoisers import Normal
from ddpm_jax.processes import Gaussian
from ddpm_jax.samplers import DDIM, DPM2M, DPM2S, DPM3M, AdamsBashforth, Heun, Problem, UniPC, walk
from ddpm_jax.schedules import VP, Flow, ddpm_cosine, ddpm_linear
from ddpm_jax.schedules.grids import make_grid, table_grid

pytestmark = pytest.mark.slow

VARIANCE = 0.3
SOLVERS = [DDIM(), Heun(), DPM2S(), DPM2M(), DPM3M(), UniPC(), UniPC(solver_order=3), AdamsBashforth()]


def exact(process):
    """The mean of normal data around 0."""

    def denoise(x_t, t, condition=None):
        alpha, sigma = process.at(t, x_t)
        return Normal(alpha * VARIANCE / (alpha**2 * VARIANCE + sigma**2) * x_t)

    return denoise


def drawn(solver, process, grid, start, after=None):
    return walk(solver, Problem(process, exact(process), grid=grid), jax.random.key(0), start, after=after)[0]


TABLES = {
    "linear 50": (ddpm_linear(50), 50),
    "cosine 100": (ddpm_cosine(100), 100),
    "pure noise 100": (ddpm_linear(100, zero_terminal=True), 20),
    "pure noise 1000": (ddpm_linear(1000, zero_terminal=True), 500),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_every_table_in_any_number_of_its_steps(solver, name):
    """The law's deviation is that of the data, from as much noise as the schedule ends with."""
    table, steps = TABLES[name]
    process = Gaussian(table)
    alpha, sigma = table.alphas[-1], table.sigmas[-1]
    scale = np.sqrt(VARIANCE / (alpha**2 * VARIANCE + sigma**2))
    start = jnp.asarray([[1.0, -2.0, 0.5]])
    x = drawn(solver, process, table_grid(table.steps, steps), start)
    np.testing.assert_allclose(x, scale * start, rtol=0.15)


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_what_is_done_after_a_step_stays_done(solver):
    """A push after each step moves the end as far as the flow carries it, whatever the solver remembers."""
    process, push = Gaussian(VP()), 0.05
    grid = process.grid(200)
    start = jnp.zeros((1, 1))
    moved = drawn(solver, process, grid, start, after=lambda keys, x, s: jnp.where(s > 0, x + push, x))
    alpha, sigma = map(np.asarray, process.schedule(np.asarray(grid[1:-1], np.float32)))
    carried = push * np.sqrt(VARIANCE / (alpha**2 * VARIANCE + sigma**2)).sum()
    assert float(moved[0, 0]) == pytest.approx(carried, rel=0.1)


@pytest.mark.parametrize("schedule", [VP(), Flow(), ddpm_linear(100)], ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_the_gradient_through_all_steps_is_that_of_the_map(solver, schedule):
    """On normal data the map from noise is linear: its slope is the gradient, and no unused branch spoils it."""
    process = Gaussian(schedule)
    grid = make_grid(schedule, 6, "uniform", 0.05)
    start = jnp.asarray([[0.7]])
    slope = jax.grad(lambda x: drawn(solver, process, grid, x)[0, 0])(start)
    np.testing.assert_allclose(slope * start, drawn(solver, process, grid, start), rtol=1e-4)
