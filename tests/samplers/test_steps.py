"""Steps against the papers' formulas, term by term, and what they do at the end."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Normal
from ddpm_jax.processes import Gaussian
from ddpm_jax.samplers import (
    AnnealedLangevin,
    Churned,
    Euler,
    FirstOrder,
    Heun,
    Problem,
    ReverseDiffusion,
    StepSolver,
    make,
)
from ddpm_jax.schedules import EDM, VE, VP, Cosine, Flow, ddpm_linear

X = np.array([[0.5, -1.2, 0.9], [2.0, 0.3, -0.4]], np.float32)
NOISE = np.array([[1.0, -0.5, 0.2], [-1.5, 0.0, 0.7]], np.float32)


def halfway(x_t, t, condition=None):
    return Normal(0.5 * x_t)


def take(solver, process, t, s, x=X, grid=None):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random, "normal", lambda keys, shape, dtype=None: jnp.asarray(NOISE))
        problem = Problem(process, halfway, grid=grid)
        return solver.step(problem, jax.random.key(0), jnp.asarray(x), None, jnp.float32(t), jnp.float32(s))[0]


def test_reverse_diffusion_is_the_papers_vp_step():
    """Song et al. 2021b, algorithm 3: x_{i-1} = (2 - sqrt(1 - beta)) x_i + beta score + sqrt(beta) noise."""
    process = Gaussian(ddpm_linear(1000))
    beta = np.linspace(1e-4, 0.02, 1000)[599]
    bar = np.prod(1 - np.linspace(1e-4, 0.02, 1000)[:600])
    score = (np.sqrt(bar) * 0.5 * X - X) / (1 - bar)
    expected = (2 - np.sqrt(1 - beta)) * X + beta * score + np.sqrt(beta) * NOISE
    got = take(ReverseDiffusion(), process, 0.6, 0.599)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_reverse_diffusion_is_the_papers_ve_step():
    """Algorithm 4: x_{i-1} = x_i + d score + sqrt(d) noise with d = sigma_i^2 - sigma_{i-1}^2."""
    process = Gaussian(VE(0.02, 50.0))
    now, then = (0.02 * 2500.0**t for t in (0.6, 0.5))
    d = now**2 - then**2
    expected = X + d * (0.5 * X - X) / now**2 + np.sqrt(d) * NOISE
    np.testing.assert_allclose(take(ReverseDiffusion(), process, 0.6, 0.5), expected, rtol=1e-4)


@pytest.mark.parametrize("eta", [0.0, 0.7, 1.0])
def test_euler_is_the_vp_equations_step(eta):
    """dx = [-beta x/2 - (1 + eta^2)/2 beta score] dt + eta sqrt(beta) dw, backwards over 0.02."""
    t, h = 0.6, 0.02
    beta = 0.1 + 19.9 * t
    bar = np.exp(-0.1 * t - 19.9 * t**2 / 2)
    score = (np.sqrt(bar) * 0.5 * X - X) / (1 - bar)
    drift = -beta / 2 * X - (1 + eta**2) / 2 * beta * score
    expected = X - h * drift + eta * np.sqrt(beta * h) * NOISE
    got = take(Euler(eta), Gaussian(VP()), t, t - h)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_euler_on_straight_paths_is_ddim():
    """Their velocity is constant, so both follow the same line; from t = 1 too, where alpha = 0."""
    process = Gaussian(Flow())
    for t, s in ((1.0, 0.7), (0.7, 0.2), (0.2, 0.0)):
        one, other = (take(solver, process, t, s) for solver in (Euler(), FirstOrder()))
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("solver", [Euler(0.0), Euler(1.0), ReverseDiffusion(), FirstOrder(1.0)], ids=str)
def test_the_last_step_returns_the_estimate(solver):
    np.testing.assert_allclose(take(solver, Gaussian(VP()), 0.1, 0.0), 0.5 * X, rtol=1e-6)


def test_annealed_langevin_is_the_papers_move():
    """Song and Ermon 2019: x + e/2 score + sqrt(e) noise, e = epsilon sigma_i^2/sigma_L^2; it ends with x_hat."""
    process = Gaussian(VE(0.02, 50.0))
    sigma, epsilon = 0.02 * 2500.0**0.6, 8e-5
    e = epsilon * sigma**2 / 0.02**2
    expected = X + e / 2 * (0.5 * X - X) / sigma**2 + np.sqrt(e) * NOISE
    grid = np.array([1, 0.6, 1e-6, 0])  # sigma_L = 0.02
    got = [
        take(AnnealedLangevin(epsilon, 1, end), process, 0.6, s, grid=grid)
        for s, end in ((0.5, True), (0.0, False), (0.0, True))
    ]
    np.testing.assert_allclose(got[0], expected, rtol=1e-4)
    np.testing.assert_allclose(got[1], expected, rtol=1e-4)
    np.testing.assert_allclose(got[2], 0.5 * expected, rtol=1e-4)


def test_annealed_langevin_diverges_from_four_times_the_last_levels_variance():
    grid = np.array([1, 0.5, 0])
    schedule = VE(0.02, 50.0)
    variance = (0.02 * 50) ** 2
    for size, count in ((3.99, 0), (4.01, 1)):
        assert len(list(AnnealedLangevin(size * variance).diverging(schedule, grid))) == count
    solver, problem = AnnealedLangevin(0.3 * variance, 1), Problem(Gaussian(schedule), halfway, grid=grid)
    np.testing.assert_allclose(np.ravel(solver.relative_step(problem, jnp.asarray(X))), 0.3, rtol=1e-4)


class Stopped(StepSolver):
    """Shows where its step starts: the time in place of x_s, and the state."""

    def step(self, problem, keys, x_t, memory, t, s):
        return jnp.full_like(x_t, t), x_t, memory


def arrival(process, t, x=X, seed=0, **options):
    """Where a step of ten starts after churn: (x, t)."""
    problem = Problem(process, halfway, grid=np.linspace(1, 0, 11))
    churned = Churned(Stopped(), **options)
    out = churned.step(problem, jax.random.key(seed), jnp.asarray(x), None, jnp.float32(t), jnp.float32(0.1))
    return out[1], float(out[0][0, 0])


@pytest.mark.parametrize("schedule", [EDM(), VP(), Cosine(), ddpm_linear(1000)], ids=["edm", "vp", "cosine", "table"])
def test_churn_goes_back_to_the_ratio_asked_for(schedule):
    """sigma/alpha grows by 1 + amount/steps, and no more than sqrt 2; on a table to the nearest entry."""
    process = Gaussian(schedule)
    for amount, factor in ((2.0, 1.2), (100.0, np.sqrt(2))):
        _, later = arrival(process, 0.5, amount=amount)
        (alpha, sigma), (a, s) = (schedule(jnp.asarray(t, jnp.float32)) for t in (0.5, later))
        np.testing.assert_allclose((s / a) / (sigma / alpha), factor, rtol=1e-4 if schedule.continuous else 0.01)


def test_churn_keeps_the_law_of_data_at_a_point():
    """x_t = alpha x + sigma z with one x: the later state has the later alpha and sigma, wider with noise > 1."""
    process = Gaussian(VP())
    alpha, sigma = process.schedule(jnp.float32(0.5))
    x = jnp.broadcast_to(alpha * 0.7 + sigma * jax.random.normal(jax.random.key(3), (1, 100_000)), (1, 100_000))

    def later(noise):
        return arrival(process, 0.5, x, 4, amount=4.0, noise=noise)[0]

    _, t = arrival(process, 0.5, amount=4.0)
    a, s = process.schedule(jnp.float32(t))
    found = later(1.0)
    assert float(found.mean()) == pytest.approx(float(a * 0.7), abs=0.015)
    assert float(found.std()) == pytest.approx(float(s), abs=0.01)
    added = s**2 - (a / alpha * sigma) ** 2
    assert float(later(2.0).var()) == pytest.approx(float(s**2 + 3 * added), rel=0.03)


def test_churn_stays_where_it_is_not_asked_for():
    process = Gaussian(EDM())
    sigma = float(process.schedule(jnp.float32(0.5))[1])
    for options in ({"low": 2 * sigma}, {"high": sigma / 2}, {"amount": 0.0}):
        x, t = arrival(process, 0.5, **{"amount": 2.0, **options})
        np.testing.assert_array_equal(x, X)
        assert t == 0.5
    assert make("heun", {"churn": 0.0}) == Heun()


def test_churn_stops_at_the_end_of_time():
    for schedule in (EDM(), Flow()):
        x, t = arrival(Gaussian(schedule), 1.0, amount=5.0)
        np.testing.assert_array_equal(x, X)
        assert t == 1
    x, t = arrival(Gaussian(EDM()), 0.999, amount=5.0)
    assert t == 1
    assert np.abs(x - X).min() > 0
