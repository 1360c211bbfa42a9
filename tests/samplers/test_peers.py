"""Steps that published samplers take: equal to diffusers' schedulers, state by state, along whole walks."""

import importlib.util
from functools import partial
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Clipped, GaussianPrediction, Normal
from ddpm_jax.processes import Gaussian
from ddpm_jax.samplers import DPM2M, Churned, Euler, FirstOrder, Problem
from ddpm_jax.schedules import EDM, Flow, ddpm_cosine, ddpm_linear
from ddpm_jax.schedules.grids import table_grid

pytestmark = pytest.mark.slow

_spec = importlib.util.spec_from_file_location(
    "make_scheduler_fixture", Path(__file__).parent / "make_scheduler_fixture.py"
)
assert _spec and _spec.loader
peer = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(peer)

LINEAR, COSINE, KARRAS, STRAIGHT = map(Gaussian, (ddpm_linear(1000), ddpm_cosine(1000), EDM(), Flow()))
TABLE = table_grid(1000, peer.STEPS)


def direct(process):
    """The fixture's denoiser, as the mean of a point."""
    return lambda x_t, t, condition: Normal(peer.clean(x_t, *process.at(t, x_t), jnp))


def predicting(prediction, process=LINEAR, variance="fixed_small"):
    """The same by way of a network's raw output."""
    theirs = {"epsilon": "epsilon", "x0": "sample", "v": "v_prediction"}[prediction]

    def network(x_t, index, condition):
        alpha, sigma = process.at((index[0] + 1) / 1000, x_t)
        return peer.output(theirs, peer.clean(x_t, alpha, sigma, jnp), x_t, alpha, sigma)

    return GaussianPrediction(prediction, variance).denoiser(network, process)


def ancestral(denoise, process=LINEAR, eta=1.0):
    return FirstOrder(eta), Problem(process, denoise, grid=TABLE)


CHURN = Churned(FirstOrder(), *(peer.CHURN[name] for name in ("s_churn", "s_tmin", "s_tmax", "s_noise")))
SIGMAS = np.append(peer.FLOW_SIGMAS, 0)
FRIENDS = {
    "ddpm_epsilon": ancestral(predicting("epsilon")),
    "ddpm_sample": ancestral(predicting("x0")),
    "ddpm_v": ancestral(predicting("v")),
    "ddpm_cosine": ancestral(predicting("v", COSINE), COSINE),
    "ddpm_clip": ancestral(Clipped(direct(LINEAR))),
    "ddim": ancestral(direct(LINEAR), eta=0.0),
    "ddim_half": ancestral(direct(LINEAR), eta=0.5),
    "ddim_clip": ancestral(Clipped(direct(LINEAR)), eta=0.0),
    "dpm_2m": (DPM2M(0.0), Problem(LINEAR, direct(LINEAR), grid=TABLE)),
    "dpm_2m_sde": (DPM2M(1.0), Problem(LINEAR, direct(LINEAR), grid=TABLE)),
    "euler_sigma": ancestral(direct(LINEAR), eta=0.0),
    "edm_churn": (CHURN, Problem(KARRAS, direct(KARRAS), grid=np.append(peer.EDM_TIMES, 0))),
    "flow": (Euler(), Problem(STRAIGHT, direct(STRAIGHT), grid=SIGMAS)),
    "flow, DDIM": (FirstOrder(), Problem(STRAIGHT, direct(STRAIGHT), grid=SIGMAS)),
}
"""What each scheduler is here."""


@pytest.fixture(scope="module", params=["kept", pytest.param("live", marks=pytest.mark.peers)])
def walks(request):
    if request.param == "kept":
        return dict(np.load(peer.FIXTURE))
    pytest.importorskip("diffusers")
    return peer.walks()


def move(solver, problem, x, memory, t, s, *noises):
    """One step, with these draws of noise in place of its own, in this order and then round again."""
    drawn = []

    def normal(keys, shape, dtype=None):
        drawn.append(shape)
        return jnp.asarray(noises[(len(drawn) - 1) % len(noises)])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random, "normal", normal)
        return solver.step(problem, jax.random.key(0), x, memory, jnp.float32(t), jnp.float32(s))


@pytest.mark.parametrize("name", FRIENDS)
def test_a_walk_with_the_same_noise_is_diffusers(name, walks):
    """Within 1e-5 of the state's scale at every step; on the cosine table 1e-4, for alpha(1) is 5e-5."""
    solver, problem = FRIENDS[name]
    grid = problem.grid
    x = jnp.asarray(peer.start()) * (80 if problem.process is KARRAS else 1)
    memory = solver.start(problem, x)
    walked = jax.jit(partial(move, solver, problem))
    for i, expected in enumerate(walks[name.split(",")[0]]):
        x, _, memory = walked(x, memory, grid[i], grid[i + 1], peer.noise()[i])
        tolerance = 1e-5
        assert np.abs(x - expected).max() < tolerance * max(1, np.abs(expected).max()), i


def test_fixed_large_has_diffusers_mean_and_variance(walks):
    """Here the step's noise comes from two draws, of x and of x_s, there from one: their variances add up to its own.

    The last step is left out: diffusers ends with noise when steps are skipped, and this package with the mean.
    """
    walked = jax.jit(partial(move, *ancestral(predicting("epsilon", variance="fixed_large"))))
    zero, one = np.zeros(peer.SHAPE, np.float32), np.ones(peer.SHAPE, np.float32)
    noisy, quiet = (np.concatenate([peer.start()[None], walks[name]]) for name in ("ddpm_large", "ddpm_large_quiet"))
    for i, (t, s) in enumerate(pairwise(TABLE[:-1])):
        mean, _, _ = walked(jnp.asarray(quiet[i]), None, t, s, zero, zero)
        np.testing.assert_allclose(mean, quiet[i + 1], atol=1e-5)
        start = jnp.asarray(noisy[i])
        mean, first, second = (walked(start, None, t, s, *pair)[0] for pair in ((zero, zero), (one, zero), (zero, one)))
        deviation = np.sqrt((first - mean) ** 2 + (second - mean) ** 2)
        np.testing.assert_allclose(mean + deviation * peer.noise()[i], noisy[i + 1], atol=2e-5)
