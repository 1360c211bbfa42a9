"""What the ordered family stands on, with a table of 3 levels at 4 sites in place of a network.

For every order and chunk: the law of the samples, the loss's expectation, probabilities that sum to one, and bounds
above the exact value. Random sequences are enumerated (24), and so are images (81): most figures have no Monte Carlo
error. What a model with chunks is in theory is written out here from the table: the product of p(x_i | groups before).
"""

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Categorical
from ddpm_jax.likelihood import bound
from ddpm_jax.objectives import losses
from ddpm_jax.oracles import JointTable
from ddpm_jax.processes import Ordered, make_order
from ddpm_jax.samplers import FirstOrder, Problem, walk
from ddpm_jax.schedules.keeping import KEEPS

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
VALUES = np.linspace(-1, 1, 3)
P = (0.25 / 81 + 0.75 * RNG.dirichlet(np.full(81, 0.4))).reshape(3, 3, 3, 3)  # every image comes often enough to count
TABLE = JointTable(P, VALUES)
STATES = jnp.asarray(TABLE.states((2, 2)))
WEIGHTS = P.reshape(-1)
SEQUENCES = list(itertools.permutations(range(4)))
RAW = jnp.asarray(RNG.normal(0, 1.5, (256, 4, 3)), jnp.float32)  # logits for each of the 4^4 x_t, as chance gave them

FIXED = [(name, chunk) for name in ("raster", "fixed", "spread") for chunk in (1, 2)]
FIXED += [("spread", 3), ("raster", 4)]  # 3 and then 1 site; all at once, which is one model whatever the order
RANDOM = [("random", chunk) for chunk in (1, 2, 4)]
INDEPENDENT = [("independent", 1)]
ROWS = 2500


@dataclass(frozen=True, eq=False)
class Enumerated(Ordered):
    """With given ranks in place of drawn ones."""

    z: Any = None

    def noise(self, keys, shape):
        return self.z


def made(name, chunk=1, kind=Ordered, keep="linear", **more):
    return kind(make_order(name, (2, 2), chunk=chunk, seed=3), KEEPS[keep], **more)


def capped(cap):
    process = made("independent")
    return replace(process, order=replace(process.order, remask_cap=cap))


def equal_grid(steps):
    return np.arange(steps, -1, -1) / steps


def contradicting(process):
    """A denoiser that no joint distribution agrees with: what it says of an image depends on the sequence."""

    def denoise(x_t, t, condition=None):
        codes = jnp.round(jnp.where(process.visible(x_t), x_t + 2, 0)).astype(jnp.int32).reshape(-1, 4)
        logits = RAW[codes @ jnp.array([64, 16, 4, 1])]
        return Categorical(logits.reshape(*x_t.shape, 3), jnp.asarray(VALUES, x_t.dtype))

    return denoise


def table_conditional(i, given):
    """p(x_i | x_given) at every image, `[3, 3, 3, 3]`, by sums over the table."""

    def total(kept):
        return P.sum(axis=tuple(set(range(4)) - set(kept)), keepdims=True)

    return np.broadcast_to(total([*given, i]) / total(given), P.shape)


def raw_conditional(i, given):
    """The same for the contradicting denoiser."""
    chances = np.asarray(jax.nn.softmax(RAW), np.float64)
    levels = np.indices(P.shape)
    codes = sum((levels[site] + 1) * 4 ** (3 - site) for site in given) if given else np.zeros(P.shape, int)
    return np.take_along_axis(chances[codes, i], levels[i][..., None], axis=-1)[..., 0]


def law_of(sequence, chunk, conditional=table_conditional):
    """The probability of every image where sites come in this sequence, `chunk` at once: `[81]`."""
    law = np.ones(P.shape)
    for start in range(0, 4, chunk):
        for i in sequence[start : start + chunk]:
            law = law * conditional(i, list(sequence[:start]))
    return law.reshape(-1)


def sequences_of(name, chunk):
    """The order's sequences, all as likely."""
    return SEQUENCES if name == "random" else [tuple(int(i) for i in made(name, chunk).order.sequence)]


def ranks_of(sequences, chunk):
    """z of each sequence, `[sequences, 2, 2, 1]`."""
    groups = -(-4 // chunk)
    ranks = [[(sequence.index(site) // chunk + 0.5) / groups for site in range(4)] for sequence in sequences]
    return jnp.asarray(ranks, jnp.float32).reshape(-1, 2, 2, 1)


def with_every_sequence(name, chunk, rows):
    """The process with its sequences enumerated, and each of `rows` with each of them, `[rows * sequences, ...]`."""
    z = ranks_of(sequences_of(name, chunk), chunk)
    return made(name, chunk, Enumerated, z=jnp.tile(z, (len(rows), 1, 1, 1))), jnp.repeat(rows, len(z), axis=0)


def bound_of_every_image(name, chunk, denoiser):
    """The mean over the order's sequences of `likelihood.bound`, `[81]` in nats."""
    process, x = with_every_sequence(name, chunk, STATES)
    keys = random.per_example(jax.random.key(0), jnp.arange(len(x)))
    grid = equal_grid(process.order.groups)
    total = jax.jit(lambda x: bound(process, denoiser(process), grid, keys, x).total)(x)
    return np.asarray(total, np.float64).reshape(81, -1).mean(axis=1)


def assert_frequencies(x, law):
    counts = np.bincount(np.asarray(TABLE.index(x)), minlength=81)
    assert law.sum() == pytest.approx(1, abs=1e-6)
    assert stats.chisquare(counts, law / law.sum() * len(x)).pvalue > 1e-4


@pytest.mark.parametrize("name, chunk", FIXED + RANDOM + INDEPENDENT)
def test_samples_have_their_law_for_any_number_of_steps(name, chunk):
    """Frequencies against the propagated law: 1 to 4 equal steps, and uneven ones."""
    process = made(name, chunk)
    problem = Problem(process, TABLE.denoiser(process))
    jitted = jax.jit(lambda key, x, t, s: FirstOrder().step(problem, key, x, None, t, s)[0])
    start = process.prior(jax.random.key(0), (ROWS, 2, 2, 1))
    for number, grid in enumerate([*map(equal_grid, (1, 2, 3, 4)), np.array([1, 0.7, 0.1, 0])]):
        x = start
        for i, (t, s) in enumerate(itertools.pairwise(grid)):
            x = jitted(jax.random.fold_in(jax.random.key(number), i), x, jnp.float32(t), jnp.float32(s))
        assert_frequencies(x, TABLE.sampled_law(process, grid).reshape(-1))
    if chunk == 4:  # the figures can tell: samples of independent sites are not those of the table
        counts = np.bincount(np.asarray(TABLE.index(x)), minlength=81)
        assert stats.chisquare(counts, WEIGHTS * ROWS).pvalue < 1e-9


def test_the_loops_samples_are_the_tables():
    process = made("raster")
    problem = Problem(process, TABLE.denoiser(process), grid=equal_grid(4))
    keys, start = (
        random.per_example(jax.random.key(9), jnp.arange(ROWS)),
        process.prior(jax.random.key(0), (ROWS, 2, 2, 1)),
    )
    x, _ = jax.jit(lambda keys, x: walk(FirstOrder(), problem, keys, x))(keys, start)
    assert_frequencies(x, WEIGHTS)


@pytest.mark.parametrize("name, chunk", FIXED + RANDOM)
def test_the_propagated_law_is_the_chain_rules(name, chunk):
    """A group a step; with one site a step it is the table."""
    process = made(name, chunk)
    law = TABLE.sampled_law(process, equal_grid(process.order.groups)).reshape(-1)
    np.testing.assert_allclose(law, np.mean([law_of(s, chunk) for s in sequences_of(name, chunk)], axis=0), rtol=1e-9)
    if chunk == 1:
        np.testing.assert_allclose(law, WEIGHTS, rtol=1e-9)


@pytest.mark.parametrize(("eta", "cap"), [(0.5, 1.0), (1.0, 1.0), (1.0, 0.25)])
def test_samples_whose_sites_are_hidden_again_have_their_law(eta, cap):
    process, grid = capped(cap), equal_grid(4)
    problem = Problem(process, TABLE.denoiser(process), grid=grid)
    start = process.prior(jax.random.key(0), (ROWS, 2, 2, 1))
    x, _ = jax.jit(lambda key, x: walk(FirstOrder(eta), problem, key, x))(jax.random.key(1), start)
    law = TABLE.sampled_law(process, grid, eta).reshape(-1)
    assert_frequencies(x, law)
    plain = TABLE.sampled_law(process, grid).reshape(-1)
    assert np.sum((law - plain) ** 2 / plain) * ROWS > 5  # another law


@pytest.mark.slow
def test_whatever_is_hidden_again_the_law_comes_to_the_table_in_many_steps():
    """Its divergence falls with the steps' square, or with the steps where sites are drawn again all the way."""
    for eta, cap, factor in ((0.0, 1.0, 4), (1.0, 1.0, 2), (1.0, 0.0, 4)):
        laws = [TABLE.sampled_law(capped(cap), equal_grid(steps), eta) for steps in (32, 64)]
        before, after = (np.sum(P * np.log(P / law)) for law in laws)
        assert before < 0.02
        assert before / after == pytest.approx(factor, rel=0.1)


def test_under_a_cap_the_law_comes_to_the_table_as_well():
    """An exact denoiser has no mistakes to take back: the more is drawn again side by side, the farther is the law."""
    steps, far = (4, 8, 32), []
    for cap in (0.0, 0.05, 1.0):
        laws = [TABLE.sampled_law(capped(cap), equal_grid(count), 1.0) for count in steps]
        far.append([float(np.sum(P * np.log(P / law))) for law in laws])
    assert np.all(np.diff(far, axis=1) < 0) and np.all(np.diff(far, axis=0) > 0)
    assert max(row[-1] for row in far) < 0.02


@pytest.mark.parametrize("name, chunk", FIXED + RANDOM)
def test_the_losss_expectation_is_the_entropy_of_groups_and_the_excess_the_dependence_in_them(name, chunk):
    """`losses.loss` of the bound over every image, interval and sequence, in bits per dimension.

    The excess over the entropy is the mean over sequences of KL(p || product of p(x_i | groups before)).
    """
    groups = -(-4 // chunk)
    process, x = with_every_sequence(name, chunk, jnp.repeat(STATES, groups, axis=0))
    i = jnp.repeat(jnp.tile(jnp.arange(1, groups + 1), 81), len(x) // (81 * groups))
    keys = random.per_example(jax.random.key(0), jnp.arange(len(x)))
    objective = losses.Bits(groups)
    run = jax.jit(lambda x, t, s: losses.loss(process, TABLE.denoiser(process), objective, keys, x, None, t, s)[0])
    bits = np.asarray(run(x, i / groups, (i - 1) / groups), np.float64).reshape(81, -1).mean(axis=1)
    nats = np.sum(WEIGHTS * bits) * 4 * math.log(2)
    assert nats == pytest.approx(TABLE.group_entropy(process.order), rel=1e-5)
    divergences = [np.sum(WEIGHTS * np.log(WEIGHTS / law_of(s, chunk))) for s in sequences_of(name, chunk)]
    excess = TABLE.group_entropy(process.order) - TABLE.entropy
    assert excess == pytest.approx(np.mean(divergences), abs=1e-12)
    assert TABLE.entropy == pytest.approx(-np.sum(WEIGHTS * np.log(WEIGHTS)))
    assert abs(excess) < 1e-12 if chunk == 1 else excess > 0.05


def test_the_excess_of_all_sites_at_once_is_their_total_correlation():
    """Of whatever order: the sum of the sites' entropies less that of the image."""
    margins = [P.sum(axis=tuple(set(range(4)) - {i})) for i in range(4)]
    expected = sum(-np.sum(m * np.log(m)) for m in margins) + np.sum(P * np.log(P))
    for name in ("raster", "fixed", "spread", "random"):
        assert TABLE.group_entropy(made(name, 4).order) - TABLE.entropy == pytest.approx(expected)


@pytest.mark.parametrize("name, chunk", FIXED)
def test_a_fixed_orders_probabilities_are_the_chain_rules_and_sum_to_one(name, chunk):
    sequence = sequences_of(name, chunk)[0]
    for denoiser, conditional in ((TABLE.denoiser, table_conditional), (contradicting, raw_conditional)):
        chances = np.exp(-bound_of_every_image(name, chunk, denoiser))
        assert chances.sum() == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(chances, law_of(sequence, chunk, conditional), rtol=1e-4)


@pytest.mark.parametrize("chunk", [1, 2, 4])
def test_the_random_orders_bound_is_tight_for_conditionals_that_agree(chunk):
    """Each image's own with one site a step; with more, the model's mixture of sequences is likelier than the bound."""
    nats = bound_of_every_image("random", chunk, TABLE.denoiser)
    laws = np.array([law_of(sequence, chunk) for sequence in SEQUENCES])
    np.testing.assert_allclose(nats, -np.log(laws).mean(axis=0), rtol=1e-4)
    if chunk == 1:
        np.testing.assert_allclose(nats, -np.log(WEIGHTS), rtol=1e-4)
    assert np.all(nats >= -np.log(laws.mean(axis=0)) - 1e-4)
    assert np.sum(WEIGHTS * nats) >= TABLE.entropy - 1e-5


@pytest.mark.parametrize("chunk", [1, 2])
def test_a_denoiser_that_contradicts_itself_has_a_bound_above_its_mixture(chunk):
    laws = np.array([law_of(sequence, chunk, raw_conditional) for sequence in SEQUENCES])
    np.testing.assert_allclose(laws.sum(axis=1), 1, rtol=1e-6)
    mixture = laws.mean(axis=0)
    nats = bound_of_every_image("random", chunk, contradicting)
    np.testing.assert_allclose(nats, -np.log(laws).mean(axis=0), rtol=1e-4)
    gap = nats + np.log(mixture)
    assert gap.min() > 0.01
    assert np.exp(-nats).sum() < 0.95  # the bound's own numbers leave probability unaccounted for

    process = made("random", chunk)
    problem = Problem(process, contradicting(process), grid=equal_grid(process.order.groups))
    start = process.prior(jax.random.key(0), (ROWS, 2, 2, 1))
    x, _ = jax.jit(lambda key, x: walk(FirstOrder(), problem, key, x))(jax.random.key(1), start)
    assert_frequencies(x, mixture)


@pytest.mark.parametrize("keep", KEEPS)
def test_masked_diffusions_density_integrates_to_each_images_exact_value(keep):
    """Over sqrt(t) by Gauss and Legendre, in which the slope of arccos is finite, and over the 16 sets of visible sites
    by their probabilities.
    """
    process = made("independent", keep=keep)
    sets = (np.arange(16)[:, None] >> np.arange(4)) & 1
    visible = jnp.asarray(sets.reshape(16, 2, 2, 1) == 1)
    x = jnp.repeat(STATES, 16, axis=0)

    @jax.jit
    def terms(t):
        kept = process.keep(t)
        z = jnp.tile(jnp.where(visible, kept / 2, (1 + kept) / 2), (81, 1, 1, 1))
        posterior = TABLE.denoiser(process)(process.corrupt(x, z, t), t, None)
        return process.elbo(posterior, x, z, t, t)

    nodes, weights = np.polynomial.legendre.leggauss(12)
    nats = np.zeros(81)
    for root, share in zip((nodes + 1) / 2, weights / 2, strict=True):
        t, weight = root**2, 2 * root * share
        kept = float(process.keep(jnp.float32(t)))
        chances = np.prod(np.where(sets == 1, kept, 1 - kept), axis=1)
        nats += weight * np.asarray(terms(jnp.float32(t)), np.float64).reshape(81, 16) @ chances
    np.testing.assert_allclose(nats, -np.log(WEIGHTS), rtol=2e-4)


@pytest.mark.parametrize(
    "name, chunk, steps, continuous",
    [("random", 1, 4, False), ("random", 2, 3, False), ("independent", 1, 3, False), ("independent", 1, 40, True)],
)
def test_the_bound_with_drawn_ranks_is_right_on_average(name, chunk, steps, continuous):
    """Images, ranks and times by chance, within 4 standard errors of the enumeration."""
    process = made(name, chunk)
    x = STATES[np.random.default_rng(1).choice(81, ROWS, p=WEIGHTS / WEIGHTS.sum())]
    keys = random.per_example(jax.random.key(2), jnp.arange(ROWS))
    grid = np.append(np.linspace(1, 1e-3, steps), 0) if continuous else equal_grid(steps)
    run = jax.jit(lambda keys, x: bound(process, TABLE.denoiser(process), grid, keys, x, continuous=continuous).total)
    nats = np.asarray(run(keys, x), np.float64)
    expected = TABLE.entropy if continuous else TABLE.bound(process, grid)
    assert abs(nats.mean() - expected) < 4 * nats.std() / math.sqrt(ROWS) + (1e-3 if continuous else 0)
    assert expected >= TABLE.entropy - 1e-9


def test_more_steps_lower_the_bound_of_independent_sites_to_the_entropy():
    process = made("independent")
    bounds = np.array([TABLE.bound(process, equal_grid(steps)) for steps in (1, 2, 4, 8, 32, 64)])
    assert np.all(np.diff(bounds) < 0)
    assert bounds[0] == pytest.approx(TABLE.group_entropy(made("raster", 4).order))
    excess = bounds[-2:] - TABLE.entropy
    assert excess[0] / excess[1] == pytest.approx(2, rel=0.05)  # first order in the length of a step
