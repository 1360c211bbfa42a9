"""The categorical posterior, against Bayes' rule summed out in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Categorical, GaussianPrediction, Guided, Told
from ddpm_jax.processes import Gaussian
from ddpm_jax.schedules import VE, VP

VALUES = np.linspace(-1, 1, 5).astype(np.float32)
LOGITS = np.random.default_rng(0).normal(size=(3, 4, 2, 5)).astype(np.float32)


def table(logits=LOGITS):
    weights = np.exp(np.asarray(logits, np.float64))
    return weights / weights.sum(axis=-1, keepdims=True)


def test_mean_error_and_loss_are_sums_over_the_levels():
    posterior = Categorical(jnp.asarray(LOGITS), jnp.asarray(VALUES))
    level = np.random.default_rng(1).integers(0, 5, (3, 4, 2))
    x = jnp.asarray(VALUES[level])
    p = table()
    np.testing.assert_allclose(posterior.mean, (p * VALUES).sum(axis=-1), atol=1e-6)
    np.testing.assert_allclose(posterior.squared_error(x, x), (VALUES[level] - (p * VALUES).sum(-1)) ** 2, atol=1e-6)
    expected = -np.log(np.take_along_axis(p, level[..., None], axis=-1)[..., 0])
    np.testing.assert_allclose(posterior.loss(x), expected, rtol=1e-5)
    np.testing.assert_allclose(posterior.discretise(jnp.asarray(VALUES), jnp.ones(1)).loss(x), expected, rtol=1e-5)


def test_draws_come_as_often_as_the_table_says():
    logits = jnp.broadcast_to(jnp.asarray(LOGITS[:1]), (4000, 4, 2, 5))
    draws = Categorical(logits, jnp.asarray(VALUES)).sample(jax.random.key(0))
    p = table()[0]
    for level, value in enumerate(VALUES):
        share = np.mean(np.asarray(draws) == value, axis=0)
        np.testing.assert_array_less(np.abs(share - p[..., level]), 4 * np.sqrt(p[..., level] / 4000))


@pytest.mark.parametrize("schedule", [VP(), VE()], ids=["vp", "ve"])
@pytest.mark.parametrize("t", [0.001, 0.3, 1.0])
def test_the_networks_logits_are_a_prior_for_the_level_and_x_t_its_evidence(schedule, t):
    """Bayes' rule for one site: p(level | x_t) is proportional to exp(logit) N(x_t; alpha v, sigma^2)."""
    process = Gaussian(schedule, VALUES)
    x = jnp.asarray(VALUES[np.random.default_rng(2).integers(0, 5, (3, 4, 2))])
    x_t = process.corrupt(x, jax.random.normal(jax.random.key(3), x.shape), jnp.float32(t))
    raw = jnp.asarray(LOGITS).reshape(3, 4, 10)
    says = GaussianPrediction("categorical", time="thousand")
    posterior = says.denoiser(lambda *_: raw, process)(x_t, jnp.float32(t), None)
    alpha, sigma = (float(level) for level in schedule(jnp.float32(t)))
    evidence = -((np.asarray(x_t, np.float64)[..., None] - alpha * VALUES) ** 2) / (2 * sigma**2)
    np.testing.assert_allclose(jax.nn.softmax(posterior.logits), table(LOGITS + evidence), atol=1e-4)


def test_guidance_is_a_product_of_powers():
    """p_u^(1 - w) p_c^w at each site, from one call on both; the levels' values are not split with the batch."""
    other = np.random.default_rng(4).normal(size=LOGITS.shape).astype(np.float32)

    def denoise(x_t, t, condition):
        return Categorical(jnp.where(condition[:, None, None, None] > 0, LOGITS[0], other[0]), jnp.asarray(VALUES))

    posterior = Guided((Told(denoise, jnp.zeros(3)), denoise), (3.0,))(
        jnp.zeros((3, 4, 2)), jnp.float32(0.5), jnp.ones(3)
    )
    product = table(LOGITS[0]) ** 3 * table(other[0]) ** -2
    np.testing.assert_allclose(
        jax.nn.softmax(posterior.logits)[1], product / product.sum(axis=-1, keepdims=True), atol=1e-5
    )


draw = jax.jit(lambda posterior, keys, numbers=None: posterior.sample(keys, numbers))


def test_a_value_is_drawn_by_its_number_alone():
    """Some values, in any order, get what the whole image would have given them; so does a part of a batch."""
    posterior = Categorical(jnp.asarray(LOGITS), jnp.asarray(VALUES))
    each = random.per_example(jax.random.key(0), jnp.arange(3))
    whole = draw(posterior, each).reshape(3, 8)
    numbers = jnp.array([[6, 1], [0, 6]])
    part = Categorical(posterior.logits.reshape(3, 8, 5)[:, numbers], posterior.values)
    np.testing.assert_array_equal(draw(part, each, numbers), whole[:, numbers])
    np.testing.assert_array_equal(draw(part.rows(slice(1, 3)), each[1:], numbers), whole[1:, numbers])


def test_a_chain_ends_with_a_draw():
    posterior = Categorical(jnp.asarray(LOGITS), jnp.asarray(VALUES))
    np.testing.assert_array_equal(jax.jit(posterior.final)(jax.random.key(0)), draw(posterior, jax.random.key(0)))


CHANCES = np.array([0.1, 0.35, 0.05, 0.3, 0.2])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"temperature": 0.5}, CHANCES**2),
        ({"temperature": 2.0}, CHANCES**0.5),
        ({"top_k": 1}, [0, 1, 0, 0, 0]),
        ({"top_k": 2}, [0, 0.35, 0, 0.3, 0]),
        ({"top_k": 9}, CHANCES),
        ({"nucleus": 0.01}, [0, 1, 0, 0, 0]),
        ({"nucleus": 0.64}, [0, 0.35, 0, 0.3, 0]),
        ({"nucleus": 0.66}, [0, 0.35, 0, 0.3, 0.2]),
        ({"nucleus": 1.0}, CHANCES),
        # After top_k = 3 the chances are 35, 30 and 20 of 85: two of them reach 0.76, which alone would take three.
        ({"top_k": 3, "nucleus": 0.76}, [0, 0.35, 0, 0.3, 0]),
        # Of squares 0.1225, 0.09, 0.04, ... of 0.265 the first two reach 0.8.
        ({"temperature": 0.5, "nucleus": 0.8}, [0, 0.35**2, 0, 0.3**2, 0]),
    ],
    ids=str,
)
def test_tempering_by_hand(options, expected):
    logits = jnp.log(jnp.broadcast_to(jnp.asarray(CHANCES), (2, 3, 5))) + 7
    tempered = jax.jit(lambda p: p.tempered(**options))(Categorical(logits, jnp.asarray(VALUES)))
    expected = np.asarray(expected) / np.sum(expected)
    np.testing.assert_allclose(jax.nn.softmax(tempered.logits), np.broadcast_to(expected, (2, 3, 5)), atol=1e-6)
    np.testing.assert_allclose(tempered.mean, np.full((2, 3), expected @ VALUES), atol=1e-6)


def test_of_equally_likely_levels_only_so_many_are_kept():
    tempered = Categorical(jnp.zeros((1, 1, 5)), jnp.asarray(VALUES)).tempered(top_k=2)
    np.testing.assert_allclose(jax.nn.softmax(tempered.logits), [[[0.5, 0.5, 0, 0, 0]]], atol=1e-6)
    tempered = Categorical(jnp.zeros((1, 1, 5)), jnp.asarray(VALUES)).tempered(nucleus=0.5)
    np.testing.assert_allclose(jax.nn.softmax(tempered.logits), [[[1, 1, 1, 0, 0]]] / np.float32(3), atol=1e-6)


def test_levels_that_are_cut_are_never_drawn_and_cost_infinitely_much():
    tempered = Categorical(jnp.asarray(LOGITS), jnp.asarray(VALUES)).tempered(top_k=1)
    most = VALUES[LOGITS.argmax(axis=-1)]
    np.testing.assert_array_equal(draw(tempered, jax.random.key(0)), most)
    np.testing.assert_allclose(tempered.loss(jnp.asarray(most)), 0, atol=1e-6)
    assert np.isinf(tempered.loss(jnp.asarray(-most + (most == 0)))).all()


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"top_k": -1}, {"nucleus": 0.0}, {"nucleus": 1.1}], ids=str)
def test_what_no_tempering_is(options):
    with pytest.raises(ValueError, match="temperature" if "temperature" in options else next(iter(options))):
        Categorical(jnp.asarray(LOGITS), jnp.asarray(VALUES)).tempered(**options)
