"""An experiment's loss and samples, from a config, on an untrained network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import keys as random
from ddpm_jax.conditions import labels as classes
from ddpm_jax.config.base import base
from ddpm_jax.data import Description
from ddpm_jax.experiment import make

DIGITS = Description("digits", "1.0.0", (8, 8, 1), 17, classes(10))


def experiment(**changes):
    config = base()
    config.model.channels = 8
    config.model.multipliers = (1,)
    config.model.blocks = 1
    config.model.attention_resolutions = ()
    config.model.groups = 4
    config.model.conditions = ("label",)
    config.sampler.steps = 4
    config.update_from_flattened_dict(changes)
    return make(config, DIGITS)


@pytest.fixture(scope="module")
def params():
    """A fresh network puts out zeros, and ignores its input."""
    fresh, draw = jax.jit(experiment().model.init)(jax.random.key(0)), np.random.default_rng(1)
    return jax.tree.map(lambda leaf: leaf + 0.05 * draw.normal(size=leaf.shape).astype(np.float32), fresh)


@functools.cache
def program(**changes):
    """Samples of an experiment, compiled once."""
    one = experiment(**changes)
    return jax.jit(lambda params, keys, told, no: one.sampling.draw(one.model, params, keys, told, negative=no)[0])


def sample(params, labels=(1, 2, 3), negative=None, **changes):
    keys = random.per_example(jax.random.key(5), jnp.arange(3))
    negative = negative and {"label": jnp.asarray(negative)}
    return np.asarray(program(**changes)(params, keys, {"label": jnp.asarray(labels)}, negative))


@pytest.mark.slow
def test_ddim_adds_no_noise_of_its_own_whatever_the_variance(params):
    large = sample(params, **{"sampler.eta": 0.0, "model.variance": "fixed_large"})
    small = sample(params, **{"sampler.eta": 0.0, "model.variance": "fixed_small"})
    np.testing.assert_array_equal(large, small)
    assert (
        sample(params, **{"model.variance": "fixed_large"}) != sample(params, **{"model.variance": "fixed_small"})
    ).any()


def test_samples_depend_on_their_label_and_on_guidance(params):
    ours = sample(params)
    other = sample(params, labels=(1, 7, 3))
    np.testing.assert_array_equal(ours[[0, 2]], other[[0, 2]])
    assert (ours[1] != other[1]).any()
    assert (sample(params, **{"sampler.guidance": 4.0}) != ours).any()


def test_guidance_leads_away_from_nothing_said_or_from_what_is_said_not_to_be(params):
    guided = {"sampler.guidance": 4.0}
    away_from_null = sample(params, **guided)
    np.testing.assert_array_equal(sample(params, negative=(10, 10, 10), **guided), away_from_null)
    assert (sample(params, negative=(7, 7, 7), **guided) != away_from_null).any((1, 2, 3)).all()
    # Away from itself there is no way to go, whatever the weight.
    assert (sample(params, negative=(1, 2, 3), **guided) != sample(params)).mean() < 0.02


@pytest.mark.slow
def test_the_label_is_dropped_as_often_as_asked(params):
    """With the label always dropped the loss cannot depend on it; with it never dropped it must."""
    keys = random.per_example(jax.random.key(2), jnp.arange(4))
    t = jnp.full(4, 0.5)
    batch = {"image": jnp.zeros((4, 8, 8, 1), jnp.uint8), "row": jnp.arange(4)}

    def losses(drop):
        """Of two labels."""
        one = experiment(**{"objective.condition_drop": drop}).model
        run = jax.jit(lambda batch: one.loss(params, {}, keys, keys, batch, t, t - 0.001, jnp.ones(4))[0])
        return [np.asarray(run({**batch, "condition": {"label": jnp.full(4, label)}})) for label in (1, 2)]

    np.testing.assert_array_equal(*losses(0.999999))
    assert np.not_equal(*losses(0.0)).all()


def test_no_two_purposes_share_a_key():
    keys = {
        tuple(jax.random.key_data(random.purpose_key(seed, purpose)).tolist())
        for seed in range(4)
        for purpose in range(5)
    }
    assert len(keys) == 20


@pytest.mark.slow
def test_between_entries_the_model_is_the_same_one_at_the_entries(params):
    """Wherever both can go: whatever is told of the time, and how the input is scaled."""
    for told in ({}, {"model.time": "log_snr", "model.input": "unit"}):
        changes = {"process.schedule": "ddpm_cosine", "process.steps": 10, "model.prediction": "x0", **told}
        changes |= {"sampler.times": (1.0, 0.7, 0.4, 0.1, 0.0), "sampler.eta": 0.0}
        at = sample(params, **changes).astype(int)
        between = sample(params, **changes, **{"sampler.between": True}).astype(int)
        np.testing.assert_allclose(between, at, atol=1)  # levels, of which few lie at an edge
        assert np.mean(between == at) > 0.99
    changes = {**changes, "sampler.times": (1.0, 0.74, 0.36, 0.14, 0.0)}  # not to be moved to an entry
    assert (sample(params, **changes, **{"sampler.between": True}) != sample(params, **changes)).any()


def test_a_first_level_below_the_last_is_where_noise_begins():
    """With sigma/alpha = 1, x_t is noise of the deviation sigma = sqrt(1/2)."""
    one = experiment(**{"sampler.sigmas": (1.0, 0.0), "sampler.between": True, "model.prediction": "x0"})
    process, grid = one.sampling.process, one.sampling.grid
    assert len(grid) == 2 and 0 < grid[0] < 1
    start = one.sampling.start(process, random.per_example(jax.random.key(0), jnp.arange(200)), (200, 8, 8, 1))
    np.testing.assert_allclose(np.asarray(start).std(), np.sqrt(0.5), rtol=0.02)
    from_one = experiment().sampling
    begun = from_one.start(process, random.per_example(jax.random.key(0), jnp.arange(200)), (200, 8, 8, 1))
    np.testing.assert_allclose(np.asarray(begun).std(), 1, rtol=0.02)
