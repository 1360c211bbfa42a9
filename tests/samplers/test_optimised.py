"""Times chosen for a denoiser: exact shortest paths, the bound in closed form and above what is drawn, better draws."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from ddpm_jax.denoisers import Pointed
from ddpm_jax.oracles import GaussianMixture
from ddpm_jax.processes import Gaussian, Ordered, make_order
from ddpm_jax.samplers import FirstOrder, Problem, optimised_grid, step_errors
from ddpm_jax.samplers.optimised import shortest
from ddpm_jax.schedules import VE, VP, Flow, ddpm_linear
from ddpm_jax.schedules.grids import make_grid
from ddpm_jax.schedules.keeping import linear

pytestmark = pytest.mark.slow

WEIGHTS, MEANS, DEVIATIONS = np.array([0.3, 0.7]), np.array([-0.7, 0.5]), np.array([0.1, 0.15])
LAW = GaussianMixture(
    jnp.asarray(WEIGHTS, jnp.float32),
    jnp.asarray(MEANS[:, None], jnp.float32),
    jnp.asarray(DEVIATIONS[:, None, None] ** 2, jnp.float32),
)
X = LAW.sample(jax.random.key(0), 1024)
T_MIN, STEPS = 1e-3, 10


def mass_below(x):
    return float(WEIGHTS @ stats.norm.cdf(x, MEANS, DEVIATIONS))


PLACES = np.linspace(-1.5, 1.5, 1501)
BELOW = np.array([mass_below(place) for place in PLACES])
EDGES = np.array([brentq(lambda x, share=share: mass_below(x) - share, -5, 5) for share in np.arange(1, 20) / 20])


def divergence(x):
    """KL(law || draws) in nats over twenty bins of equal mass, which is at most that of the densities."""
    counts = np.bincount(np.searchsorted(EDGES, np.asarray(x).ravel()), minlength=20) + 0.5
    return float(np.mean(np.log(1 / 20) - np.log(counts / counts.sum())))


def distance(x):
    """The first Wasserstein distance of draws to the law: the area between both distribution functions."""
    shares = np.searchsorted(np.sort(np.asarray(x).ravel()), PLACES) / np.size(x)
    return float(np.trapezoid(np.abs(shares - BELOW), PLACES))


@partial(jax.jit, static_argnums=(0, 1))
def drawn(process, eta, grid):
    """Draws of first-order steps, which hold the posterior's mean."""
    problem = Problem(process, Pointed(LAW.denoiser(process)), grid=grid)
    start = process.prior(jax.random.key(1), (10_000, 1))
    return FirstOrder(eta).solve(problem, jax.random.key(2), start)[0]


def by_hand(schedule):
    return {name: make_grid(schedule, STEPS, name, T_MIN) for name in ("uniform", "quadratic", "karras", "log_snr")}


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("schedule", [VP(), Flow()], ids=repr)
def test_draws_are_nearer_the_law_than_those_of_any_spacing_by_hand(schedule, eta):
    process = Gaussian(schedule)
    grid = optimised_grid(process, LAW.denoiser(process), X, jax.random.key(0), STEPS, t_min=T_MIN)
    assert (grid[0], grid[-2], grid[-1], len(grid)) == (1, T_MIN, 0, STEPS + 1)
    assert np.all(np.diff(grid) < 0)
    reached = {name: distance(drawn(process, eta, other)) for name, other in by_hand(schedule).items()}
    ours = distance(drawn(process, eta, grid))
    assert ours < 0.9 * reached["uniform"]
    assert ours < 1.05 * min(reached.values())


def bound(process, grid):
    """The divergence of the paths along a grid, its integrals on a finer one."""
    times = np.unique(np.concatenate([make_grid(process.schedule, 200, "log_snr", T_MIN)[:-1], grid[:-1]]))[::-1]
    errors = step_errors(process, LAW.denoiser(process), X, times, jax.random.key(3), measure="divergence")
    at = np.searchsorted(-times, -grid[:-1])
    return sum(errors[i, j] for i, j in itertools.pairwise(at))


def test_the_divergence_of_paths_bounds_that_of_draws_and_is_least_on_its_own_grid():
    process = Gaussian(VP())
    some = process, LAW.denoiser(process), X, jax.random.key(0), STEPS
    grid = optimised_grid(*some, t_min=T_MIN, measure="divergence")
    grids = {**by_hand(process.schedule), "ours": grid}
    bounds = {name: bound(process, other) for name, other in grids.items()}
    for name, other in grids.items():
        assert divergence(drawn(process, 1.0, other)) < bounds[name], name
    assert min(bounds, key=bounds.__getitem__) == "ours"
    assert divergence(drawn(process, 1.0, grid)) < divergence(drawn(process, 1.0, grids["uniform"]))


def test_the_error_of_a_step_is_that_of_a_normal_law():
    """x ~ N(0, c), alpha = 1: D = c/(c + v) x_t with v = sigma^2. D_u - D_t is a step of a martingale, so
    E |D_u - D_t|^2 = c^2/(c + u) - c^2/(c + t) at the variances u < t, and 1/2 int over d(1/u) has a closed form.
    """
    c, process = 0.3, Gaussian(VE(0.05, 20.0))
    law = GaussianMixture(jnp.ones(1), jnp.zeros((1, 1)), jnp.full((1, 1, 1), c))
    times = np.linspace(1, 0.1, 200)
    x = law.sample(jax.random.key(3), 5000)
    some = process, law.denoiser(process), x, times, jax.random.key(4)
    errors, squares = (step_errors(*some, measure=measure) for measure in ("divergence", "distance"))
    variance = (0.05 * 400**times) ** 2
    for i, j in ((0, 1), (0, 199), (50, 120), (100, 199)):
        t, s = variance[i], variance[j]
        # c^2/(c + u) = c - c/(1 + c q) with q = 1/u; integrate over q from 1/t to 1/s
        held = c**2 / (c + t)
        exact = 0.5 * ((1 / s - 1 / t) * (c - held) - np.log((1 + c / s) / (1 + c / t)))
        assert errors[i, j] == pytest.approx(exact, rel=0.05, abs=1e-6)
        # the same over r = 1/sigma: int dr/(1 + c r^2) = arctan(sqrt(c) r)/sqrt(c)
        near, far = t**-0.5, s**-0.5
        angle = np.arctan(np.sqrt(c) * far) - np.arctan(np.sqrt(c) * near)
        missed = (far - near) / far**2 * ((far - near) * (c - held) - np.sqrt(c) * angle)
        assert squares[i, j] == pytest.approx(missed, rel=0.05, abs=1e-7)
    assert np.all(np.isinf(errors[np.tril_indices(200)]))


def test_shortest_is_that_of_all_paths():
    random = np.random.default_rng(0)
    errors = np.where(np.triu(np.ones((8, 8)), 1) > 0, random.uniform(size=(8, 8)), np.inf)
    for steps in range(1, 8):
        paths = [(0, *inner, 7) for inner in itertools.combinations(range(1, 7), steps - 1)]
        costs = [sum(errors[i, j] for i, j in itertools.pairwise(path)) for path in paths]
        assert tuple(shortest(errors, steps)) == paths[int(np.argmin(costs))]
    with pytest.raises(ValueError, match="do not fit"):
        shortest(errors, 8)


def test_in_discrete_time_only_times_that_the_network_knows_are_chosen():
    for process, discrete in ((Gaussian(ddpm_linear(30)), 0), (Gaussian(VP()), 30)):
        denoise = LAW.denoiser(process)
        grid = optimised_grid(process, denoise, X[:64], jax.random.key(0), 6, t_min=1 / 30, discrete=discrete)
        np.testing.assert_allclose(grid * 30, np.round(grid * 30), atol=1e-9)
        assert (grid[0], grid[-2], len(grid)) == (1, pytest.approx(1 / 30), 7)


def test_an_end_in_pure_noise_and_a_single_step_have_grids_too():
    process = Gaussian(ddpm_linear(100, zero_terminal=True))
    some = process, LAW.denoiser(process), X[:64], jax.random.key(0)
    grid = optimised_grid(*some, 4)
    assert np.all(np.isfinite(grid)) and np.all(np.diff(grid) < 0)
    assert optimised_grid(*some, 1).tolist() == [1, 0]


def test_what_has_no_such_grid_is_refused():
    process = Gaussian(ddpm_linear(25))
    with pytest.raises(ValueError, match="do not fit"):
        optimised_grid(process, LAW.denoiser(process), X[:8], jax.random.key(0), 30)
    with pytest.raises(ValueError, match="distance, divergence"):
        optimised_grid(process, LAW.denoiser(process), X[:8], jax.random.key(0), 3, measure="area")
    hiding = Ordered(make_order("raster", (4,)), linear)
    with pytest.raises(ValueError, match="noise"):
        optimised_grid(hiding, LAW.denoiser(process), X[:8], jax.random.key(0), 3)
