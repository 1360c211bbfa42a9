"""Cached sampling: the tokens of the plain loop, the chain rule's law, one group of the network a step."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ddpm_jax import keys as random
from ddpm_jax import models
from ddpm_jax.conditions import Conditions, Label, Text
from ddpm_jax.denoisers import Guided, OrderedPrediction, Tempered, Told
from ddpm_jax.processes import Ordered, make_order
from ddpm_jax.samplers import Cached, FirstOrder, Problem, cached
from ddpm_jax.schedules.keeping import linear

VALUES = np.array([-1, 0, 1], np.float32)


def ordered(name, space, channels=1, apart=False, chunk=1):
    return Ordered(make_order(name, space, channels, apart, chunk, seed=3), linear, apart)


class RunningSum:
    """A causal network: logits of a site's own, plus a slope times a sum over the groups before, plus a label's.

    All are multiples of an eighth, so that no sum is rounded and two ways to compute one agree in every bit.
    """

    def __init__(self, process, channels):
        order = process.order
        self.order, self.sites = order, np.asarray(order.sequence)
        self.each = 1 if process.apart else channels
        rng = np.random.default_rng(5)
        shape = (order.count, self.each, len(VALUES))
        self.own, self.slope = (rng.integers(-8, 9, shape).astype(np.float32) / 8 for _ in range(2))
        self.weight = rng.integers(-2, 3, (order.count, self.each)).astype(np.float32)

    def __call__(self, x, time, condition):
        """All sites from the whole image, by one triangular sum."""
        parts = (x.reshape(len(x), self.order.count, self.each) * self.weight).sum(-1)[:, self.sites]
        group = np.arange(self.order.count) // self.order.chunk
        before = parts @ (group[:, None] < group[None, :]).astype(np.float32)
        logits = self.own + self.slope * before[:, np.argsort(self.sites), None, None]
        return self._labelled(logits, condition).reshape(*x.shape[:-1], -1)

    def start(self, count, condition, groups=None):
        return jnp.zeros(count), condition

    def advance(self, cache, x, step):
        """One group, from the sum so far and the group before."""
        chunk, sites = self.order.chunk, jnp.asarray(self.sites)
        last = jnp.where(step > 0, sites[(step - 1) * chunk + jnp.arange(chunk)], 0)
        parts = x.reshape(len(x), self.order.count, self.each)[:, last] * jnp.asarray(self.weight)[last]
        before, condition = cache
        before = before + jnp.where(step > 0, parts.sum((1, 2)), 0)
        now = sites[jnp.minimum(step * chunk + jnp.arange(chunk), self.order.count - 1)]
        logits = jnp.asarray(self.own)[now] + jnp.asarray(self.slope)[now] * before[:, None, None, None]
        return self._labelled(logits, condition).reshape(len(x), chunk, -1), (before, condition)

    def _labelled(self, logits, condition):
        return logits if condition is None else logits + condition[:, None, None, None] * VALUES


def denoiser(process, channels):
    """The denoiser of a `RunningSum`; its whole-image call and its steps are computed in two ways."""
    return categorical(channels).denoiser(RunningSum(process, channels), process)


def categorical(channels):
    return OrderedPrediction("categorical", VALUES, channels, causal=True)


def run(solver, process, denoise, shape, condition=None, start=None, frames=(), seed=0):
    """Samples on the grid of one group a step."""
    grid = np.arange(process.order.groups, -1, -1) / process.order.groups
    keys = random.per_example(jax.random.key(seed), jnp.arange(shape[0]))

    @jax.jit
    def samples(keys, condition):
        x = process.prior(keys, shape) if start is None else start
        return solver.solve(Problem(process, denoise, condition, grid), keys, x, frames)

    return samples(keys, condition)


CASES = [
    ("raster", (7,), 1, False, 1),
    ("fixed", (2, 3), 2, False, 1),
    ("fixed", (2, 3), 2, True, 1),
    ("spread", (3, 3), 1, False, 2),  # the last group has one site
    ("fixed", (7,), 2, True, 4),  # two of four
    ("raster", (2, 2, 2), 2, False, 3),
    ("raster", (5,), 1, False, 5),  # all at once
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_same_tokens_as_the_loop_that_runs_the_whole_network(case):
    name, space, channels, apart, chunk = case
    process = ordered(name, space, channels, apart, chunk)
    denoise, shape = denoiser(process, channels), (32, *space, channels)
    labels = jnp.arange(32) % 4 / 2
    fast, _, evaluations = run(Cached(), process, denoise, shape, labels)
    slow, _, _ = run(FirstOrder(), process, denoise, shape, labels)
    np.testing.assert_array_equal(fast, slow)
    np.testing.assert_array_equal(evaluations, process.order.groups)
    assert np.isin(fast, VALUES).all()
    assert len(np.unique(fast.reshape(32, -1), axis=0)) > 3
    other, _, _ = run(Cached(), process, denoise, shape, None)
    assert np.any(other != fast)  # the labels say something


def test_the_same_tokens_for_a_tempered_denoiser_and_where_some_sites_are_known():
    process = ordered("fixed", (2, 4), 1, False, 3)
    denoise = Tempered(denoiser(process, 1), 0.5, 2, 1.0)
    known = jnp.where(jnp.arange(8).reshape(2, 4, 1) % 3 == 0, 1.0, -2.0)
    start = jnp.broadcast_to(known, (32, 2, 4, 1))
    fast, slow = (run(one, process, denoise, start.shape, start=start)[0] for one in (Cached(), FirstOrder()))
    np.testing.assert_array_equal(fast, slow)
    np.testing.assert_array_equal(fast.reshape(32, 8)[:, ::3], 1)


def chains(process, channels):
    """Guided by a null label, by another network that is less sure, and by both, with a weight each."""
    strong, weak = denoiser(process, channels), denoiser(process, channels)
    weak.network.slope = weak.network.slope / 4
    null = Told(strong, jnp.zeros(1))
    return {"null": (null, strong), "weak": (weak, strong), "both": (Told(weak, jnp.zeros(1)), weak, null, strong)}


@pytest.mark.parametrize("name", ["null", "weak", "both"])
@pytest.mark.parametrize("case", CASES[2:4], ids=str)
def test_the_same_tokens_with_guidance_from_one_memory_or_two(case, name):
    which, space, channels, apart, chunk = case
    process, labels = ordered(which, space, channels, apart, chunk), jnp.arange(32) % 4 / 2
    chain, shape = chains(process, channels)[name], (32, *space, channels)
    guided = Guided(chain, (1.5, 0.5, 2.0)[: len(chain) - 1])
    fast, _, evaluations = run(Cached(), process, guided, shape, labels)
    slow, _, others = run(FirstOrder(), process, guided, shape, labels)
    np.testing.assert_array_equal(fast, slow)
    np.testing.assert_array_equal(evaluations, len(chain) * process.order.groups)
    np.testing.assert_array_equal(evaluations, others)
    plain, _, _ = run(Cached(), process, chain[-1], shape, labels)
    assert np.any(fast != plain)


def test_images_belong_to_their_keys_and_films_show_the_groups_coming():
    process = ordered("fixed", (6,), 1, False, 2)
    denoise = denoiser(process, 1)
    many, (states, estimates), _ = run(Cached(), process, denoise, (5, 6, 1), frames=(2, 0, 1))
    few, (none, _), _ = run(Cached(), process, denoise, (3, 6, 1))
    np.testing.assert_array_equal(many[:3], few)
    assert none.shape == (0, 3, 6, 1)
    visible = np.asarray(process.visible(states.reshape(-1, 6, 1))).reshape(3, 5, 6)
    np.testing.assert_array_equal(visible.sum(-1), np.repeat([[4], [0], [2]], 5, axis=1))
    np.testing.assert_array_equal(estimates[0], many)
    assert Cached().for_film() == FirstOrder()  # whose draws are the same, and which has an estimate of all sites
    np.testing.assert_array_equal(states[2], estimates[1])


def test_the_law_is_the_product_of_the_conditionals():
    """Three sites of three levels in a mixed-up order, their chances multiplied out in NumPy."""
    process = ordered("fixed", (3,))
    made, sites = RunningSum(process, 1), np.asarray(process.order.sequence)
    expected = {}
    for image in product(range(3), repeat=3):
        chance, total = 1.0, 0.0
        for site in sites:
            logits = (made.own[site, 0] + made.slope[site, 0] * total).astype(np.float64)
            chance *= np.exp(logits[image[site]]) / np.exp(logits).sum()
            total += made.weight[site, 0] * VALUES[image[site]]
        expected[image] = chance
    assert sum(expected.values()) == pytest.approx(1)
    x, _, _ = run(Cached(), process, denoiser(process, 1), (20_000, 3, 1))
    codes = np.ravel_multi_index(np.round(np.asarray(x)[..., 0].T + 1).astype(int), (3, 3, 3))
    counts, chances = np.bincount(codes, minlength=27), np.array(list(expected.values()))
    assert stats.chisquare(counts, 20_000 * chances / chances.sum()).pvalue > 1e-3


def test_the_network_is_asked_for_each_group_once_and_never_for_the_image():
    process = ordered("raster", (6,), 1, False, 2)
    heard = []

    class Listening(RunningSum):
        def __call__(self, *_):
            raise AssertionError("the whole image was asked for")

        def advance(self, cache, x, step):
            jax.debug.callback(lambda step: heard.append(int(step)), step, ordered=True)
            return super().advance(cache, x, step)

    denoise = categorical(1).denoiser(Listening(process, 1), process)
    x, _, _ = run(Cached(), process, denoise, (2, 6, 1))
    jax.block_until_ready(x)
    jax.effects_barrier()
    assert heard == [0, 1, 2]


def test_orders_without_a_sequence_and_other_grids_are_refused():
    with pytest.raises(ValueError, match="same for every image"):
        Cached().start(Problem(ordered("random", (4,)), denoiser), jnp.zeros((1, 4, 1)))
    process = ordered("raster", (4,))
    problem = Problem(process, denoiser(process, 1), grid=np.array([1, 0.5, 0]))
    with pytest.raises(ValueError, match="takes 4 steps, a group each, not 2"):
        Cached().solve(problem, jax.random.key(0), process.prior(jax.random.key(0), (1, 4, 1)))


NETWORKS = [
    ("causal_transformer", "spread", 3, True, "categorical", {"channels": 16, "depth": 2, "heads": 2}),
    ("causal_transformer", "fixed", 2, False, "logistics", {"channels": 16, "depth": 1, "heads": 2}),
    ("pixelcnn", "raster", 1, False, "logistics", {"channels": 8, "blocks": 1, "multipliers": (1,)}),
]


@pytest.mark.slow
@pytest.mark.parametrize("least", [cached.LEAST, 2], ids=["at once", "growing"])
@pytest.mark.parametrize("case", NETWORKS, ids=lambda case: "-".join(map(str, case[:5])))
def test_the_same_tokens_from_the_networks_of_the_house(monkeypatch, case, least):
    monkeypatch.setattr(cached, "LEAST", least)
    name, order, chunk, apart, prediction, options = case
    process = ordered(order, (4, 4), 2, apart, chunk)
    sites = models.Sites(tuple(int(site) for site in process.order.sequence), chunk, apart, len(VALUES))
    says = OrderedPrediction(prediction, VALUES, 2, components=2, causal=True)
    network = models.make(name, (4, 4, 2), says.numbers(2, 3), sites=sites, **options)
    weights = network.init(jax.random.key(0))
    rng = np.random.default_rng(0)
    weights = jax.tree.map(lambda leaf: leaf + 0.2 * rng.normal(size=leaf.shape).astype(np.float32), weights)
    denoise = says.denoiser(network.bind(weights), process)
    fast, slow = (run(solver, process, denoise, (8, 4, 4, 2))[0] for solver in (Cached(), FirstOrder()))
    np.testing.assert_array_equal(fast, slow)
    stages = Cached().stages(Problem(process, denoise), jnp.zeros((8, 4, 4, 2)))
    assert len(stages) == (3 if least == 2 and name == "causal_transformer" else 0)  # PixelCNN's is of a few rows


CAPTIONS = ["a red apple", "a pear", "red", "two red apples , two pears"]


@pytest.mark.slow
@pytest.mark.parametrize("least", [cached.LEAST, 2], ids=["at once", "growing"])
@pytest.mark.parametrize("case", NETWORKS[::2], ids=lambda case: "-".join(map(str, case[:5])))
def test_the_same_tokens_where_captions_are_told_and_guided_by(monkeypatch, case, least):
    """Away from another caption, which a network told of both at its start remembers beside the first."""
    monkeypatch.setattr(cached, "LEAST", least)
    name, order, chunk, apart, prediction, options = case
    process = ordered(order, (4, 4), 2, apart, chunk)
    sites = models.Sites(tuple(int(site) for site in process.order.sequence), chunk, apart, len(VALUES))
    says = OrderedPrediction(prediction, VALUES, 2, components=2, causal=True)
    kinds = Conditions((("text", Text.of(CAPTIONS)), ("label", Label(3))))
    told = models.Conditioning(kinds, 8, 1, text_tokens=name == "causal_transformer")
    network = models.make(name, (4, 4, 2), says.numbers(2, 3), told, sites, **options)
    rng = np.random.default_rng(0)
    weights = jax.tree.map(
        lambda leaf: leaf + 0.2 * rng.normal(size=leaf.shape).astype(np.float32), network.init(jax.random.key(0))
    )
    plain = says.denoiser(network.bind(weights), process)
    rows = kinds.rows({"text": CAPTIONS * 2, "label": [0, 1, 2, 3] * 2})
    condition = jax.tree.map(jnp.asarray, rows)
    weak = {**kinds.null(1), "text": jnp.asarray(kinds["text"].rows(["two pears"]))}
    guided = Guided((Told(plain, weak), plain), (2.0,))
    fast, _, evaluations = run(Cached(), process, guided, (8, 4, 4, 2), condition)
    slow, _, _ = run(FirstOrder(), process, guided, (8, 4, 4, 2), condition)
    np.testing.assert_array_equal(fast, slow)
    np.testing.assert_array_equal(evaluations, 2 * process.order.groups)
