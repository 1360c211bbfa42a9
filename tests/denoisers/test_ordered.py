"""The ordered denoiser: what a network sees and says, and a causal one group by group against the whole image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import keys as random
from ddpm_jax.denoisers import (
    HEADS,
    LIKELY,
    Categorical,
    Guided,
    LogisticMixture,
    Normal,
    OrderedPrediction,
    Tempered,
    Told,
)
from ddpm_jax.processes.ordered import MASK, Ordered
from ddpm_jax.processes.orders import make_order

SPACE, CHANNELS, LEVELS, COMPONENTS = (2, 3), 2, 5, 2
VALUES = np.linspace(-1, 1, LEVELS).astype(np.float32)
X = jnp.asarray(VALUES[np.random.default_rng(0).integers(0, LEVELS, (3, *SPACE, CHANNELS))])


def process_of(order="fixed", apart=False, chunk=1):
    order = make_order(order, SPACE, CHANNELS, apart, chunk, 1)
    return Ordered(order, lambda t: 1 - t, apart)


def hidden_at(process, t):
    return process.corrupt(X, process.noise(jax.random.key(0), X.shape), jnp.float32(t))


class Causal:
    """A causal network: what it says at a site is a fixed function of the sum of all sites in the groups before.

    Where the last group is smaller, it says something else in the rows that are left over.
    """

    def __init__(self, process, out):
        order = process.order
        self.groups = -(-order.count // order.chunk)
        place = np.empty(order.count, int)
        place[order.sequence] = np.arange(order.count)
        group = place // order.chunk  # of each site
        self.before = np.asarray(group[:, None] > group, np.float32)
        self.order = order
        self.out = out if not process.apart else out // CHANNELS
        self.weights = jnp.asarray(np.random.default_rng(7).normal(size=(order.count, self.out)), jnp.float32)

    def __call__(self, x, time, condition):
        totals = x.reshape(x.shape[0], self.order.count, -1).sum(axis=-1) @ self.before.T
        raw = self._say(totals[..., None], jnp.arange(self.order.count), condition)
        return raw.reshape(*x.shape[:-1], -1)

    def _say(self, totals, sites, condition):
        shift = 0 if condition is None else condition[:, None, None]
        return jnp.sin(3 * totals + self.weights[sites]) + shift * self.weights[sites]

    def start(self, count, condition, groups=None):
        return jnp.zeros((count, 1)), condition

    def advance(self, cache, x, step):
        before, condition = cache
        sequence = np.full(self.groups * self.order.chunk, self.order.sequence[0])
        sequence[: self.order.count] = self.order.sequence
        groups = jnp.asarray(sequence.reshape(self.groups, -1))
        sites = x.reshape(x.shape[0], self.order.count, -1).sum(axis=-1)
        last = jnp.where(step > 0, sites[:, groups[step - 1]].sum(axis=1, keepdims=True), 0)
        before = before + last
        raw = self._say(before[:, None], groups[step], condition)
        return raw, (before, condition)


def says(output, causal=False, values=VALUES):
    return OrderedPrediction(output, values, CHANNELS, COMPONENTS, causal)


def causal_denoiser(process, output):
    prediction = says(output, causal=True)
    return prediction.denoiser(Causal(process, prediction.numbers(CHANNELS, LEVELS)), process)


def test_a_network_sees_values_and_which_are_visible_and_hears_the_share_that_is_hidden():
    heard = []

    def network(x, time, condition):
        heard.append((x, time, condition))
        return jnp.zeros((*x.shape[:-1], CHANNELS * LEVELS))

    process = process_of()
    x_t = hidden_at(process, 0.5).at[0].set(MASK)
    says("categorical").denoiser(network, process)(x_t, jnp.float32(0.5), "condition")
    [(x, time, condition)] = heard
    visible = np.asarray(x_t) != MASK
    assert 0 < visible.sum() < visible.size
    assert says("categorical").network_shape(X.shape[1:]) == x.shape[1:]
    np.testing.assert_array_equal(x, np.concatenate([np.where(visible, x_t, 0), visible], axis=-1))
    np.testing.assert_allclose(time, [999, 499.5, 499.5], rtol=1e-6)
    assert condition == "condition"


def test_a_causal_network_sees_values_alone_and_hears_always_the_same():
    """Or one pass over the whole image would not say what it says when half of it is there."""
    heard = []

    def network(x, time, condition):
        heard.append((x, time))
        return jnp.zeros((*x.shape[:-1], CHANNELS * LEVELS))

    process = process_of()
    denoise = says("categorical", causal=True).denoiser(network, process)
    for t in (0.0, 0.5, 1.0):
        denoise(hidden_at(process, t), jnp.float32(t), None)
    assert says("categorical", causal=True).network_shape(X.shape[1:]) == X.shape[1:]
    np.testing.assert_array_equal(heard[0][0], X)
    np.testing.assert_array_equal(heard[2][0], np.zeros_like(X))
    for _, time in heard:
        np.testing.assert_array_equal(time, np.zeros(3))


@pytest.mark.parametrize(("prediction", "kind"), list(zip(HEADS, [Categorical, LogisticMixture, Normal], strict=True)))
def test_heads_make_a_posterior_over_the_image_of_so_many_outputs(prediction, kind):
    count = says(prediction).numbers(CHANNELS, LEVELS)
    assert count == {"categorical": 10, "logistics": 12, "x0": 2}[prediction]
    raw = jnp.asarray(np.random.default_rng(1).normal(size=(3, *SPACE, count)), jnp.float32)
    process = process_of()
    denoise = says(prediction).denoiser(lambda *_: raw, process)
    posterior = denoise(hidden_at(process, 0.5), jnp.float32(0.5), None)
    assert isinstance(posterior, kind)
    for answer in (lambda p: p.loss(X), lambda p: p.sample(jax.random.key(0)), lambda p: p.mean):
        assert jax.eval_shape(answer, posterior).shape == X.shape
    assert says(prediction).likely == (prediction in LIKELY) == (prediction != "x0")


def test_the_logits_of_a_value_are_together():
    raw = jnp.asarray(np.random.default_rng(1).normal(size=(3, *SPACE, 10)), jnp.float32)
    denoise = says("categorical").denoiser(lambda *_: raw, process_of())
    np.testing.assert_array_equal(denoise(X, jnp.float32(0), None).logits[..., 1, :], raw[..., 5:])


def test_a_point_keeps_what_is_visible_but_for_a_causal_network_which_did_not_see_it():
    raw = jnp.asarray(np.random.default_rng(1).normal(size=X.shape), jnp.float32)
    process = process_of()
    x_t = hidden_at(process, 0.5)
    point = says("x0", values=None).denoiser(lambda *_: raw, process)(x_t, jnp.float32(0.5), None)
    np.testing.assert_array_equal(point.mean, np.where(np.asarray(x_t) == MASK, raw, x_t))
    causal = says("x0", causal=True, values=None).denoiser(lambda *_: raw, process)
    np.testing.assert_array_equal(causal(x_t, jnp.float32(0.5), None).mean, raw)


GROUPED = [  # of 6 pixels or 12 values: a chunk of 4 pixels and one of 5 values leave the last group smaller
    ("categorical", False, 1),
    ("categorical", False, 4),
    ("categorical", True, 1),
    ("categorical", True, 5),
    ("logistics", False, 2),
    ("logistics", False, 4),
    ("x0", False, 4),
]


@pytest.mark.parametrize(("prediction", "apart", "chunk"), GROUPED)
def test_group_by_group_is_what_the_whole_image_says(prediction, apart, chunk):
    """Each group's draws are those of the whole image's posterior at its sites, from the same keys; all sites come."""
    process = process_of("fixed", apart, chunk)
    denoise = causal_denoiser(process, prediction)
    keys = random.per_example(jax.random.key(0), jnp.arange(3))
    condition = jnp.array([0.0, 1.0, -1.0])
    sequence = process.order.sequence
    last = 1 if apart else CHANNELS

    @jax.jit
    def both(cache, x, step):
        posterior, numbers, cache = denoise.advance(cache, x, step)
        whole = denoise(x, jnp.float32(0), condition)
        expected = [a.reshape(3, -1)[:, numbers] for a in (whole.mean, whole.sample(keys))]
        return (posterior.mean, posterior.sample(keys, numbers)), expected, numbers, cache

    cache, seen = denoise.start(3, condition), []
    for g in range(-(-len(sequence) // chunk)):
        before = np.isin(np.arange(len(sequence)), sequence[: g * chunk])
        x = jnp.where(before[:, None], X.reshape(3, len(sequence), -1), MASK).reshape(X.shape)
        got, expected, numbers, cache = both(cache, x, jnp.int32(g))
        assert numbers.shape == (chunk, last)
        for one, other in zip(got, expected, strict=True):
            assert one.shape == (3, chunk, last)
            np.testing.assert_allclose(one, other, atol=1e-5)
        sites = np.asarray(numbers)[:, 0] // last
        here = sequence[g * chunk : (g + 1) * chunk]
        np.testing.assert_array_equal(sites, np.append(here, np.repeat(sequence[-1], chunk - len(here))))
        seen.append(np.asarray(numbers)[: len(here)])
    np.testing.assert_array_equal(np.sort(np.concatenate(seen).ravel()), np.arange(X[0].size))


def test_temperature_and_guidance_go_group_by_group_too():
    process = process_of("fixed", chunk=2)
    denoise = causal_denoiser(process, "logistics")
    condition, null = jnp.array([0.0, 1.0, -1.0]), jnp.zeros(3)
    changed = Tempered(Guided((Told(denoise, null), denoise), (2.0,)), 0.7, 3)
    start = jnp.full_like(X, MASK)
    keys = random.per_example(jax.random.key(0), jnp.arange(3))

    @jax.jit
    def first():
        posterior, numbers, _ = changed.advance(changed.start(3, condition), start, jnp.int32(0))
        whole, plain = (d(start, jnp.float32(1), condition).sample(keys).reshape(3, -1) for d in (changed, denoise))
        return posterior.sample(keys, numbers), whole[:, numbers], plain[:, numbers]

    draws, whole, plain = first()
    np.testing.assert_array_equal(draws, whole)
    assert (draws != plain).any()


def test_what_it_refuses():
    network = lambda *_: jnp.zeros(())  # noqa: E731
    for prediction in ("logistics", "x0"):
        with pytest.raises(ValueError, match="categorical"):
            says(prediction).denoiser(network, process_of(apart=True))
    for prediction in LIKELY:
        with pytest.raises(ValueError, match="levels"):
            says(prediction, values=None)
    with pytest.raises(ValueError, match="causal"):
        says("x0").denoiser(network, process_of()).start(3)
    with pytest.raises(ValueError, match="causal"):
        says("x0", causal=True).denoiser(network, process_of()).start(3)  # it has no `start` itself
    anyhow = says("x0", causal=True).denoiser(Causal(process_of(), CHANNELS), process_of("random"))
    with pytest.raises(ValueError, match="fixed order"):
        anyhow.start(3)
