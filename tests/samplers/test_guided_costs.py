"""What a guided sample costs: passes of the network on one image, heard as they run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.denoisers import Categorical, Guided, Normal, Told
from ddpm_jax.processes import Gaussian, Ordered, make_order
from ddpm_jax.samplers import (
    DDIM,
    DDPM,
    DEIS,
    DPM2M,
    DPM2S,
    DPM3M,
    PNDM,
    SOLVERS,
    AdamsBashforth,
    AnnealedLangevin,
    Cached,
    Churned,
    Euler,
    FirstOrder,
    Heun,
    PredictorCorrector,
    Problem,
    ReverseDiffusion,
    Tsit5,
    UniPC,
)
from ddpm_jax.schedules import VE
from ddpm_jax.schedules.keeping import linear

VALUES = jnp.linspace(-1, 1, 3)
EXPLODING = Gaussian(VE(0.02, 5.0))
GRID = np.array([1, 0.7, 0.45, 0.2, 0.0])
COSTS = [
    FirstOrder(1.0),
    DDIM(),
    DDPM(),
    Heun(),
    DPM2S(),
    DPM2M(),
    DPM3M(),
    UniPC(),
    AdamsBashforth(),
    DEIS(),
    PNDM(),
    Euler(1.0),
    ReverseDiffusion(),
    PredictorCorrector(0.16, 3),
    PredictorCorrector(0.16, 3, predict=False),
    AnnealedLangevin(1e-4, 3),
    AnnealedLangevin(1e-4, 2, end=False),
    Churned(Heun(), 2.0),
    Tsit5(1e-2, 1e-2),
]


def test_every_solver_of_noise_is_counted():
    assert {type(one) for one in COSTS} >= {one for one in SOLVERS.values() if "gaussian" in one.kinds}


@pytest.mark.parametrize("interval", [(0.0, 1.0), (0.3, 0.75)], ids=str)
@pytest.mark.parametrize("solver", COSTS, ids=str)
def test_evaluations_are_passes_of_the_network_on_an_image(solver, interval):
    heard = []

    def network(x_t, t, condition):
        jax.debug.callback(lambda rows: heard.append(len(rows)), x_t)
        return Normal(0.5 * x_t + condition)

    guided = Guided((Told(network, jnp.zeros((1, 1))), network), (2.0,), interval=interval)
    problem = Problem(EXPLODING, guided, jnp.ones((1, 1)), GRID)
    start = EXPLODING.prior(jax.random.key(1), (1, 3))
    run = jax.jit(lambda key: solver.solve(problem, key, start)[2])
    evaluations = int(run(jax.random.key(0))[0])
    jax.effects_barrier()
    assert evaluations == sum(heard)
    calls = solver.evaluations(problem.steps)
    if calls is not None:
        assert evaluations == 2 * calls if interval == (0.0, 1.0) else calls < evaluations < 2 * calls


def test_a_group_takes_a_pass_of_each_of_two_causal_networks():
    process, grid = Ordered(make_order("raster", (3,)), linear), np.array([3, 2, 1, 0]) / 3

    class Even:
        causal = True

        def __call__(self, x_t, t, condition=None):
            return Categorical(jnp.zeros((*x_t.shape, 3)), VALUES)

        def start(self, count, condition, groups=None):
            return jnp.zeros(count)

        def advance(self, cache, x, step):
            posterior = Categorical(jnp.zeros((len(x), 1, 1, 3)), VALUES)
            return posterior, jnp.reshape(step, (1, 1)), cache

    guided = Guided((Even(), Even()), (2.0,))
    assert guided.causal
    for solver in (Cached(), FirstOrder()):
        problem = Problem(process, guided, grid=grid)
        _, _, evaluations = solver.solve(problem, jax.random.key(0), process.prior(jax.random.key(1), (2, 3, 1)))
        np.testing.assert_array_equal(evaluations, [6, 6])
