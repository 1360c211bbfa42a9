"""Grids that rise: Xu et al. 2023's restarts, walked by the one loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.denoisers import Normal
from ddpm_jax.processes import Gaussian
from ddpm_jax.samplers import DPM2M, PNDM, Churned, FirstOrder, Heun, PredictorCorrector, Problem, UniPC, walk
from ddpm_jax.schedules import VE, ddpm_linear
from ddpm_jax.schedules.grids import restarted

PROCESS = Gaussian(VE(0.02, 5.0))
MEAN, VARIANCE = 0.4, 0.3
GRID = PROCESS.grid(12)


def denoise(x_t, t, condition=None):
    """The exact mean of normal data."""
    _, sigma = PROCESS.at(t, x_t)
    return Normal(MEAN + VARIANCE / (VARIANCE + sigma**2) * (x_t - MEAN))


def test_a_restarted_grid_goes_back_to_the_first_time_of_the_range():
    table = ddpm_linear(100)
    grid = np.array([1, 0.8, 0.6, 0.4, 0.2, 0.1, 0])
    ratios = (table.sigmas / table.alphas)[[80, 60, 40, 20]]
    low, high = float(ratios[3]) - 1e-3, float(ratios[1]) + 1e-3
    twice = restarted(table, grid, low, high, 2)
    np.testing.assert_array_equal(twice, [1, 0.8, 0.6, 0.4, 0.2, 0.6, 0.4, 0.2, 0.6, 0.4, 0.2, 0.1, 0])
    assert restarted(table, grid, low, high, 0) is grid
    with pytest.raises(ValueError, match="two are needed"):
        restarted(table, grid, low, float(ratios[3]) + 1e-3, 1)


def test_restarts_keep_the_law_and_mend_a_wrong_start():
    """From twice the prior's deviation: what the flow keeps of the error, noise and another flow take away."""
    starts = 2 * PROCESS.prior(jax.random.key(0), (20_000, 1))

    def deviation(times, start):
        grid = restarted(PROCESS.schedule, PROCESS.grid(40), 0.2, 3.0, times)
        x, _ = jax.jit(lambda x: walk(Heun(), Problem(PROCESS, denoise, grid=grid), jax.random.key(1), x))(start)
        return float(x.std()) / np.sqrt(VARIANCE)

    assert deviation(2, starts / 2) == pytest.approx(1, abs=0.03)
    wrong = [abs(deviation(times, starts) - 1) for times in (0, 1, 2)]
    assert wrong[0] > 0.9 and wrong[1] < wrong[0] / 2 and wrong[2] < wrong[1] / 2


@pytest.mark.parametrize(
    "solver",
    [FirstOrder(1.0), Heun(), DPM2M(), UniPC(), PNDM(), Churned(Heun(), 2.0), PredictorCorrector()],
    ids=lambda solver: type(solver).__name__,
)
def test_steps_up_cost_nothing_and_the_evaluations_are_those_heard(solver):
    heard = []

    def told(x_t, t, condition=None):
        jax.debug.callback(lambda: heard.append(1))
        return denoise(x_t, t)

    problem = Problem(PROCESS, told, grid=restarted(PROCESS.schedule, GRID, 0.1, 1.0, 2))
    start = PROCESS.prior(jax.random.key(0), (1, 3))
    evaluations = jax.jit(lambda: solver.solve(problem, jax.random.key(1), start)[2])()
    jax.effects_barrier()
    assert int(evaluations[0]) == len(heard)
    assert problem.steps == len(problem.grid) - 3 == len(np.diff(problem.grid)[np.diff(problem.grid) < 0])


def test_a_solver_remembers_nothing_of_before_a_restart():
    """The estimate of the step after a rise is the denoiser's own, which for a line through two it is not."""
    grid = restarted(PROCESS.schedule, GRID, 0.1, 1.0, 1)
    (rise,) = np.flatnonzero(np.diff(grid) > 0)
    frames = (int(rise) - 1, int(rise), int(rise) + 1, int(rise) + 2)
    start = PROCESS.prior(jax.random.key(0), (4, 3))
    _, (states, estimates) = walk(DPM2M(), Problem(PROCESS, denoise, grid=grid), jax.random.key(1), start, frames)
    plain = [denoise(states[i], jnp.float32(grid[frame])).mean for i, frame in enumerate(frames)]
    np.testing.assert_array_equal(estimates[1], states[1])  # a step up has no estimate
    np.testing.assert_allclose(estimates[2], plain[2], rtol=1e-6)
    for line in (0, 3):
        assert np.abs(estimates[line] - plain[line]).max() > 1e-3


@pytest.mark.slow
def test_langevin_moves_alone_follow_the_levels_down():
    """Without a predictor the moves bring each level's law to the next, where the levels lie close."""
    solver, problem = PredictorCorrector(0.3, 20, predict=False), Problem(PROCESS, denoise, grid=PROCESS.grid(60))
    start = PROCESS.prior(jax.random.key(0), (2, 20_000))
    x, _ = jax.jit(lambda: walk(solver, problem, jax.random.key(1), start))()
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.05)
    assert float(x.var()) / VARIANCE == pytest.approx(1, abs=0.15)
