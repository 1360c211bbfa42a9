"""The laws that guided samplers have, which are not the tilted law p_weak^(1 - w) p_strong^w.

On normals a sampler is an affine map of its noise, so its moments are found without drawing: a step is asked for what
it makes of 0, of 1 and of a unit of noise. On a table every law is a sum.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Guided, Pointed
from ddpm_jax.likelihood import bound
from ddpm_jax.oracles import GaussianMixture, JointTable
from ddpm_jax.processes import Gaussian, Ordered, make_order
from ddpm_jax.samplers import (
    DPM2M,
    AnnealedLangevin,
    Euler,
    FirstOrder,
    Heun,
    Problem,
    ReverseDiffusion,
    Tsit5,
    walk,
)
from ddpm_jax.schedules import VE
from ddpm_jax.schedules.grids import make_grid
from ddpm_jax.schedules.keeping import linear

M, A, B, W = 1.0, 0.25, 1.0, 2.0  # strong N(M, A), weak N(0, B)
NOISE = VE(1e-3, 300.0)


def normal_denoiser(process, mean, variance):
    """The exact one of N(mean, variance), as a point."""
    law = GaussianMixture(jnp.ones(1), jnp.full((1, 1), mean), jnp.full((1, 1, 1), variance))
    return Pointed(law.denoiser(process))


def guided_normals(process, weight=W):
    return Guided((normal_denoiser(process, 0.0, B), normal_denoiser(process, M, A)), (weight,))


def moments(solver, process, denoise, grid, times=None):
    """Mean and variance of a solver's samples from the prior on, in float64, by its own steps.

    `times` are (t, s) of the steps, those of the grid unless given.
    """
    grid = jnp.asarray(grid, jnp.float64)
    t, s = times or (grid[:-1], grid[1:])
    problem = Problem(process, denoise, grid=grid)
    rows = jnp.array([[0.0], [1.0], [0.0]], jnp.float64)
    noise = jnp.array([[0.0], [0.0], [1.0]], jnp.float64)

    def body(carry, ends):
        mean, variance = carry
        base, moved, noisy = solver.step(problem, jax.random.key(0), rows, None, *ends)[0][:, 0]
        slope = moved - base
        return (base + slope * mean, slope**2 * variance + (noisy - base) ** 2), None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random, "normal", lambda keys, shape, dtype=None: noise)
        start = (jnp.zeros(()), process.at(jnp.ones(()), rows)[1] ** 2)
        (mean, variance), _ = jax.jit(lambda: jax.lax.scan(body, start, (t, s)))()
    return float(mean), float(variance)


def moments_of_map(solver, process, denoise, grid):
    """The same of a solver without noise of its own, from what it makes of two starts."""
    starts = jnp.array([[0.0], [1.0]], jnp.float64)
    problem = Problem(process, denoise, grid=grid)
    base, moved = np.ravel(jax.jit(lambda x: solver.solve(problem, jax.random.key(0), x)[0])(starts))
    return base, float((moved - base) ** 2 * process.at(jnp.ones(()), starts)[1] ** 2)


def by_theory(share, weight=W):
    """Mean and variance where v = sigma^2 falls from infinity by dx = -share score dv and noise of 2 share - 1.

    With S = w (M - x)/(A + v) - (1 - w) x/(B + v) the deviation from the mean shrinks as phi(v) = ((A + v)^w
    (B + v)^(1 - w))^share, which grows without end.
    """

    def phi(v):
        return ((A + v) ** weight * (B + v) ** (1 - weight)) ** share

    mean = phi(0) * integrate.quad(lambda v: share * weight * M / ((A + v) * phi(v)), 0, np.inf)[0]
    if share == 0.5:  # v / phi^2 comes to 1
        return mean, phi(0) ** 2
    return mean, phi(0) ** 2 * integrate.quad(lambda v: phi(v) ** -2, 0, np.inf)[0]


FLOW, SDE = by_theory(0.5), by_theory(1.0)
TILTED = (W * M / A / (W / A + (1 - W) / B), 1 / (W / A + (1 - W) / B))


def test_the_three_laws_differ():
    """In closed form: the integrals done by hand, a^w b^(1 - w), and the product of the densities."""
    np.testing.assert_allclose(FLOW, (1 + np.log(2 + 3**0.5) / (2 * 3**0.5), 1 / 16), rtol=1e-8)
    np.testing.assert_allclose(SDE, (5 / 4, 7 / 64), rtol=1e-8)
    np.testing.assert_allclose(TILTED, (8 / 7, 1 / 7), rtol=1e-8)
    for share in (0.5, 1.0):  # and without guidance there is one law
        assert by_theory(share, 1.0) == pytest.approx((M, A))
        assert by_theory(share, 0.0) == pytest.approx((0, B))


@pytest.mark.parametrize(
    ("solver", "steps"),
    [(FirstOrder(), 3000), (Heun(), 150), (DPM2M(), 300), (Euler(), 30_000), (Tsit5(1e-7, 1e-7), 2)],
    ids=lambda one: type(one).__name__ if not isinstance(one, int) else str(one),
)
def test_guided_flows_come_to_the_law_of_the_guided_flow(solver, steps):
    with jax.enable_x64(True):
        process = Gaussian(NOISE)
        grid = make_grid(NOISE, steps, "log_snr", 1e-5)
        mean, variance = moments_of_map(solver, process, guided_normals(process), grid)
    assert mean == pytest.approx(FLOW[0], rel=2e-3)
    assert variance == pytest.approx(FLOW[1], rel=5e-3)


@pytest.mark.parametrize(
    "solver", [FirstOrder(1.0), Euler(1.0), ReverseDiffusion()], ids=lambda one: type(one).__name__
)
def test_guided_samplers_with_noise_come_to_the_law_of_the_guided_equation(solver):
    """At first order in the step: half the error for twice the steps."""
    with jax.enable_x64(True):
        process = Gaussian(NOISE)
        errors = []
        for steps in (2000, 4000):
            grid = make_grid(NOISE, steps, "log_snr", 1e-5)
            mean, variance = moments(solver, process, guided_normals(process), grid)
            errors.append([abs(mean - SDE[0]), abs(variance - SDE[1])])
    assert np.max(errors[1] / np.asarray(SDE)) < 0.01
    np.testing.assert_allclose(np.divide(*errors), 2, rtol=0.2)


def test_at_weight_one_it_is_the_strong_law():
    with jax.enable_x64(True):
        process = Gaussian(NOISE)
        grid = make_grid(NOISE, 1000, "log_snr", 1e-5)
        mean, variance = moments(FirstOrder(1.0), process, guided_normals(process, 1.0), grid)
    assert (mean, variance) == (pytest.approx(M, rel=0.01), pytest.approx(A, rel=0.02))


def test_many_langevin_moves_come_to_the_tilted_law():
    """Of small steps at each of falling levels, one move at a time; at the last level sigma is 0.02."""
    with jax.enable_x64(True):
        schedule = VE(0.02, 20.0)
        process, levels = Gaussian(schedule), np.append(np.linspace(1, 1e-9, 40), 0.0)
        solver = AnnealedLangevin(0.1 * 0.02**2, 1, end=False)
        t, s = (jnp.repeat(jnp.asarray(part), 2000) for part in (levels[:-1], levels[1:]))
        mean, variance = moments(solver, process, guided_normals(process), levels, (t, s))
    assert mean == pytest.approx(TILTED[0], rel=4e-3)
    assert variance == pytest.approx(TILTED[1], rel=4e-3)


# A table of three sites of three levels for each of two labels, and their mixture.

VALUES = np.linspace(-1, 1, 3)
GIVEN = np.random.default_rng(0).dirichlet(np.full(27, 0.6), 2).reshape(2, 3, 3, 3)
GIVEN = 0.05 / 27 + 0.95 * GIVEN
MARGINAL = np.tensordot([0.4, 0.6], GIVEN, 1)
STRONG, WEAK = JointTable(GIVEN[0], VALUES), JointTable(MARGINAL, VALUES)
STATES = jnp.asarray(WEAK.states((3,)))
ROWS, WEIGHT = 20_000, 2.5


class GuidedTable(JointTable):
    """A `JointTable` in name: its conditionals are guided ones, which no table has."""

    def conditional(self, value, given):
        powers = STRONG.conditional(value, given) ** WEIGHT * WEAK.conditional(value, given) ** (1 - WEIGHT)
        return powers / powers.sum(axis=value, keepdims=True)


def ordered(name, chunk=1):
    return Ordered(make_order(name, (3,), chunk=chunk, seed=3), linear)


def guided_tables(process):
    return Guided((WEAK.denoiser(process), STRONG.denoiser(process)), (WEIGHT,))


def equal_grid(steps):
    return np.arange(steps, -1, -1) / steps


def tilted_table():
    powers = GIVEN[0] ** WEIGHT * MARGINAL ** (1 - WEIGHT)
    return powers / powers.sum()


def by_enumeration(sequence):
    """The law of sites drawn one by one in this sequence: for each image the product of its guided conditionals."""
    law = np.ones((3, 3, 3))
    for image in itertools.product(range(3), repeat=3):
        for place, site in enumerate(sequence):
            ratios = []
            for level in range(3):
                known = {**{sequence[i]: image[sequence[i]] for i in range(place)}, site: level}
                at = tuple(known.get(i, slice(None)) for i in range(3))
                strong, weak = GIVEN[0][at].sum(), MARGINAL[at].sum()
                ratios.append(strong**WEIGHT * weak ** (1 - WEIGHT))  # what is known cancels in the ratio
            law[image] *= ratios[image[site]] / sum(ratios)
    return law


def draws(process, denoise, solver, grid):
    problem = Problem(process, denoise, grid=grid)
    keys = random.per_example(jax.random.key(4), jnp.arange(ROWS))
    start = process.prior(jax.random.key(0), (ROWS, 3, 1))
    x, _ = jax.jit(lambda keys, x: walk(solver, problem, keys, x))(keys, start)
    return np.bincount(np.asarray(WEAK.index(x)), minlength=27)


@pytest.mark.parametrize("name", ["raster", "fixed"])
def test_guided_autoregression_has_the_law_of_its_guided_conditionals(name):
    """Exactly, by the chain rule of its own denoiser, and in draws; which the tilted table is not."""
    process = ordered(name)
    law, denoise = by_enumeration([int(site) for site in process.order.sequence]), guided_tables(process)
    keys = random.per_example(jax.random.key(0), jnp.arange(27))
    nats = jax.jit(lambda x: bound(process, denoise, equal_grid(3), keys, x).total)(STATES)
    np.testing.assert_allclose(np.exp(-nats), law.ravel(), rtol=1e-4)
    propagated = GuidedTable(MARGINAL, VALUES).sampled_law(process, equal_grid(3))
    np.testing.assert_allclose(propagated, law, rtol=1e-9)
    assert law.sum() == pytest.approx(1)

    counts = draws(process, denoise, FirstOrder(), equal_grid(3))
    assert stats.chisquare(counts, ROWS * law.ravel()).pvalue > 1e-3
    assert stats.chisquare(counts, ROWS * tilted_table().ravel()).pvalue < 1e-9
    assert np.abs(law - tilted_table()).sum() / 2 > 0.03  # total variation


@pytest.mark.parametrize(("name", "steps"), [("independent", 2), ("independent", 4), ("random", 3)])
def test_guided_masked_diffusion_has_the_law_of_its_guided_conditionals(name, steps):
    process, grid = ordered(name), equal_grid(steps)
    law = GuidedTable(MARGINAL, VALUES).sampled_law(process, grid)
    if name == "random":  # a site a step: the mean over sequences
        sequences = itertools.permutations(range(3))
        np.testing.assert_allclose(law, np.mean([by_enumeration(one) for one in sequences], axis=0), rtol=1e-9)
    counts = draws(process, guided_tables(process), FirstOrder(), grid)
    assert stats.chisquare(counts, ROWS * law.ravel()).pvalue > 1e-3
    assert stats.chisquare(counts, ROWS * tilted_table().ravel()).pvalue < 1e-9


def test_many_steps_of_masked_diffusion_are_no_nearer_to_the_tilted_table():
    """They come to the mean over sequences, a site at a time."""
    table = GuidedTable(MARGINAL, VALUES)
    laws = [table.sampled_law(ordered("independent"), equal_grid(steps)) for steps in (20, 40, 80)]
    limit = np.mean([by_enumeration(one) for one in itertools.permutations(range(3))], axis=0)
    distances = [np.abs(law - limit).sum() / 2 for law in laws]
    assert distances[2] < 0.01 and distances[0] / distances[1] == pytest.approx(2, rel=0.1)
    assert np.abs(laws[2] - tilted_table()).sum() / 2 > 0.03
