"""What uniform corruption stands on, with a table of 3 levels at 2 values in place of a network: no Monte Carlo error.

Every x and every x_t is enumerated, 9 each. The laws of x_t and of a step back are Kronecker products of one value's,
written out from "kept, or any of K".
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Categorical
from ddpm_jax.likelihood import bound
from ddpm_jax.oracles import JointTable
from ddpm_jax.processes import Uniform
from ddpm_jax.samplers import DPM2M, FirstOrder, sample
from ddpm_jax.schedules.keeping import KEEPS

pytestmark = pytest.mark.slow

K = 3
VALUES = np.linspace(-1, 1, K)
P = np.array([[0.30, 0.04, 0.02], [0.05, 0.25, 0.01], [0.03, 0.10, 0.20]])
TABLE, ONE = JointTable(P, VALUES), JointTable(np.array([0.6, 0.3, 0.1]), VALUES)
GRID = [1.0, 0.8, 0.5, 0.2, 0.0]
each_keep = pytest.mark.parametrize("keep", KEEPS.values(), ids=KEEPS)


def made(keep=KEEPS["linear"]):
    return Uniform(keep, VALUES)


def chain(table, ratio):
    """`[from, to]` over all states: each value stays with probability `ratio`, or becomes any."""
    one, whole = ratio * np.eye(K) + (1 - ratio) / K, np.eye(1)
    for _ in range(table.count):
        whole = np.kron(whole, one)
    return whole


def corrupted(table, keep, t):
    """q(x_t | x), `[x, x_t]`."""
    return chain(table, float(keep(t)))


def posterior(table, keep, t):
    """p(x_i | x_t) of every x_t by sums over the table: `[x_t, D, K]`."""
    joint = (table.probabilities.reshape(-1, 1) * corrupted(table, keep, t)).T
    joint = (joint / joint.sum(axis=1, keepdims=True)).reshape(-1, *table.probabilities.shape)
    axes = range(1, table.count + 1)
    return np.stack([joint.sum(axis=tuple(other for other in axes if other != axis)) for axis in axes], axis=1)


def step_back(table, keep, t, s):
    """p(x_s | x_t) of a step with the table's marginals, `[x_t, x_s]`."""
    before, ratio = float(keep(s)), float(keep(t)) / float(keep(s))
    to_s, on = (share * np.eye(K) + (1 - share) / K for share in (before, ratio))
    joint = to_s[:, None, :] * on.T[None]  # [x, x_t, x_s], of one value
    back = joint / joint.sum(axis=-1, keepdims=True)
    numbers = np.indices(table.probabilities.shape).reshape(table.count, -1)
    whole = np.ones((K**table.count, K**table.count))
    for i, said in enumerate(posterior(table, keep, t).swapaxes(0, 1)):  # [x_t, K]
        mixed = np.einsum("nk,nks->ns", said, back[:, numbers[i]].swapaxes(0, 1))
        whole = whole * mixed[:, numbers[i]]
    return whole


def expected_elbo(table, process, t, s):
    """E[elbo] over x and x_t with the table's denoiser, enumerated."""
    states = jnp.asarray(table.states((table.count,), 1), jnp.float64)
    x = jnp.repeat(states, len(states), axis=0)
    x_t = jnp.tile(states, (len(states), 1, 1))
    z = jnp.stack([jnp.full(x.shape, 1 - 1e-9), ((x_t + 1) / 2 * (K - 1) + 0.5) / K], axis=-1)
    t, s = jnp.float64(t), jnp.float64(s)
    np.testing.assert_array_equal(process.corrupt(x, z, t), x_t)
    nats = process.elbo(table.denoiser(process)(x_t, t), x, z, t, s).reshape(len(states), -1)
    return float(np.sum(table.probabilities.reshape(-1, 1) * corrupted(table, process.keep, t) * nats))


@each_keep
@pytest.mark.parametrize("table", [ONE, TABLE], ids=["one", "two"])
def test_the_denoiser_is_bayes_rule_over_all_states(table, keep):
    states = jnp.asarray(table.states((table.count,), 1))
    for t in (0.05, 0.5, 1.0):
        logits = table.denoiser(made(keep))(states, jnp.float32(t)).logits
        chances = np.asarray(jax.nn.softmax(logits)).reshape(-1, table.count, K)
        np.testing.assert_allclose(chances, posterior(table, keep, t), atol=2e-6)


@each_keep
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_of_one_value_the_bound_is_exact_on_every_grid(keep, steps):
    with jax.enable_x64(True):
        grid = np.linspace(1, 0, steps + 1)
        total = sum(expected_elbo(ONE, made(keep), t, s) for t, s in itertools.pairwise(grid))
        assert total == pytest.approx(ONE.entropy, rel=1e-9)


def test_of_two_values_it_is_above_and_comes_down_with_more_steps():
    """On a grid the bound is the divergence of the whole chain: what steps lose by taking values independently."""
    with jax.enable_x64(True):
        gaps = []
        for steps in (1, 4, 16, 64):
            grid = np.linspace(1, 0, steps + 1)
            total = sum(expected_elbo(TABLE, made(), t, s) for t, s in itertools.pairwise(grid))
            gaps.append(total - TABLE.entropy)
        independent = sum(TABLE.entropy_of([i]) for i in range(2)) - TABLE.entropy
        assert gaps[0] == pytest.approx(independent, rel=1e-9)
        assert gaps[-1] > 0 and all(later < earlier / 2 for earlier, later in itertools.pairwise(gaps))


def test_in_continuous_time_it_is_the_entropy():
    """The integral of the density by Gauss and Legendre, and the decoder at t_min, which takes values independently."""
    with jax.enable_x64(True):
        t_min, (nodes, weights) = 1e-3, np.polynomial.legendre.leggauss(40)
        u = np.log(t_min) * (1 - nodes) / 2  # in log t
        density = sum(
            weight * np.exp(one) * expected_elbo(TABLE, made(), np.exp(one), np.exp(one))
            for one, weight in zip(u, weights, strict=True)
        )
        total = -np.log(t_min) / 2 * density + expected_elbo(TABLE, made(), t_min, 0.0)
        assert 0 < total - TABLE.entropy < 1e-4


def test_the_estimate_has_the_mean_of_the_sum_and_the_cross_entropy_of_another_table():
    """A wrong model that is the right one of another table: in continuous time its bound is exact for that law."""
    table, process, rows = JointTable(P.T**0.5 / np.sum(P**0.5), VALUES), made(), 6000
    levels = np.random.default_rng(0).choice(K**2, size=rows, p=P.reshape(-1))
    x, keys = jnp.asarray(table.states((2,))[levels]), random.per_example(jax.random.key(0), jnp.arange(rows))

    @jax.jit
    def nats(x):
        denoise, strata = table.denoiser(process), np.append(np.linspace(1, 1e-3, 9), 0)
        every = bound(process, denoise, np.linspace(1, 0, 5), keys, x)
        grouped = bound(process, denoise, np.linspace(1, 0, 5), keys, x, groups=3)
        return every.total, grouped.total, bound(process, denoise, strata, keys, x, continuous=True).total

    every, grouped, continuous = ((one.mean(), one.std() / rows**0.5) for one in map(np.asarray, nats(x)))
    cross = -float(np.mean(np.log(table.probabilities.reshape(-1)[levels])))
    assert abs(every[0] - grouped[0]) < 4 * np.hypot(every[1], grouped[1])
    assert every[0] > cross and abs(continuous[0] - cross) < 4 * continuous[1] + 1e-3


@each_keep
def test_samples_have_the_law_of_the_steps_and_of_one_value_the_datas(keep):
    rows = 20_000
    for table, shape in ((ONE, (rows, 1, 1)), (TABLE, (rows, 2, 1))):
        process, law = made(keep), np.full(K**table.count, K**-table.count)
        for t, s in itertools.pairwise(GRID):
            law = law @ step_back(table, keep, t, s)
        drawn = jax.jit(
            lambda key, table=table, shape=shape, process=process: table.index(
                sample(process, table.denoiser(process), FirstOrder(eta=1.0), np.array(GRID), key, shape)
            )
        )(jax.random.key(1))
        counts = np.bincount(np.asarray(drawn), minlength=len(law))
        assert stats.chisquare(counts, rows * law).pvalue > 1e-3
        if table is ONE:
            np.testing.assert_allclose(law, ONE.probabilities, atol=1e-6)


def test_the_steps_law_comes_to_the_datas():
    far = []
    for steps in (2, 8, 32):
        law = np.full(K**2, K**-2.0)
        for t, s in itertools.pairwise(np.linspace(1, 0, steps + 1)):
            law = law @ step_back(TABLE, KEEPS["linear"], t, s)
        far.append(np.abs(law - P.reshape(-1)).sum())
    assert far[2] < far[1] / 2 < far[0] / 4


def test_other_solvers_and_other_etas_are_refused():
    process = made()
    for solver, words in ((FirstOrder(), "set it to 1"), (DPM2M(), "use first_order")):
        with pytest.raises(ValueError, match=words):
            sample(process, TABLE.denoiser(process), solver, 4, jax.random.key(0), (2, 2, 1))


def test_a_guided_step_says_what_its_own_values_say_once():
    """p_u^(1 - w) p_c^w of posteriors at one x_t has each value's evidence to the first power."""
    process, x_t = made(), jnp.asarray(TABLE.states((2,)))
    weak, strong = (
        JointTable(table, VALUES).denoiser(process)(x_t, jnp.float32(0.3))
        for table in (np.outer(P.sum(1), P.sum(0)), P)
    )
    values = jnp.asarray(VALUES, jnp.float32)
    evidence = process.evidence(x_t, 0.3, values)
    bare = Categorical(weak.logits - evidence, values), Categorical(strong.logits - evidence, values)
    guided, expected = strong.guide(weak, 3.0), bare[1].guide(bare[0], 3.0).logits + evidence
    np.testing.assert_allclose(jax.nn.softmax(guided.logits), jax.nn.softmax(expected), atol=1e-5)
