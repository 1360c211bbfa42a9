"""An ordered experiment from its config: likelihoods add up, images are drawn, and the film shows what is hidden."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import keys as random
from ddpm_jax.config.base import digits
from ddpm_jax.config.families import FAMILIES
from ddpm_jax.data import Description
from ddpm_jax.experiment import check, check_data, make

TINY = Description("tiny", "1.0.0", (2, 2, 1), 3)
IMAGES = np.stack(np.meshgrid(*[np.arange(3)] * 4, indexing="ij"), -1).reshape(-1, 2, 2, 1).astype(np.uint8)


def of(family, **changes):
    config = digits()
    FAMILIES[family](config)
    config.process.chunk = 0 if family == "one_shot" else 2 if family in ("chunked", "spread") else 1
    config.model.channels = 8
    config.model.depth = 1
    config.model.heads = 2
    config.model.groups = 4
    config.model.blocks = 1
    config.model.multipliers = (1,)
    config.model.attention_resolutions = ()
    config.model.components = 2
    config.sampler.steps = 4 if family == "masked" else 0
    config.evaluation.likelihood_groups = 0
    config.evaluation.at_end = False
    config.update_from_flattened_dict(changes)
    check(config)
    check_data(config, TINY)
    return make(config, TINY)


def weights(experiment, seed=0):
    """Of a network that is not mute, as a fresh one is."""
    fresh, draw = jax.jit(experiment.model.init)(jax.random.key(seed)), np.random.default_rng(seed + 1)
    return jax.tree.map(lambda leaf: leaf + 0.3 * draw.normal(size=leaf.shape).astype(np.float32), fresh)


def sample(experiment, params, keys, frames=()):
    draw = partial(experiment.sampling.draw, experiment.model, frames=frames)
    return jax.jit(draw)(params, keys, {})


def nats_of(experiment, params, images):
    """-log p of images, or its bound."""
    return np.asarray(jax.jit(experiment.model.likelihood)(params, rows(images)).total, np.float64)


def rows(images):
    numbers = jnp.arange(len(images), dtype=jnp.int32)
    return {"image": jnp.asarray(images), "condition": {}, "row": numbers}


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("autoregressive", {}),
        ("autoregressive", {"process.order": "fixed", "process.order_seed": 3}),
        ("pixelcnn", {}),
        ("spread", {}),
        ("chunked", {}),
        ("random_order", {"process.order": "raster", "process.chunk": 3}),
    ],
)
def test_exact_likelihoods_sum_to_one_over_all_images(family, changes):
    experiment = of(family, **changes)
    assert experiment.model.estimator.kind == "exact"
    nats = nats_of(experiment, weights(experiment), IMAGES)
    assert np.exp(-nats).sum() == pytest.approx(1, abs=1e-4)
    assert nats.std() > 0.05


@pytest.mark.slow
def test_a_model_of_any_order_is_exact_in_one_and_a_bound_over_all():
    experiment = of("random_order", **{"evaluation.exact_images": 81})
    params = weights(experiment)
    assert experiment.model.estimator.kind == "bound"
    measure = experiment.measures["in_order"]
    nats, evaluations = jax.jit(partial(measure.estimator.nats, experiment.model))(params, rows(IMAGES))
    assert measure.kind == "exact" and set(np.asarray(evaluations)) == {4}
    assert float(np.exp(-np.asarray(nats, np.float64)).sum()) == pytest.approx(1, abs=1e-4)
    repeated = np.repeat(IMAGES[40:41], 4000, axis=0)
    bound = nats_of(experiment, params, repeated)
    fixed = (of("random_order", **{"process.order": "fixed", "process.order_seed": seed}) for seed in range(6))
    orders = [nats_of(one, params, IMAGES[40:41])[0] for one in fixed]
    # An average of -log p over orders, which lies within what single orders give and above the least of them.
    assert min(orders) < bound.mean() < max(orders) + 4 * bound.std() / 60


@pytest.mark.slow
@pytest.mark.parametrize("family", ["autoregressive", "pixelcnn", "spread", "random_order", "masked", "one_shot"])
def test_samples_are_levels_and_belong_to_their_keys(family):
    experiment = of(family)
    params = weights(experiment)
    keys = random.per_example(jax.random.key(2), jnp.arange(5))
    images, _, evaluations = sample(experiment, params, keys)
    assert images.shape == (5, 2, 2, 1) and int(images.max()) <= 2
    some, _, _ = sample(experiment, params, keys[3:4])
    np.testing.assert_array_equal(some[0], images[3])
    steps = {"spread": 2, "one_shot": 1}.get(family, 4)
    assert set(np.asarray(evaluations)) == {steps}


@pytest.mark.slow
def test_the_cached_sampler_draws_what_the_loop_draws():
    for family in ("autoregressive", "pixelcnn", "chunked"):
        experiment = of(family)
        params = weights(experiment)
        keys = random.per_example(jax.random.key(3), jnp.arange(64))
        cached, _, _ = sample(experiment, params, keys)
        plain, _, _ = sample(of(family, **{"sampler.name": "first_order"}), params, keys)
        np.testing.assert_array_equal(cached, plain)
        assert len(np.unique(np.asarray(cached).reshape(64, -1), axis=0)) > 10


@pytest.mark.slow
def test_a_cap_on_hiding_again_is_the_samplers():
    """The process of training has none; 0 is what eta = 0 draws, and 1 no cap."""
    keys, eta = random.per_example(jax.random.key(3), jnp.arange(200)), {"sampler.eta": 1.0, "sampler.steps": 8}
    experiments = {cap: of("masked", **eta, **{"sampler.remask_cap": cap}) for cap in (0.0, 0.2, 1.0)}
    params = weights(experiments[1.0])
    drawn = {cap: np.asarray(sample(one, params, keys)[0]) for cap, one in experiments.items()}
    plain = sample(of("masked", **{"sampler.steps": 8}), params, keys)[0]
    np.testing.assert_array_equal(drawn[0.0], plain)
    assert all((drawn[cap] != drawn[other]).any() for cap, other in ((0.0, 0.2), (0.2, 1.0)))
    assert all(one.model.process.order.remask_cap == 1 for one in experiments.values())
    assert experiments[0.2].sampling.process.keep is experiments[0.2].model.process.keep


def test_sampled_frequencies_are_the_likelihoods():
    experiment = of("autoregressive")
    params, count = weights(experiment), 8100
    keys = random.per_example(jax.random.key(4), jnp.arange(count))
    images, _, _ = sample(experiment, params, keys)
    numbers = np.asarray(images).reshape(count, 4).astype(int) @ np.array([27, 9, 3, 1])
    expected = count * np.exp(-nats_of(experiment, params, IMAGES))
    observed = np.bincount(numbers, minlength=81)
    enough = expected >= 5
    statistic = ((observed - expected)[enough] ** 2 / expected[enough]).sum()
    freedom = int(enough.sum())
    assert statistic < freedom + 4 * np.sqrt(2 * freedom)


def test_the_film_shows_hidden_sites_grey_and_the_mean_below():
    experiment = of("autoregressive")
    params, keys = weights(experiment), random.per_example(jax.random.key(5), jnp.arange(3))
    images, (shown, means), _ = sample(experiment, params, keys, frames=(0, 2))
    assert not np.asarray(shown[0]).any()
    x = np.asarray(TINY.encode(images)).reshape(3, 4)
    np.testing.assert_allclose(np.asarray(shown[1]).reshape(3, 4)[:, :2], x[:, :2])
    np.testing.assert_allclose(np.asarray(means[1]).reshape(3, 4)[:, :2], x[:, :2])
    hidden = np.asarray(means[1]).reshape(3, 4)[:, 2]
    assert (np.abs(hidden) < 1).all() and hidden.all()
    assert not np.asarray(means[1]).reshape(3, 4)[:, 3].any()  # a causal network does not know of it yet


def test_what_a_fixed_order_has_not_learned_is_not_shown():
    experiment = of("random_order", **{"process.order": "raster"})
    keys = random.per_example(jax.random.key(5), jnp.arange(2))
    _, (_, means), _ = sample(experiment, weights(experiment), keys, frames=(1,))
    flat = np.asarray(means[0]).reshape(2, 4)
    assert flat[:, 1].all() and not flat[:, 2:].any()


def test_the_exact_likelihood_in_one_order_takes_the_same_chunks():
    experiment = of("random_order", **{"process.chunk": 2, "evaluation.exact_images": 81})
    measure = experiment.measures["in_order"]
    nats, evaluations = jax.jit(partial(measure.estimator.nats, experiment.model))(weights(experiment), rows(IMAGES))
    assert measure.facts == {"order": "raster", "chunk": 2} and set(np.asarray(evaluations)) == {2}
    assert float(np.exp(-np.asarray(nats, np.float64)).sum()) == pytest.approx(1, abs=1e-4)


@pytest.mark.slow
def test_temperature_makes_samples_alike():
    def spread(**changes):
        experiment = of("autoregressive", **changes)
        keys = random.per_example(jax.random.key(6), jnp.arange(200))
        images, _, _ = sample(experiment, weights(experiment), keys)
        return len(np.unique(np.asarray(images).reshape(200, -1), axis=0))

    assert spread(**{"sampler.top_k": 1}) == 1
    assert spread(**{"sampler.temperature": 0.3}) < spread()
    assert spread(**{"sampler.nucleus": 0.3}) < spread()


@pytest.mark.slow
def test_a_point_has_no_likelihood_and_one_answer():
    experiment = of("one_shot")
    assert experiment.model.estimator is None
    keys = random.per_example(jax.random.key(7), jnp.arange(8))
    images, _, _ = sample(experiment, weights(experiment), keys)
    assert len(np.unique(np.asarray(images).reshape(8, -1), axis=0)) == 1


def test_more_steps_than_needed_are_refused_and_fewer_are_taken():
    experiment = of("random_order")
    np.testing.assert_allclose(experiment.sampling_in(2).grid, [1, 0.5, 0])
    np.testing.assert_allclose(experiment.sampling.grid, [1, 0.75, 0.5, 0.25, 0])
