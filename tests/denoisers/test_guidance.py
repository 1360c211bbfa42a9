"""Guidance: what is known of it by hand, calls counted as they run, and Bayes' rule on mixtures and tables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.denoisers import (
    Categorical,
    ClassifierGuided,
    Clipped,
    Guided,
    LogisticMixture,
    Normal,
    Pointed,
    Tempered,
    Told,
    cost,
)
from ddpm_jax.denoisers.logistics import numbers_a_pixel
from ddpm_jax.denoisers.posteriors import Output
from ddpm_jax.oracles import GaussianMixture, JointTable
from ddpm_jax.processes import MASK, Gaussian, Ordered, Traits, make_order
from ddpm_jax.schedules import VE, VP
from ddpm_jax.schedules.keeping import linear

LABELS = jnp.array([2.0, -3.0, 5.0])
CONDITION, NULL = {"label": LABELS}, {"label": jnp.full(1, 10.0)}
X = jnp.arange(6.0).reshape(3, 2)
T = jnp.array([0.2, 0.4, 0.6])


class Says:
    """A denoiser that says its condition at every site, and remembers what it was called with."""

    def __init__(self, factor=1.0):
        self.calls, self.factor = [], factor

    def __call__(self, x_t, t, condition):
        jax.debug.callback(lambda *given: self.calls.append(jax.tree.map(np.asarray, given)), x_t, t, condition)
        total = sum(condition[name] for name in sorted(condition)) * self.factor
        mean = jnp.broadcast_to(total[:, None], x_t.shape)
        variance = jnp.broadcast_to(0.1 * t, x_t.shape[:1])[:, None]
        return Normal(mean, variance, Output(mean, jnp.ones_like(mean), jnp.zeros_like(mean), -jnp.ones_like(mean)))

    def heard(self):
        """The calls since last asked, and the rows of each."""
        jax.effects_barrier()
        calls, self.calls = self.calls, []
        return calls, [len(call[0]) for call in calls]


def classifier_free(denoise, weight, **more):
    return Guided((Told(denoise, NULL), denoise), (weight,), **more)


@pytest.mark.parametrize(("weight", "expected"), [(0.0, [10, 10, 10]), (1.0, [2, -3, 5]), (3.0, [-14, -29, -5])])
@pytest.mark.parametrize("t", [T, jnp.float32(0.4)], ids=["each", "one"])
def test_from_none_to_the_condition_and_beyond_in_one_call(weight, expected, t):
    denoise = Says()
    posterior = classifier_free(denoise, weight)(X, t, CONDITION)
    np.testing.assert_array_equal(posterior.mean, np.repeat(np.reshape(expected, (3, 1)), 2, axis=1))
    np.testing.assert_allclose(np.ravel(posterior.variance), 0.1 * np.broadcast_to(t, 3), rtol=1e-6)

    [(inputs, times, condition)], _ = denoise.heard()  # one call, on both
    np.testing.assert_array_equal(inputs, np.concatenate([X, X]))
    np.testing.assert_allclose(times, np.tile(np.broadcast_to(t, 3), 2))
    np.testing.assert_array_equal(condition["label"], [10, 10, 10, *LABELS])


def test_errors_are_those_of_the_guided_mean():
    """Not of the raw output that the strong one came from."""
    guided = classifier_free(Says(), 3.0)(X, T, CONDITION)
    np.testing.assert_allclose(guided.squared_error(0 * X, X)[:, 0], [14**2, 29**2, 5**2], rtol=1e-6)


VALUES = jnp.linspace(-1, 1, 4)
RNG = np.random.default_rng(0)
RAW = jnp.asarray(RNG.normal(size=(2, 3, 2, numbers_a_pixel(2, 2))), jnp.float32)


def logits(seed):
    found = np.random.default_rng(seed).normal(size=(3, 2, 2, 4)).astype(np.float32)
    found[0, 0, 0, 1:] = -np.inf  # a site that is known
    return jnp.asarray(found)


PAIRS = {
    "normal": tuple(Normal(0.1 * jnp.asarray(RNG.normal(size=(3, 2)), jnp.float32), T[:, None]) for _ in range(2)),
    "categorical": tuple(Categorical(logits(seed), VALUES) for seed in (1, 2)),
    "logistics": tuple(LogisticMixture.of(raw, 2, VALUES) for raw in RAW),
}
each_pair = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)


def fixed(posterior):
    return lambda x_t, t, condition=None: posterior


def numbers(posterior):
    """What says a posterior at some x."""
    if isinstance(posterior, Normal):
        return np.asarray(posterior.mean)
    if isinstance(posterior, Categorical):
        return np.asarray(posterior.logits)
    return np.asarray(channels_of(posterior, jnp.broadcast_to(VALUES[jnp.array([1, 3])], posterior.shape)))


@jax.jit
def channels_of(posterior, x):
    """The logits of each channel given those before it in x."""
    return jnp.stack([posterior.given(x, channel).logits for channel in range(2)], axis=1)


@each_pair
@pytest.mark.parametrize("t", [T, jnp.float32(0.4)], ids=["each", "one"])
def test_weights_of_one_and_none_and_equal_denoisers_are_exact_to_the_bit(pair, t):
    weak, strong = pair
    run = jax.jit(lambda *chain, weight: Guided(tuple(map(fixed, chain)), (weight,))(X, t), static_argnames="weight")
    np.testing.assert_array_equal(numbers(run(weak, strong, weight=1.0)), numbers(strong))
    np.testing.assert_array_equal(numbers(run(weak, strong, weight=0.0)), numbers(weak))
    np.testing.assert_array_equal(numbers(run(strong, strong, weight=3.7)), numbers(strong))
    assert np.any(numbers(run(weak, strong, weight=3.7)) != numbers(strong))


@each_pair
def test_an_interval_guides_the_images_whose_time_lies_in_it(pair):
    """Row by row where times differ, whole where they are one; the time that it begins at is outside."""
    weak, strong = pair
    within = Guided((fixed(weak), fixed(strong)), (2.5,), interval=(0.4, 0.6))
    plain, alone = numbers(Guided((fixed(weak), fixed(strong)), (2.5,))(X, T)), numbers(strong)
    run = jax.jit(within)
    got = numbers(run(X, T))
    np.testing.assert_array_equal(got[:2], alone[:2])
    np.testing.assert_allclose(got[2], plain[2], rtol=1e-6)
    np.testing.assert_array_equal(numbers(run(X, T).rows(slice(1, 3))), got[1:])
    for t, expected in ((0.4, alone), (0.5, plain), (0.6, plain), (0.7, alone)):
        np.testing.assert_allclose(numbers(run(X, jnp.float32(t))), expected, rtol=1e-6)


def test_outside_the_interval_only_the_strongest_is_called():
    denoise = Says()
    guided = classifier_free(denoise, 3.0, interval=(0.3, 0.6))
    run = jax.jit(guided)
    for t, rows in ((0.2, 3), (0.3, 3), (0.31, 6), (0.6, 6), (0.7, 3)):
        mean = run(X, jnp.float32(t), CONDITION).mean
        assert denoise.heard()[1] == [rows]
        assert int(guided.cost(t)) == rows / 3
        np.testing.assert_array_equal(mean[:, 0], [2, -3, 5] if rows == 3 else [-14, -29, -5])
    run(X, T, CONDITION)
    assert denoise.heard()[1] == [6] and guided.cost() == 2
    np.testing.assert_array_equal(guided.cost(jnp.array([0.2, 0.5])), [1, 2])

    never = classifier_free(denoise, 3.0, interval=(0.5, 0.5))
    for t in (jnp.float32(0.5), T):
        np.testing.assert_array_equal(never(X, t, CONDITION).mean, denoise(X, t, CONDITION).mean)
        assert denoise.heard()[1] == [3, 3]
    assert never.cost() == never.cost(0.5) == 1


def test_what_calls_cost():
    denoise = Says()
    pair = classifier_free(denoise, 3.0)
    assert [cost(denoise, 0.5), cost(pair, 0.5), cost(pair)] == [1, 2, 2]
    for wrapped in (Clipped(pair), Pointed(pair), Tempered(pair), Told(pair, CONDITION)):
        assert cost(wrapped, 0.5) == 2
    assert cost(Guided((Says(), pair), (2.0,)), 0.5) == 3  # a guided denoiser is one like others


def test_a_negative_prompt_is_what_the_weak_one_is_told():
    negative = {"label": jnp.array([1.0, 1.0, 0.0])}
    denoise = Says()
    mean = Guided((Told(denoise, negative), denoise), (2.0,))(X, T, CONDITION).mean
    np.testing.assert_array_equal(mean[:, 0], [3, -7, 10])


def test_two_conditions_have_weights_of_their_own():
    """Brooks et al. 2023, eq. 3, of e(text, image) = text + image, each null one 0; names that are not said stay."""
    denoise, told = Says(), {"image": jnp.array([1.0, 2.0, 3.0]), "text": jnp.array([100.0, 200.0, 300.0])}
    neither = Told(denoise, {"image": jnp.zeros(1), "text": jnp.zeros(1)})
    chain = (neither, Told(denoise, {"text": jnp.zeros(1)}), denoise)
    guided = Guided(chain, (1.5, 7.5))
    np.testing.assert_allclose(guided(X, T, told).mean[:, 0], [751.5, 1503, 2254.5])
    assert denoise.heard()[1] == [9] and guided.cost(0.5) == 3
    one = Guided(chain, (2.0, 2.0))(X, T, told).mean
    np.testing.assert_allclose(one, Guided((neither, denoise), (2.0,))(X, T, told).mean)  # the middle one cancels
    np.testing.assert_array_equal(Guided(chain, (1.0, 1.0))(X, T, told).mean, denoise(X, T, told).mean)
    np.testing.assert_array_equal(Guided(chain, (1.0, 0.0))(X, T, told).mean[:, 0], [1, 2, 3])


@pytest.mark.parametrize("name", ["categorical", "logistics"])
def test_longer_chains_of_levels_are_products_of_powers(name):
    """p_0 (p_1/p_0)^w (p_2/p_1)^v of each conditional, in NumPy."""
    chain = (*PAIRS[name], PAIRS[name][0].tempered(2.0))
    got = numbers(Guided(tuple(map(fixed, chain)), (1.5, 2.5))(X, jnp.float32(0.5)))
    first, second, third = (np.asarray(jax.nn.log_softmax(numbers(one)), np.float64) for one in chain)
    with np.errstate(invalid="ignore"):
        expected = np.nan_to_num(first + 1.5 * (second - first) + 2.5 * (third - second), nan=-np.inf)
    np.testing.assert_allclose(jax.nn.softmax(got), jax.nn.softmax(expected), atol=1e-5)


def test_another_denoiser_as_the_weak_one_is_told_the_same():
    strong, weak = Says(), Says(0.5)
    guided = Guided((weak, strong), (3.0,))
    np.testing.assert_array_equal(guided(X, jnp.float32(0.5), CONDITION).mean[:, 0], 2 * LABELS)
    for one in (weak, strong):
        [(inputs, t, condition)], _ = one.heard()
        np.testing.assert_array_equal(inputs, X)
        np.testing.assert_array_equal(condition["label"], LABELS)
        assert t.shape == ()  # as without guidance


def test_what_no_chain_is():
    denoise = Says()
    for chain, weights in (((denoise,), ()), ((denoise, denoise), (1.0, 2.0)), ((denoise,) * 3, (1.0,))):
        with pytest.raises(ValueError, match="weight"):
            Guided(chain, weights)
    with pytest.raises(ValueError, match="condition") as raised:
        classifier_free(denoise, 2.0)(X, T, {"text": LABELS})
    assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match="first_order"):
        classifier_free(denoise, 2.0, interval=(0.2, 0.8)).start(3)


WEIGHTS = np.array([0.2, 0.3, 0.5])
MEANS = np.array([[-1.0, 0.3], [0.7, -0.4], [0.2, 0.9]])
COVARIANCES = np.array([[[0.05, 0.01], [0.01, 0.1]], [[0.08, -0.03], [-0.03, 0.04]], [[0.1, 0.0], [0.0, 0.02]]])
CLASSES = ([0, 2], [1])  # of the components


def mixture(components):
    weights = WEIGHTS[components] / WEIGHTS[components].sum()
    return GaussianMixture(jnp.asarray(weights), jnp.asarray(MEANS[components]), jnp.asarray(COVARIANCES[components]))


PROCESSES = {"vp": Gaussian(VP()), "ve": Gaussian(VE(0.02, 50.0))}
each_process = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)


def log_joint(process, x_t, t):
    """log p(y, x_t) of both classes, `[batch, 2]`."""
    parts = [mixture(one).log_density_at(process, x_t, t) + jnp.log(WEIGHTS[one].sum()) for one in CLASSES]
    return jnp.stack(parts, axis=1)


@each_process
def test_an_exact_classifier_makes_the_marginal_denoiser_the_conditional_one(process):
    with jax.enable_x64(True):
        y = np.array([0, 1, 0, 1, 1])
        t = jnp.array([0.05, 0.3, 0.5, 0.7, 1.0])
        x = np.random.default_rng(5).normal(size=(5, 2))
        x_t = jax.jit(process.corrupt)(x, x[::-1].copy(), t)

        def log_prob(x_t, t, condition):
            return jnp.take_along_axis(jax.nn.log_softmax(log_joint(process, x_t, t)), condition[:, None], 1)[:, 0]

        whole = mixture([0, 1, 2]).denoiser(process)
        guided = ClassifierGuided(whole, log_prob, 1.0, process)
        got = jax.jit(guided)(x_t, t, jnp.asarray(y)).mean
        exact = [jax.jit(mixture(one).denoiser(process))(x_t, t).mean for one in CLASSES]
        np.testing.assert_allclose(got, np.where(y[:, None] == 0, *exact), rtol=1e-6, atol=1e-8)
        none = jax.jit(ClassifierGuided(whole, log_prob, 0.0, process))(x_t, t, jnp.asarray(y)).mean
        np.testing.assert_array_equal(none, jax.jit(whole)(x_t, t).mean)
        assert np.abs(got - none).max() > 0.1
        assert guided.cost(0.5) == 1


def test_a_classifiers_gradient_needs_noise_and_some_image_in_it():
    guided = ClassifierGuided(Says(), lambda x_t, t, condition: jnp.zeros(3), 1.0, PROCESSES["vp"])
    assert not [*guided.refusals("scale", PROCESSES["vp"].traits())]
    for traits in (Traits("ordered"), Traits("gaussian", zero_terminal=True)):
        [(part, reason)] = guided.refusals("scale", traits)
        assert part == "scale" and "\n" not in reason


@each_process
def test_the_null_condition_of_an_exact_conditional_model_of_noise_is_its_marginal(process):
    """E[x | x_t] = sum_y p(y | x_t) E[x | x_t, y]."""
    with jax.enable_x64(True):
        t = jnp.array([0.05, 0.3, 0.5, 0.7, 1.0])
        x_t = jnp.asarray(np.random.default_rng(6).normal(size=(5, 2)))

        @jax.jit
        def both(x_t, t):
            chances = jax.nn.softmax(log_joint(process, x_t, t))
            given = jnp.stack([mixture(one).denoiser(process)(x_t, t).mean for one in CLASSES], axis=1)
            return mixture([0, 1, 2]).denoiser(process)(x_t, t).mean, jnp.einsum("by,byd->bd", chances, given)

        np.testing.assert_allclose(*both(x_t, t), rtol=1e-6, atol=1e-9)


def test_the_null_condition_of_an_exact_conditional_model_of_hidden_sites_is_its_marginal():
    """A table whose last site is the label: hidden, the others' posterior is that of the table summed over it."""
    levels = np.linspace(-1, 1, 3)
    joint = np.random.default_rng(7).dirichlet(np.full(27, 0.5)).reshape(3, 3, 3)
    sites, both = (Ordered(make_order("random", (count,)), linear) for count in (2, 3))
    x_t = jnp.array([[MASK, MASK], [MASK, 0.0], [1.0, MASK], [-1.0, MASK]])[..., None]

    def chances(table, process):
        """Of every site and level, compiled."""
        denoise = JointTable(table, levels).denoiser(process)
        return jax.jit(lambda x_t: jax.nn.softmax(denoise(x_t, 0.5).logits))

    labelled = chances(joint, both)
    label_of = jnp.zeros_like(x_t[:, :1])
    null = labelled(jnp.concatenate([x_t, label_of + MASK], axis=1))[:, :2]
    np.testing.assert_allclose(null, chances(joint.sum(axis=2), sites)(x_t), atol=1e-6)
    for label, value in enumerate(levels):
        told = labelled(jnp.concatenate([x_t, label_of + value], axis=1))[:, :2]
        table = joint[..., label] / joint[..., label].sum()
        np.testing.assert_allclose(told, chances(table, sites)(x_t), atol=1e-6)
