"""A classifier of noisy images: Bayes' rule on a mixture whose posterior over components is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.denoisers import Classifier, ClassifierGuided, LabelPrediction, Labels, Only
from ddpm_jax.objectives.losses import OBJECTIVES, loss
from ddpm_jax.oracles import GaussianMixture
from ddpm_jax.processes import Gaussian, Traits
from ddpm_jax.schedules import VP

PROCESS = Gaussian(VP())
WEIGHTS, MEANS, NOISE = np.array([0.3, 0.7]), np.array([[-1.0, 0.3], [0.7, -0.4]]), 0.05 * np.eye(2)
PREDICTION = LabelPrediction(2, "thousand", "unit")


def component(*which):
    chosen = list(which)
    weights = WEIGHTS[chosen] / WEIGHTS[chosen].sum()
    parts = jnp.asarray(weights), jnp.asarray(MEANS[chosen]), jnp.asarray(NOISE[None].repeat(len(chosen), 0))
    return GaussianMixture(*parts)


def exact_network(x, time, condition):
    """log p(y, x_t), from a scaled input and a time as a network is told them."""
    assert condition is None
    t = time / 999
    alpha, sigma = PROCESS.at(t, x)
    x_t = x * jnp.sqrt(jnp.square(alpha * PREDICTION.sigma_data) + jnp.square(sigma))
    densities = [component(y).log_density_at(PROCESS, x_t, t) + jnp.log(WEIGHTS[y]) for y in (0, 1)]
    return jnp.stack(densities, axis=1)


def test_the_classifier_of_a_known_law_makes_the_marginal_denoiser_the_conditional_one():
    with jax.enable_x64(True):
        t, y = jnp.array([0.05, 0.3, 0.6, 1.0]), jnp.array([0, 1, 0, 1])
        x_t = jnp.asarray(np.random.default_rng(0).normal(size=(4, 2)))
        classify = PREDICTION.denoiser(exact_network, PROCESS)
        guided = ClassifierGuided(component(0, 1).denoiser(PROCESS), classify.log_prob, 1.0, PROCESS)
        got = jax.jit(guided)(x_t, t, {"label": y}).mean
        exact = [component(one).denoiser(PROCESS)(x_t, t).mean for one in (0, 1)]
        np.testing.assert_allclose(got, np.where(y[:, None] == 0, *exact), rtol=1e-6, atol=1e-8)


def test_an_unknown_label_says_nothing_and_leads_nowhere():
    x_t, t, unknown = jnp.ones((3, 2)), jnp.full(3, 0.5), {"label": jnp.array([2, 2, 1])}
    classify = Classifier(PREDICTION, exact_network, PROCESS)

    @jax.jit
    def log_prob(x, condition):
        return classify.log_prob(x, t, condition).sum(), classify.log_prob(x, t, condition)

    (_, found), slope = jax.value_and_grad(log_prob, has_aux=True)(x_t, unknown)
    assert found[:2].tolist() == [0, 0] and found[2] < 0
    assert not np.any(slope[:2]) and np.any(slope[2])
    assert log_prob(x_t, None)[1].tolist() == [0, 0, 0]


def test_its_loss_is_a_distribution_over_labels():
    """The probabilities of all labels sum to one, and the mean over labels of an exact one's loss is their entropy."""
    keys, x = jax.random.split(jax.random.key(0), 3), jnp.asarray(MEANS[[0, 1, 1]], jnp.float32)
    t, classify = jnp.full(3, 0.4), PREDICTION.denoiser(exact_network, PROCESS)
    objective = OBJECTIVES["classifier"]()
    nats = [loss(PROCESS, classify, objective, keys, x, {"label": jnp.full(3, y)}, t, t)[0] for y in (0, 1)]
    np.testing.assert_allclose(np.exp(-np.stack(nats)).sum(axis=0), 1, rtol=1e-5)
    doubled = loss(PROCESS, classify, objective, keys, x, {"label": jnp.full(3, 1)}, t, t, 2.0)
    np.testing.assert_allclose(doubled[0], 2 * nats[1], rtol=1e-6)
    np.testing.assert_allclose(doubled[1], nats[1], rtol=1e-6)


def test_log_probabilities_are_those_of_the_logits():
    logits = jnp.array([[0.0, 1.0, 2.0], [5.0, 5.0, 5.0]])
    found = Labels(logits, jnp.array([2, 0])).log_prob
    np.testing.assert_allclose(np.exp(found), [np.e**2 / (1 + np.e + np.e**2), 1 / 3], rtol=1e-6)


def test_only_some_conditions_are_told():
    heard = Only(lambda x_t, t, condition: condition, ("text",))
    assert heard(jnp.ones(1), 0.5, {"text": 1, "label": 2}) == {"text": 1}
    assert Only(lambda x_t, t, condition: condition, ())(jnp.ones(1), 0.5, {"label": 2}) == {}


@pytest.mark.parametrize(
    ("time", "traits", "discrete", "part"),
    [
        ("index", Traits("gaussian"), False, ["time"]),
        ("log_snr", Traits("gaussian", zero_terminal=True), False, ["time"]),
        ("thousand", Traits("gaussian", zero_terminal=True), False, []),
    ],
)
def test_times_that_cannot_be_told(time, traits, discrete, part):
    found = LabelPrediction(3, time).refusals(traits, "flow", discrete)
    assert [refusal.part for refusal in found] == part
