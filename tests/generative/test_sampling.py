"""How images are drawn: guidance of every kind, from the parts of a model, against what is put together by hand."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ddpm_jax as dj
from ddpm_jax.conditions import Conditions, Label, Vector
from ddpm_jax.data import Description
from ddpm_jax.denoisers import LabelPrediction
from ddpm_jax.generative import Helper, Sampling
from ddpm_jax.models import Conditioning

TOLD = Conditions((("label", Label(3)), ("vector", Vector(2))))
DATA = Description("squares", "1", (4, 4, 1), None, TOLD)
T, X = jnp.array([0.2, 0.9]), jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 4, 1)), jnp.float32)
ASKED = {"label": jnp.array([2, 0]), "vector": jnp.array([[0.5, -1.0, 1.0], [0.0, 2.0, 1.0]])}
NULL = {"label": jnp.array([3, 3]), "vector": jnp.zeros((2, 3))}


def model(*names):
    """A small network that is told these, on noise."""
    conditioning = Conditioning(TOLD.only(names)) if names else None
    network = dj.models.make("dit", DATA.shape, 1, conditioning, channels=8, depth=1, heads=1, patch=2)
    times = dj.objectives.times.Uniform(t_min=1e-3)
    said = dj.GaussianPrediction("v", time="thousand")
    return dj.Model(DATA, dj.Gaussian(dj.schedules.VP()), network, said, dj.objectives.losses.V(), times)


def classifier():
    options = {"channels": 4, "multipliers": (1,), "blocks": 1, "attention_resolutions": (), "groups": 2}
    network = dj.models.make("half_unet", DATA.shape, 3, Conditioning(TOLD.only(["label"])), **options)
    loss, times = dj.objectives.losses.OBJECTIVES["classifier"](), dj.objectives.times.Uniform(t_min=1e-3)
    said = LabelPrediction(3, "thousand")
    return dj.Model(DATA, dj.Gaussian(dj.schedules.VP()), network, said, loss, times, condition_drop=0.0)


def drawn(model, seed=0):
    """Parameters none of which is zero, as an output's are at first."""
    leaves, tree = jax.tree.flatten(model.init(jax.random.key(seed)))
    keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
    return tree.unflatten(
        [leaf + 0.2 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    )


def sampling(**options):
    return Sampling(dj.FirstOrder(eta=0.0), np.array([1, 0.5, 0.1, 0]), point=True, **options)


def guided(model, params, how, asked=ASKED, **more):

    def mean(joined, asked):
        return how.wrapped(model.denoiser(joined), model, params=joined, **more)(X, T, asked).mean

    return jax.jit(mean)(how.joined(params), asked)


def plain(model, params, asked):
    return jax.jit(lambda params, asked: model.denoiser(params)(X, T, asked).mean)(params, asked)


KEYS = jax.random.split(jax.random.key(3), 2)


def images(model, params, how, asked=ASKED):
    draw = jax.jit(lambda params, asked: how.draw(model, params, KEYS, asked)[0])
    return np.asarray(draw(how.joined(params), asked))


@pytest.mark.slow
def test_two_conditions_with_weights_of_their_own_are_the_denoisers_put_together_by_hand():
    told = model("label", "vector")
    params = drawn(told)

    def mean(*names):
        said = {name: (ASKED if name in names else NULL)[name] for name in ASKED}
        return plain(told, params, said)

    none, label, vector, both = mean(), mean("label"), mean("vector"), mean("label", "vector")
    assert min(float(np.abs(one - both).max()) for one in (none, label, vector)) > 1e-2
    first = sampling(each=(("label", 1.5), ("vector", 3.0)))
    np.testing.assert_allclose(guided(told, params, first), none + 1.5 * (label - none) + 3 * (both - label), atol=1e-4)
    other = sampling(each=(("vector", 3.0), ("label", 1.5)))
    np.testing.assert_allclose(
        guided(told, params, other), none + 3 * (vector - none) + 1.5 * (both - vector), atol=1e-4
    )
    alike = sampling(each=(("label", 2.0), ("vector", 2.0)))
    np.testing.assert_allclose(guided(told, params, alike), guided(told, params, sampling(guidance=2.0)), atol=1e-4)
    np.testing.assert_array_equal(
        guided(told, params, sampling(each=(("label", 1.0), ("vector", 1.0)))),
        guided(told, params, sampling(guidance=1.0)),
    )


@pytest.mark.slow
def test_a_negative_prompt_stands_where_nothing_would_be_said():
    told = model("label", "vector")
    params, negative = drawn(told), {**NULL, "label": jnp.array([1, 1])}
    how = sampling(each=(("vector", 2.0), ("label", 0.0)))
    weak = plain(told, params, negative)
    strong = plain(told, params, {**ASKED, "label": negative["label"]})
    got = guided(told, params, how, negative=negative)
    np.testing.assert_allclose(got, weak + 2 * (strong - weak), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("names", [(), ("label",)])
def test_a_weak_one_equal_to_the_strong_one_is_the_identity_to_the_bit(names):
    """Within one program; programs of one and of two networks may round otherwise."""
    told = model(*names)
    params, asked = drawn(told), {name: ASKED[name] for name in names}
    alone = images(told, params, sampling(), asked)
    same = sampling(weak=Helper(told, params), guidance=3.0)
    np.testing.assert_allclose(images(told, params, same, asked), alone, atol=1e-5)

    @jax.jit
    def both(joined, asked):
        strong = told.denoiser(joined)
        return same.wrapped(strong, told, params=joined)(X, T, asked).mean, strong(X, T, asked).mean

    np.testing.assert_array_equal(*both(same.joined(params), asked))
    other = drawn(told, seed=7)
    guided_by_it = sampling(weak=Helper(told, other), guidance=3.0)
    assert np.any(images(told, params, guided_by_it, asked) != alone)
    strong, weak = (plain(told, one, asked) for one in (params, other))
    np.testing.assert_allclose(guided(told, params, guided_by_it, asked), weak + 3 * (strong - weak), atol=1e-4)


@pytest.mark.slow
def test_parameters_of_helpers_are_arguments_of_the_program():
    """One program serves two weak networks, and is no larger for their numbers."""
    told = model()
    params, others = drawn(told), [drawn(told, seed) for seed in (5, 6)]
    how = sampling(weak=Helper(told, others[0]), classifier=Helper(classifier(), drawn(classifier())), guidance=2.0)
    draw = jax.jit(lambda params, asked: how.draw(told, params, KEYS, asked)[0])
    asked = {"label": ASKED["label"]}
    first, second = (draw(replace(how, weak=Helper(told, one)).joined(params), asked) for one in others)
    assert np.any(first != second) and draw._cache_size() == 1
    constants = jax.make_jaxpr(lambda params: how.draw(told, params, KEYS, asked)[0])(how.joined(params)).consts
    assert (
        sum(np.size(one) for one in jax.tree.leaves(constants) if not jnp.issubdtype(one.dtype, jax.dtypes.prng_key))
        < 64
    )


@pytest.mark.slow
def test_a_classifier_moves_an_unconditional_model_up_its_gradient():
    told, tells = model(), classifier()
    params, theirs = drawn(told), drawn(tells)
    asked = {"label": ASKED["label"]}
    how = sampling(classifier=Helper(tells, theirs), classifier_scale=3.0)
    assert list(how.asked(told)) == ["label"] and not list(sampling().asked(told))

    def log_prob(x):
        return tells.denoiser(theirs)(x, T, asked).log_prob.sum()

    alpha, sigma = told.process.at(T, X)
    expected = plain(told, params, None) + 3 * sigma**2 / alpha * jax.jit(jax.grad(log_prob))(X)
    np.testing.assert_allclose(guided(told, params, how, asked), expected, atol=1e-4)
    alone = images(told, params, sampling(), {})
    assert np.any(images(told, params, how, asked) != alone)
    for quiet in (replace(how, classifier_scale=0.0), how):
        unknown = {"label": NULL["label"] if quiet is how else ASKED["label"]}
        np.testing.assert_allclose(images(told, params, quiet, unknown), alone, atol=1e-5)


@pytest.mark.slow
def test_a_conditional_model_is_told_its_own_conditions_beside_a_classifier():
    told, tells = model("vector"), classifier()
    params, theirs = drawn(told), drawn(tells)
    how = sampling(classifier=Helper(tells, theirs), classifier_scale=0.0, guidance=2.0)
    assert list(how.asked(told)) == ["vector", "label"]
    got = guided(told, params, how)
    own = {"vector": ASKED["vector"]}
    np.testing.assert_allclose(got, guided(told, params, sampling(guidance=2.0), own), atol=1e-5)


def test_weights_of_one_before_the_others_cost_no_evaluation():
    both = model("label", "vector")
    params = drawn(both)
    how = sampling(each=(("label", 1.0), ("vector", 3.0)))
    denoise = how.wrapped(both.denoiser(params), both, params=params)
    assert denoise.denoise.cost() == 2
    untold = {**ASKED, "vector": NULL["vector"]}
    strong, weak = (guided(both, params, sampling(), asked) for asked in (ASKED, untold))
    np.testing.assert_allclose(guided(both, params, how), weak + 3 * (strong - weak), rtol=1e-4, atol=1e-5)
