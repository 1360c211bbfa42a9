"""A key an example: what row i of any draw depends on, and the laws of the draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ddpm_jax import keys as random

DRAWS = {
    "normal": random.normal,
    "uniform": random.uniform,
    "gumbel": random.gumbel,
    "bernoulli": lambda keys, shape, dtype=None: random.bernoulli(keys, 0.3, shape),
}


@pytest.fixture(scope="module")
def keys():
    return random.per_example(jax.random.key(7), jnp.arange(200))


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_row_depends_on_its_own_key_alone(draw, keys):
    draw = jax.jit(draw, static_argnums=1)
    whole = np.asarray(draw(keys, (200, 4, 3)))
    rows = np.array([17, 3, 120])
    np.testing.assert_array_equal(draw(keys[rows], (3, 4, 3)), whole[rows])
    assert len(np.unique(whole.reshape(200, -1), axis=0)) > 150  # 12 bits may agree by chance, for some


@pytest.mark.parametrize(
    ("draw", "law"),
    [(random.normal, stats.norm), (random.uniform, stats.uniform), (random.gumbel, stats.gumbel_r)],
    ids=["normal", "uniform", "gumbel"],
)
@pytest.mark.parametrize("batched", [True, False])
def test_laws(draw, law, batched, keys):
    values = np.ravel(jax.jit(draw, static_argnums=1)(keys if batched else keys[0], (200, 100)))
    assert stats.kstest(values, law.cdf).pvalue > 1e-3


def test_bernoulli_is_true_with_its_probability(keys):
    values = np.asarray(DRAWS["bernoulli"](keys, (200, 100)))
    assert stats.binomtest(int(values.sum()), values.size, 0.3).pvalue > 1e-3


@pytest.mark.parametrize("shape", [(199, 4), (4, 200), (), (1, 200)])
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_keys_that_do_not_fit_the_shape_are_refused(draw, shape, keys):
    with pytest.raises(ValueError, match="do not fit"):
        draw(keys, shape)


def test_row_numbers_are_those_of_the_whole_batch():
    """The second of two devices, with rows 100 to 199, makes the keys that one device makes for these rows."""
    key = jax.random.key(3)
    whole = jax.random.key_data(random.per_example(key, jnp.arange(200)))
    part = jax.random.key_data(random.per_example(key, jnp.arange(100, 200)))
    np.testing.assert_array_equal(part, whole[100:])
    assert len(np.unique(whole, axis=0)) == 200


def test_split_and_fold_in_act_on_each_key_and_never_repeat_one(keys):
    rows = np.array([5, 60])
    for make in (lambda each: random.split(each, 3), lambda each: [random.fold_in(each, n) for n in (0, 1, 2)]):
        made = np.stack([jax.random.key_data(each) for each in make(keys)])
        assert len(np.unique(np.concatenate([made.reshape(600, 2), jax.random.key_data(keys)]), axis=0)) == 800
        some = np.stack([jax.random.key_data(each) for each in make(keys[rows])])
        np.testing.assert_array_equal(some, made[:, rows])
        alone = np.stack([jax.random.key_data(each) for each in make(keys[9])])
        np.testing.assert_array_equal(alone, made[:, 9])


@pytest.mark.parametrize("make", [random.split, lambda keys: (random.fold_in(keys, 4), random.fold_in(keys, 5))])
def test_what_new_keys_draw_is_independent(make, keys):
    """Correlations between the draws of the parents and of the new keys, within 4 standard errors of none."""
    draws = np.stack([np.ravel(random.normal(each, (200, 100))) for each in [keys, *make(keys)]])
    assert np.abs(np.corrcoef(draws) - np.eye(3)).max() < 4 / np.sqrt(20_000)
