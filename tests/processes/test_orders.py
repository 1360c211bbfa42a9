"""Orders: sequences against what they are for, counts in float32, and laws of random ranks by their frequencies."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ddpm_jax import keys as random
from ddpm_jax.processes import ORDERS, make_order
from ddpm_jax.processes import orders as orders_module
from ddpm_jax.schedules.keeping import KEEPS

ROWS = 6000


def rank_of(order):
    """The place of each site in the sequence."""
    place = np.empty(order.count, int)
    place[order.sequence] = np.arange(order.count)
    return place


def numbers_of(visible):
    """The number of each row's set of visible sites, its bits."""
    return np.asarray(visible) @ (1 << np.arange(visible.shape[1]))


def assert_frequencies(observed, expected):
    """Counts of a law that is known: none where it is zero, and a chi-square that is not absurd."""
    observed, expected = np.asarray(observed, float), np.asarray(expected, float) * np.sum(observed)
    assert observed[expected == 0].sum() == 0
    if np.sum(expected > 0) > 1:
        assert stats.chisquare(observed[expected > 0], expected[expected > 0]).pvalue > 1e-3


@pytest.mark.parametrize("space", [(7,), (4, 4), (3, 5), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("name", ["raster", "fixed", "spread"])
def test_a_sequence_has_every_site_once_and_channels_of_a_pixel_are_sites_of_their_own(name, space):
    pixels = int(np.prod(space))
    together = make_order(name, space, 3)
    apart = make_order(name, space, 3, apart=True)
    assert (together.count, apart.count) == (pixels, 3 * pixels)
    np.testing.assert_array_equal(np.sort(together.sequence), np.arange(pixels))
    np.testing.assert_array_equal(np.sort(apart.sequence), np.arange(3 * pixels))
    assert not together.exchangeable and together.groups == pixels
    if name != "fixed":  # one channel after another
        np.testing.assert_array_equal(
            apart.sequence.reshape(-1, 3) // 3, np.repeat(together.sequence, 3).reshape(-1, 3)
        )
        np.testing.assert_array_equal(apart.sequence % 3, np.tile(np.arange(3), pixels))


def test_raster_is_row_by_row_and_fixed_is_its_seeds():
    np.testing.assert_array_equal(make_order("raster", (2, 3)).sequence, np.arange(6))
    one, same, other = (make_order("fixed", (8, 8), seed=seed).sequence for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.mean(one != other) > 0.9
    assert abs(stats.spearmanr(one, np.arange(64)).statistic) < 0.35


def least_distance(points, size):
    """Between any two of the points on a torus, or of the one with itself around it."""
    difference = np.abs(points[:, None] - points[None])
    difference = np.minimum(difference, size - difference)
    distance = np.sqrt(np.sum(difference.astype(float) ** 2, axis=-1))
    return np.min(distance[~np.eye(len(points), dtype=bool)])


@pytest.mark.parametrize("axes, size", [(1, 16), (2, 8), (3, 4)])
def test_spread_sites_are_as_far_apart_as_their_number_allows(axes, size):
    """The first 2^(d k) make a cubic lattice, and twice as many the same with the centres of its cells filled in."""
    sequence = make_order("spread", (size,) * axes).sequence
    points = np.stack(np.unravel_index(sequence, (size,) * axes), axis=-1)
    for k in range(1, int(np.log2(size)) + 1):
        cell = size / 2**k
        assert least_distance(points[: 2 ** (axes * k)], size) == pytest.approx(cell)
        if cell > 1:
            assert least_distance(points[: 2 * 2 ** (axes * k)], size) == pytest.approx(cell / 2 * np.sqrt(axes))


def test_spread_is_bayers_matrix_of_two_and_of_four():
    """The published threshold matrices, up to which corner comes first."""
    np.testing.assert_array_equal(rank_of(make_order("spread", (2, 2))).reshape(2, 2), [[0, 2], [3, 1]])
    four = rank_of(make_order("spread", (4, 4))).reshape(4, 4)
    coarse = rank_of(make_order("spread", (2, 2))).reshape(2, 2)
    for (i, j), later in np.ndenumerate(coarse):  # every cell of 2 x 2 has its corners a quarter of all apart
        np.testing.assert_array_equal(four[i::2, j::2], 4 * later + coarse)


@pytest.mark.parametrize("space", [(28, 28), (5, 12), (9,)], ids=str)
def test_spread_of_any_size_is_coarse_to_fine(space):
    place = rank_of(make_order("spread", space)).reshape(space)
    for level in range(1, 4):
        coarse = place[tuple(slice(None, None, 2**level) for _ in space)]
        np.testing.assert_array_equal(np.sort(coarse.reshape(-1)), np.arange(coarse.size))


@pytest.mark.parametrize(
    "name, chunk",
    [("raster", c) for c in (1, 2, 3, 5, 64, 1000, 3072)] + [("random", 1), ("random", 3), ("random", 64)],
)
def test_counts_are_exact_in_float32(name, chunk):
    """32 x 32 x 3 values, every t = i/G, computed as training, a grid in float64 and a sum of steps would."""
    order = make_order(name, (32, 32), 3, True, chunk)
    groups = -(-3072 // chunk)
    assert order.groups == groups
    ranks = np.sort(np.asarray(order.ranks(jax.random.key(0), 1))[0])
    expected = np.minimum(np.arange(groups, -1, -1) * chunk, 3072)
    steps = jnp.arange(groups + 1)
    linear = KEEPS["linear"]
    for t in (steps / groups, jnp.float32(np.linspace(0, 1, groups + 1)), steps * (1 / jnp.float32(groups))):
        kept = np.asarray(linear(t))
        np.testing.assert_array_equal(np.searchsorted(ranks, kept), expected)
        np.testing.assert_array_equal(np.round(np.asarray(order.share(linear(t))) * 3072), expected)


@pytest.mark.parametrize("keyed", ["one key", "a key an example"])
def test_every_permutation_is_as_likely(keyed):
    order = make_order("random", (2, 2))
    key = jax.random.key(1)
    keys = key if keyed == "one key" else random.per_example(key, jnp.arange(ROWS))
    ranks = np.asarray(jax.jit(lambda keys: order.ranks(keys, ROWS))(keys))
    np.testing.assert_allclose(np.sort(ranks), np.broadcast_to(np.array([1, 3, 5, 7]) / 8, ranks.shape))
    found, counts = np.unique(np.argsort(ranks, axis=1), axis=0, return_counts=True)
    assert len(found) == 24
    assert_frequencies(counts, np.full(24, 1 / 24))


def test_chunks_of_the_random_order_are_every_set_as_often():
    order = make_order("random", (4,), chunk=2)
    ranks = np.asarray(order.ranks(jax.random.key(2), ROWS))
    np.testing.assert_array_equal(np.sort(ranks), np.broadcast_to([0.25, 0.25, 0.75, 0.75], ranks.shape))
    first = numbers_of(ranks < 0.5)
    pairs = [number for number in range(16) if number.bit_count() == 2]
    assert_frequencies([np.sum(first == number) for number in pairs], np.full(6, 1 / 6))


@pytest.mark.parametrize("name", ["random", "independent"])
def test_an_examples_ranks_are_its_keys(name):
    order = make_order(name, (3, 3))
    keys = random.per_example(jax.random.key(3), jnp.arange(5))
    visible = jnp.arange(9) < jnp.array([3, 0, 9, 1, 4])[:, None]
    kept = jnp.full((5, 1), 0.4)
    np.testing.assert_array_equal(order.ranks(keys, 5)[2:4], order.ranks(keys[2:4], 2))
    np.testing.assert_array_equal(
        order.given(keys, visible, kept)[2:4], order.given(keys[2:4], visible[2:4], kept[2:4])
    )


def test_random_ranks_given_the_visible_sites():
    """Both parts are in every order as often: 2! 3! cases, for the sites 1 and 4 of 5."""
    order = make_order("random", (5,))
    visible = jnp.tile(jnp.array([False, True, False, False, True]), (ROWS, 1))
    ranks = np.asarray(order.given(jax.random.key(4), visible, jnp.float32(0.4)))
    sequences = np.argsort(ranks, axis=1)
    expected = {(*a, *b) for a in itertools.permutations((1, 4)) for b in itertools.permutations((0, 2, 3))}
    found, counts = np.unique(sequences, axis=0, return_counts=True)
    assert {tuple(int(site) for site in row) for row in found} == expected
    assert_frequencies(counts, np.full(12, 1 / 12))


def test_independent_ranks_given_the_visible_sites():
    order = make_order("independent", (2,))
    visible = jnp.tile(jnp.array([True, False]), (ROWS, 1))
    ranks = np.asarray(order.given(jax.random.key(5), visible, jnp.float32(0.3)))
    assert stats.kstest(ranks[:, 0], stats.uniform(0, 0.3).cdf).pvalue > 1e-3
    assert stats.kstest(ranks[:, 1], stats.uniform(0.3, 0.7).cdf).pvalue > 1e-3
    assert abs(stats.pearsonr(ranks[:, 0], ranks[:, 1]).statistic) < 4 / np.sqrt(ROWS)


def moved(order, move, start, kept, later, *options):
    """How often each set of 3 sites comes after `start`."""
    visible = jnp.tile(jnp.array(start), (ROWS, 1))
    run = jax.jit(lambda key: getattr(order, move)(key, visible, jnp.float32(kept), jnp.float32(later), *options))
    return np.bincount(numbers_of(run(jax.random.key(6))), minlength=8)


def test_the_random_order_reveals_and_hides_every_set_of_the_right_size_as_often():
    order = make_order("random", (3,))
    # numbers of sets: bit i is site i
    assert_frequencies(moved(order, "reveal", [False, True, False], 1 / 3, 2 / 3, 0.0), np.eye(8)[[3, 6]].mean(axis=0))
    assert_frequencies(moved(order, "hide", [True, False, True], 2 / 3, 1 / 3), np.eye(8)[[1, 4]].mean(axis=0))
    assert_frequencies(moved(order, "reveal", [False, False, False], 0, 1, 0.0), np.eye(8)[7])


def test_independent_sites_are_revealed_and_hidden_one_by_one():
    order = make_order("independent", (3,))
    start = np.array([True, False, False])
    shown = (0.7 - 0.4) / (1 - 0.4)
    each = np.array([shown**n * (1 - shown) ** (2 - n) for n in (0, 1, 1, 2)])
    expected = np.zeros(8)
    expected[[1, 3, 5, 7]] = each
    assert_frequencies(moved(order, "reveal", start, 0.4, 0.7, 0.0), expected)
    expected = np.zeros(8)
    expected[[0, 1]] = 1 - 0.4 / 0.7, 0.4 / 0.7
    assert_frequencies(moved(order, "hide", start, 0.7, 0.4), expected)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kept, later", [(0.0, 0.2), (0.4, 0.7), (0.8, 0.9), (0.9, 1.0)])
def test_hiding_again_keeps_the_share(kept, later, eta):
    """From a draw at t, a site is visible at s with probability keep(s); the more eta, the more change places."""
    order = make_order("independent", (50,))
    ranks = order.ranks(jax.random.key(7), 400)
    before = ranks < kept
    after = order.reveal(jax.random.key(8), before, jnp.float32(kept), jnp.float32(later), eta)
    count = after.size
    assert abs(np.mean(after) - later) <= 4 * np.sqrt(later * (1 - later) / count)
    again = np.mean(np.asarray(before & ~after))
    expected = eta * min(kept, 1 - later)
    assert abs(again - expected) <= 4 * np.sqrt(expected * (1 - expected) / count)


@pytest.mark.parametrize(("eta", "cap"), [(1.0, 0.05), (1.0, 0.4), (0.5, 0.2), (1.0, 1.0), (1.0, 0.0)])
@pytest.mark.parametrize("kept, later", [(0.2, 0.4), (0.4, 0.7), (0.8, 0.9), (0.9, 1.0)])
def test_a_cap_on_hiding_again_keeps_the_share_too(kept, later, eta, cap):
    """Of the visible sites the share min(cap, eta min(1, (1 - keep(s))/keep(t))) is hidden again."""
    order = replace(make_order("independent", (50,)), remask_cap=cap)
    before = order.ranks(jax.random.key(7), 400) < kept
    after = order.reveal(jax.random.key(8), before, jnp.float32(kept), jnp.float32(later), eta)
    assert abs(np.mean(after) - later) <= 4 * np.sqrt(later * (1 - later) / after.size)
    again, expected = np.mean(~np.asarray(after)[np.asarray(before)]), min(cap, eta * min(1, (1 - later) / kept))
    assert abs(again - expected) <= 4 * np.sqrt(expected * (1 - expected) / before.sum())


def test_the_caps_limits_are_no_cap_and_no_hiding_again():
    """To the bit: a cap of 1 is the same as none, and a cap of 0 as eta = 0."""
    plain, visible = make_order("independent", (50,)), jax.random.bernoulli(jax.random.key(0), 0.4, (20, 50))

    def reveal(cap, eta):
        order = replace(plain, remask_cap=cap)
        return order.reveal(jax.random.key(1), visible, jnp.float32(0.4), jnp.float32(0.7), eta)

    none = plain.reveal(jax.random.key(1), visible, jnp.float32(0.4), jnp.float32(0.7), 1.0)
    np.testing.assert_array_equal(reveal(1.0, 1.0), none)
    np.testing.assert_array_equal(reveal(0.0, 1.0), reveal(1.0, 0.0))
    assert (none != reveal(0.0, 1.0)).any()


def test_what_is_known_stays_visible():
    """In inpainting sites are visible before their turn; the sequence and the count go on without them."""
    known = jnp.array([[False, False, False, True]])
    raster = make_order("raster", (4,))
    for later, expected in ((0.25, [1, 0, 0, 1]), (0.5, [1, 1, 0, 1]), (1.0, [1, 1, 1, 1])):
        now = raster.reveal(jax.random.key(0), known, jnp.zeros(()), jnp.float32(later), 0.0)
        np.testing.assert_array_equal(now[0], expected)
    both = known.at[:, 0].set(True)
    for later, count in ((0.25, 2), (0.5, 2), (0.75, 3), (1.0, 4)):
        now = make_order("random", (4,)).reveal(jax.random.key(0), both, jnp.zeros(()), jnp.float32(later), 0.0)
        assert now[0, 0] and now[0, 3] and now.sum() == count


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_nothing_is_hidden_at_time_zero_whatever_is_drawn(monkeypatch, eta):
    order = make_order("independent", (2,))
    for u in (0.0, float(np.nextafter(np.float32(1), np.float32(0)))):
        monkeypatch.setattr(orders_module.random, "uniform", lambda keys, shape, u=u: jnp.full(shape, u))
        for kept in (0.0, 0.1, 0.7, 1 - 2**-20):
            visible = jnp.array([[True, False]])
            one = jnp.ones(())
            assert order.reveal(jax.random.key(0), visible, jnp.float32(kept), one, eta).all()
            assert np.all(order.given(jax.random.key(0), visible, jnp.float32(kept)) < 1)


def test_shares_are_whole_groups():
    order = make_order("raster", (5,), chunk=2)  # groups of 2, 2 and 1 with ranks 1/6, 1/2, 5/6
    kept = jnp.array([0.0, 0.16, 0.17, 0.49, 0.51, 0.83, 0.84, 1.0])
    np.testing.assert_allclose(order.share(kept), np.array([0, 0, 2, 2, 4, 4, 5, 5]) / 5)
    np.testing.assert_array_equal(make_order("independent", (5,)).share(kept), kept)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"name": "zigzag"}, "'zigzag'"),
        ({"name": "raster", "chunk": 0}, "a chunk of 0 is not in 1 ... 6"),
        ({"name": "spread", "chunk": 7}, "a chunk of 7 is not in 1 ... 6"),
        ({"name": "random", "chunk": 4}, "a chunk of 4 does not divide the 6 sites"),
        ({"name": "independent", "chunk": 2}, "a chunk of 2 must be 1"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message.replace("...", r"\.\.\.")):
        make_order(space=(2, 3), **arguments)


def test_every_order_by_its_name():
    for name in ORDERS:
        order = make_order(name, (2, 2), 3, apart=True)
        assert order.exchangeable == (name in ("random", "independent"))
        assert (order.sequence is None) == order.exchangeable
        assert order.groups == (None if name == "independent" else 12)
        ranks = order.ranks(jax.random.key(0), 2)
        assert ranks.shape == (2, 12) and ranks.dtype == jnp.float32
