"""The ordered process: its shapes, the joint law of what is visible at two times, and its bound by enumeration."""

import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ddpm_jax.processes import MASK, ORDERS, PROCESSES, Ordered, Process, Traits, make_order
from ddpm_jax.schedules.keeping import KEEPS

LINEAR = KEEPS["linear"]
ROWS = 6000
each_order = pytest.mark.parametrize("name", list(ORDERS))


def images(shape, seed=0):
    """Some x on 5 levels."""
    return jnp.asarray(np.random.default_rng(seed).integers(0, 5, shape) / 2 - 1, jnp.float32)


def made(name, space=(2, 2), channels=1, apart=False, chunk=1, keep=LINEAR):
    return Ordered(make_order(name, space, channels, apart, chunk), keep, apart)


def numbers_of(process, x_t):
    """The number of each row's set of visible sites, its bits."""
    visible = np.asarray(process.sites_of(process.visible(x_t)))
    return visible @ (1 << np.arange(visible.shape[1]))


def test_it_is_a_process_and_has_its_name():
    assert PROCESSES["ordered"] is Ordered
    assert isinstance(made("raster"), Process)


@pytest.mark.parametrize("space, apart", [((5,), True), ((3, 2), False), ((2, 3, 2), True)], ids=str)
@each_order
def test_any_number_of_axes_with_channels_together_or_apart(name, space, apart):
    process, x = made(name, space, 3, apart), images((4, *space, 3))

    @jax.jit
    def run(key):
        z = process.noise(jax.random.fold_in(key, 0), x.shape)
        x_t = process.corrupt(x, z, jnp.array([0.0, 0.4, 0.8, 1.0]))
        t = jnp.array([0.1, 0.4, 0.8, 1.0])
        x_0 = process.reverse(jax.random.fold_in(key, 1), x_t, x, t, jnp.zeros(4), 0.0)
        sites = process.sites_of(process.visible(x_t))
        return z, x_t, x_0, process.visible(x_t), process.hidden_share(x_t), sites, process.spread(sites, 3)

    z, x_t, x_0, visible, hidden, sites, spread = (np.asarray(part) for part in run(jax.random.key(0)))
    assert z.shape == x.shape and z.min() >= 0 and z.max() < 1
    np.testing.assert_array_equal(np.where(visible, x, MASK), x_t)
    assert visible[0].all() and not visible[3].any()
    np.testing.assert_allclose(hidden, 1 - visible.reshape(4, -1).mean(axis=1), atol=1e-6)
    assert apart or np.all(visible == visible[..., :1])
    assert sites.shape == (4, process.order.count)
    np.testing.assert_array_equal(spread, visible)
    np.testing.assert_array_equal(x_0, x)


def test_sites_are_in_row_major_order():
    process = made("raster", (2, 2), 3, apart=True)
    x = jnp.arange(12.0).reshape(1, 2, 2, 3) / 12
    z = process.noise(jax.random.key(0), x.shape)
    np.testing.assert_array_equal(np.argsort(z.reshape(-1)), np.arange(12))
    np.testing.assert_array_equal(
        process.visible(process.corrupt(x, z, jnp.float32(7 / 12))).reshape(-1), np.arange(12) < 5
    )
    np.testing.assert_array_equal(process.sites_of(x)[0], x.reshape(-1))
    pixels = made("raster", (2, 2), 3)
    np.testing.assert_array_equal(pixels.sites_of(x)[0], x[0, ..., 0].reshape(-1))


@each_order
def test_a_time_for_all_or_for_each_is_the_same(name):
    process, x = made(name, (3, 3), 2), images((3, 3, 3, 2))
    keys = jax.random.split(jax.random.key(2), 3)

    @jax.jit
    def run(t, s):
        x_t = process.corrupt(x, process.noise(keys, x.shape), t)
        x_s = process.reverse(keys, x_t, x, t, s, 0.0)
        return x_t, x_s, process.forward(keys, x_s, s, t)

    for_all = run(jnp.float32(0.7), jnp.float32(0.3))
    for shape in ((3,), (3, 1, 1, 1)):
        for one, other in zip(run(jnp.full(shape, 0.7), jnp.full(shape, 0.3)), for_all, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("eta", [0.0, 0.5])
@pytest.mark.parametrize("apart", [False, True])
@each_order
def test_a_step_back_takes_the_values_that_it_uses_and_no_others(name, apart, eta):
    """Each of them arrives, and what stands elsewhere changes nothing."""
    process, x = made(name, (3, 3), 2, apart), images((6, 3, 3, 2))

    @jax.jit
    def run(key):
        x_t = process.corrupt(x, process.noise(jax.random.key(0), x.shape), 0.7)
        uses = process.uses(key, x_t, 0.7, 0.3, eta)
        other = jnp.where(uses, x, 0.123)
        return x_t, uses, *(process.reverse(key, x_t, one, 0.7, 0.3, eta) for one in (x, other))

    x_t, uses, x_s, same = (np.asarray(part) for part in run(jax.random.key(3)))
    np.testing.assert_array_equal(x_s, same)
    np.testing.assert_array_equal(x_s[uses], np.asarray(x)[uses])
    np.testing.assert_array_equal(x_t[uses], MASK)
    assert 0 < uses.sum() < (x_t == MASK).sum()


def test_a_time_for_each_site():
    process, x = made("raster", (2, 3)), images((2, 2, 3, 1))
    t = jnp.tile(jnp.array([0.2, 1.0])[:, None, None], (2, 1, 1, 1))  # the first row is nearly clean, the second hidden
    x_t = process.corrupt(x, process.noise(jax.random.key(0), x.shape), t)
    np.testing.assert_array_equal(process.visible(x_t)[..., 0], [[[True] * 3, [False] * 3]] * 2)
    s = jnp.where(t < 1, 0.1, 0.4)  # of ranks up to 11/12 the first 3.6 of 6
    x_s = process.reverse(jax.random.key(0), x_t, x, t, s, 0.0)
    np.testing.assert_array_equal(process.visible(x_s)[0, ..., 0], [[True] * 3, [True, False, False]])


@pytest.mark.parametrize(
    "name, keep", [(name, KEEPS["cosine" if name == "independent" else "linear"]) for name in ORDERS], ids=list(ORDERS)
)
def test_more_is_hidden_as_time_goes_on(name, keep):
    process, x = made(name, (4, 4), keep=keep), images((20, 4, 4, 1))
    z = jax.jit(lambda key: process.noise(key, x.shape))(jax.random.key(3))
    visible = [np.asarray(process.visible(process.corrupt(x, z, jnp.float32(t)))) for t in np.linspace(0, 1, 9)]
    assert visible[0].all() and not visible[-1].any()
    assert all(np.all(later <= earlier) for earlier, later in itertools.pairwise(visible))


def test_prior_is_all_hidden_and_costs_nothing():
    process = made("raster")
    assert not process.visible(process.prior(jax.random.key(0), (2, 2, 2, 1))).any()
    np.testing.assert_array_equal(process.prior_loss(images((3, 2, 2, 1))), np.zeros(3))


def test_images_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"images of shape \(2, 3, 1\) do not fit an order over \(2, 2\)"):
        made("raster").noise(jax.random.key(0), (5, 2, 3, 1))
    with pytest.raises(ValueError, match="with 3 sites a pixel"):
        made("raster", channels=3, apart=True).noise(jax.random.key(0), (5, 2, 2, 2))


@pytest.mark.parametrize(
    "name, chunk", [("raster", 2), ("random", 1), ("random", 2), ("random", 4), ("independent", 1)]
)
def test_reverse_and_forward_have_the_joint_law_of_what_is_visible_at_both_times(name, chunk):
    """Corrupted at both times with the same ranks; corrupted at t, then reversed; corrupted at s, then moved on."""
    process, x = made(name, chunk=chunk), jnp.tile(images((1, 2, 2, 1)), (ROWS, 1, 1, 1))

    @jax.jit
    def pairs(t, s):
        def draw(key):
            return process.noise(jax.random.fold_in(key, 0), x.shape)

        z_1, z_2, z_3 = (draw(jax.random.key(seed)) for seed in (1, 2, 3))
        x_t, x_s = process.corrupt(x, z_2, t), process.corrupt(x, z_3, s)
        return (
            (process.corrupt(x, z_1, t), process.corrupt(x, z_1, s)),
            (x_t, process.reverse(jax.random.key(4), x_t, x, t, s, 0.0)),
            (process.forward(jax.random.key(5), x_s, s, t), x_s),
        )

    for t, s in ((0.75, 0.25), (1.0, 0.5), (0.5, 0.0), (0.5, 0.25)):
        results = pairs(jnp.float32(t), jnp.float32(s))
        sets = [16 * numbers_of(process, at_t) + numbers_of(process, at_s) for at_t, at_s in results]
        counts = np.array([np.bincount(both, minlength=256) for both in sets])
        seen = counts[:, counts.sum(axis=0) > 0]
        assert seen.shape[1] == 1 or stats.chi2_contingency(seen).pvalue > 1e-3


def test_reverse_keeps_what_is_visible_and_takes_the_rest_from_the_estimate():
    process = made("random", (3, 3))
    x, estimate = images((10, 3, 3, 1)), images((10, 3, 3, 1), seed=1)
    x_t = process.corrupt(x, process.noise(jax.random.key(0), x.shape), jnp.float32(6 / 9))
    x_s = process.reverse(jax.random.key(1), x_t, estimate, jnp.float32(6 / 9), jnp.float32(2 / 9), 0.0)
    before, now = np.asarray(process.visible(x_t)), np.asarray(process.visible(x_s))
    np.testing.assert_array_equal(before.sum(axis=(1, 2, 3)), 3)
    np.testing.assert_array_equal(now.sum(axis=(1, 2, 3)), 7)
    np.testing.assert_array_equal(x_s[before], x[before])
    np.testing.assert_array_equal(x_s[now & ~before], estimate[now & ~before])


def depends_on_what_is_visible(process):
    """A denoiser whose loss at a site is any positive number that the visible sites and the site decide."""
    table = jnp.asarray(np.random.default_rng(0).exponential(size=(16, 4)), jnp.float32)

    def denoise(x_t):
        sites = process.sites_of(process.visible(x_t)).astype(jnp.int32)
        loss = table[sites @ (1 << jnp.arange(4))]
        return SimpleNamespace(loss=lambda x: loss.reshape(x.shape))

    return denoise, np.asarray(table, np.float64)


def every_ranks(chunk):
    """z of each of the 24 sequences of 4 sites, `[24, 2, 2, 1]`."""
    places = (np.arange(4) // chunk + 0.5) * chunk / 4
    return jnp.asarray(
        [[places[list(p).index(site)] for site in range(4)] for p in itertools.permutations(range(4))]
    ).reshape(24, 2, 2, 1)


@pytest.mark.parametrize("keep", KEEPS.values(), ids=KEEPS)
@pytest.mark.parametrize("chunk", [1, 2])
def test_the_random_orders_bound_is_the_mean_over_sequences_of_what_each_reveals(chunk, keep):
    """Whatever the grid: its steps may reveal no group, or several. Revealed sites are counted in NumPy."""
    process = made("random", chunk=chunk, keep=keep)
    denoise, table = depends_on_what_is_visible(process)
    z, x = every_ranks(chunk), jnp.tile(images((1, 2, 2, 1)), (24, 1, 1, 1))
    flat = np.asarray(z, np.float64).reshape(24, 4)
    elbo = jax.jit(lambda t, s: process.elbo(denoise(process.corrupt(x, z, t)), x, z, t, s))
    for steps in (1, 2, 3, 4, 7):
        bound, revealed = 0.0, 0.0
        for i in range(steps):
            t, s = jnp.float32((i + 1) / steps), jnp.float32(i / steps)
            bound += float(np.mean(elbo(t, s)))
            visible = flat < float(keep(t))
            shown = (flat < float(keep(s))) & ~visible
            revealed += np.mean(np.sum(table[visible @ (1 << np.arange(4))] * shown, axis=1))
        assert bound == pytest.approx(revealed, rel=1e-5)


def test_independent_sites_bound_by_the_chances_of_every_visible_set():
    process = made("independent", keep=KEEPS["cosine"])
    denoise, table = depends_on_what_is_visible(process)
    x = jnp.tile(images((1, 2, 2, 1)), (16, 1, 1, 1))
    sets = (np.arange(16)[:, None] >> np.arange(4)) & 1
    for t, s in ((0.9, 0.2), (1.0, 0.6), (0.3, 0.0)):
        kept, later = (float(process.keep(jnp.float32(u))) for u in (t, s))
        z = jnp.where(jnp.asarray(sets.reshape(16, 2, 2, 1)) == 1, kept / 2, (1 + kept) / 2)
        terms = np.asarray(
            process.elbo(denoise(process.corrupt(x, z, jnp.float32(t))), x, z, jnp.float32(t), jnp.float32(s))
        )
        chances = np.prod(np.where(sets == 1, kept, 1 - kept), axis=1)
        between = 0.0  # each site is hidden, shown in the interval, or visible before: 3^4 cases
        for case in map(np.array, itertools.product(range(3), repeat=4)):
            chance = np.prod(np.array([1 - later, later - kept, kept])[case])
            between += chance * table[(case == 2) @ (1 << np.arange(4))][case == 1].sum()
        assert np.sum(chances * terms) == pytest.approx(between, rel=1e-5)


@pytest.mark.parametrize("keep", KEEPS.values(), ids=KEEPS)
def test_the_density_is_the_limit_of_short_intervals(keep):
    process = made("independent", keep=keep)
    denoise, _ = depends_on_what_is_visible(process)
    with jax.enable_x64(True):
        x = images((8, 2, 2, 1)).astype(jnp.float64)
        z = process.noise(jax.random.key(0), x.shape)
        for time in (0.2, 0.6, 0.9):
            t, s = jnp.float64(time), jnp.float64(time - 1e-6)
            posterior = denoise(process.corrupt(x, z, t))
            density = process.elbo(posterior, x, z, t, t)
            np.testing.assert_allclose(process.elbo(posterior, x, z, t, s) / 1e-6, density, rtol=1e-4)


@pytest.mark.parametrize("name", ["raster", "random"])
def test_orders_of_groups_have_no_density(name):
    process, x = made(name), images((2, 2, 2, 1))
    denoise, _ = depends_on_what_is_visible(process)
    z = process.noise(jax.random.key(0), x.shape)
    t = jnp.float32(0.6)
    assert not process.continuous and made("independent").continuous
    assert np.isnan(process.elbo(denoise(process.corrupt(x, z, t)), x, z, t, t)).all()


def test_a_fixed_order_counts_the_sites_revealed_and_no_others():
    """Raster, 6 pixels of 2 channels in chunks of 4: 4 and then 2."""
    process = made("raster", (2, 3), 2, chunk=4)
    x = images((1, 2, 3, 2))
    posterior = SimpleNamespace(loss=lambda x: jnp.asarray(2.0 ** np.arange(12)).reshape(x.shape))
    z = process.noise(jax.random.key(0), x.shape)
    for t, s, shown in (
        (1.0, 0.5, slice(0, 8)),
        (0.5, 0.0, slice(8, 12)),
        (1.0, 0.0, slice(0, 12)),
        (0.9, 0.8, slice(0)),
    ):
        term = process.elbo(posterior, x, z, jnp.float32(t), jnp.float32(s))
        assert float(term[0]) == np.sum(2.0 ** np.arange(12)[shown])


@pytest.mark.parametrize("name", ["raster", "random", "independent"])
def test_what_is_visible_never_matters_to_the_bound(name):
    """Not even where its loss is infinite; with nothing hidden the bound is 0."""
    process, x = made(name, (3, 3)), images((4, 3, 3, 1))
    t, s = jnp.array([0.9, 0.6, 0.5, 1e-3]), jnp.array([0.4, 0.0, 0.1, 0.0])

    @jax.jit
    def total(scale):
        z = process.noise(jax.random.key(1), x.shape)
        visible = process.visible(process.corrupt(x, z, t))
        posterior = SimpleNamespace(loss=lambda x: jnp.where(visible, jnp.inf, scale))
        return process.elbo(posterior, x, z, t, s).sum()

    value, slope = jax.value_and_grad(total)(2.0)
    assert np.isfinite(value) and value > 0 and value == pytest.approx(2 * float(slope), rel=1e-5)
    everything = SimpleNamespace(loss=lambda x: jnp.full(x.shape, jnp.inf))
    z, little = jnp.full(x.shape, 0.5), jnp.full(4, 1e-3)
    np.testing.assert_array_equal(process.elbo(everything, x, z, little, jnp.zeros(4)), np.zeros(4))


@each_order
def test_what_other_parts_may_need_of_it(name):
    process = made(name)
    independent, exchangeable = name == "independent", name in ("random", "independent")
    expected = Traits("ordered", continuous=independent, exchangeable=exchangeable, independent=independent)
    assert process.traits() == expected
    assert process.kind == "ordered"
    assert process.init(jax.random.key(0)) == {}
    assert process.bind({}) is process
