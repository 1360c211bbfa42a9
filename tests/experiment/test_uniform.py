"""An experiment with uniform corruption from its config: what is drawn, what the bound is, and what is refused."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ddpm_jax as dj
from ddpm_jax import keys as random
from ddpm_jax.conditions import labels
from ddpm_jax.config.base import digits
from ddpm_jax.config.families import uniform
from ddpm_jax.data import Description
from ddpm_jax.experiment import check, check_data, make
from ddpm_jax.oracles import JointTable
from tests.config.examples import about, refused, told

DIGITS = Description("digits", "1.0.0", (8, 8, 1), 17, labels(10))
TINY = Description("tiny", "1.0.0", (2, 2, 1), 3)
LEVELS = np.indices((3,) * 4).reshape(4, -1).T.reshape(-1, 2, 2, 1).astype(np.uint8)
ALIKE = 0.9 * (LEVELS.reshape(81, 1, 4) == np.arange(3)[:, None]) + 0.1 / 3
P = ALIKE.prod(axis=-1).mean(axis=-1)  # one level for all, of which each value takes another now and then


def changed(changes):
    config = digits()
    config.model.channels = 16
    uniform(config)
    config.update_from_flattened_dict(changes)
    return config


def tiny(**changes):
    config = changed({"sampler.steps": 4, "evaluation.likelihood_groups": 8, **changes})
    config.model.name, config.model.channels, config.model.depth, config.model.heads = "transformer", 16, 1, 2
    config.model.dropout, config.evaluation.at_end = 0.0, False
    check(config)
    check_data(config, TINY)
    return make(config, TINY)


def rows(images):
    return {"image": jnp.asarray(images), "condition": {}, "row": jnp.arange(len(images), dtype=jnp.int32)}


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"process.steps": 16, "process.schedule": "linear"}], ids=["time", "steps"])
def test_samples_are_levels_and_belong_to_their_keys(changes):
    experiment = tiny(**changes)
    params, keys = (
        jax.jit(experiment.model.init)(jax.random.key(0)),
        random.per_example(jax.random.key(2), jnp.arange(5)),
    )
    draw = jax.jit(partial(experiment.sampling.draw, experiment.model, frames=(0, 3)))
    images, (shown, means), evaluations = draw(params, keys, {})
    assert images.shape == (5, 2, 2, 1) and int(images.max()) <= 2 and set(np.asarray(evaluations)) == {4}
    np.testing.assert_array_equal(draw(params, keys[3:4], {})[0][0], images[3])
    assert set(np.unique(shown)) <= {-1.0, 0.0, 1.0} and np.abs(means).max() < 1
    assert experiment.facts["network_evaluations"] == 8 and experiment.model.estimator.kind == "bound"


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"process.schedule": "linear"}, {"process.steps": 16}], ids=["time", "steps"])
def test_a_short_training_comes_near_the_entropy_and_not_below(changes):
    experiment, table = (
        tiny(**{"evaluation.likelihood_groups": 100, **changes}),
        JointTable(P.reshape(3, 3, 3, 3), TINY.values),
    )
    model, optimizer = experiment.model, optax.adam(1e-2)
    params = jax.jit(model.init)(jax.random.key(0))

    @jax.jit
    def train(params, key):
        def step(carry, key):
            params, state = carry
            key_row, key_times, key_noise = jax.random.split(key, 3)
            batch = rows(jnp.asarray(LEVELS)[jax.random.choice(key_row, 81, (256,), p=jnp.asarray(P))])
            t, s, weight = model.times.draw(key_times, 256, model.times.start())
            keys = random.per_example(key_noise, batch["row"])

            def loss(params):
                return model.loss(params, {}, keys, None, batch, t, s, weight)[0].mean()

            updates, state = optimizer.update(jax.grad(loss)(params), state)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(key, 300))[0][0]

    images = rows(np.tile(LEVELS, (40, 1, 1, 1)))
    nats = np.asarray(jax.jit(model.likelihood)(train(params, jax.random.key(1)), images).total).reshape(40, 81) @ P
    mean, error = nats.mean(), nats.std() / 40**0.5
    apart = 4 * np.log(3)  # of values taken by themselves
    assert error < 0.15 and table.entropy - 4 * error < mean < table.entropy + 0.3 * (apart - table.entropy)


@pytest.mark.slow
def test_a_model_made_in_python_takes_the_same_parts():
    network = dj.models.make("dit", (2, 2, 1), 3, channels=8, depth=1, heads=1, patch=1)
    loss, times = dj.objectives.losses.Bits(), dj.objectives.times.Stratified()
    process, said = dj.Uniform(dj.schedules.keeping.linear, TINY.values), dj.UniformPrediction()
    estimator = dj.default_estimator(process, said, times, groups=5)
    model = dj.Model(TINY, process, network, said, loss, times, estimator=estimator)
    assert not [*model.refusals()] and estimator.continuous and estimator.evaluations == 5
    images = dj.Sampling.default(model, 3).draw(
        model, model.init(jax.random.key(0)), jax.random.split(jax.random.key(1)), {}
    )
    assert images[0].shape == (2, 2, 2, 1)
    other = dj.Uniform(dj.schedules.keeping.linear, np.linspace(-1, 1, 5))
    assert "5 levels" in next(dj.Model(TINY, other, network, said, loss, times).refusals())


def test_the_family_is_possible():
    for changes in ({}, {"process.steps": 100}, {"sampler.temperature": 0.9, "sampler.top_k": 5}):
        check(changed(changes))
        check_data(changed(changes), DIGITS)


@pytest.mark.parametrize(
    ("changes", "key", "reason"),
    [
        ({"process.schedule": "vp"}, "process.schedule", "is of noise"),
        ({"process.t_min": 1e-7}, "process.t_min", "float32"),
        ({"process.steps": 8, "process.t_min": 0.1}, "process.t_min", "1/T"),
        ({"process.order": "random"}, "process.order", "of an ordered process"),
        ({"process.beta_max": 2.0}, "process.beta_max", "of noise"),
        ({"model.name": "causal_transformer"}, "model.name", "causal"),
        ({"model.name": "half_unet"}, "model.name", "is of noise"),
        ({"model.name": "ncsnpp"}, "model.time", "too fast for thousand"),
        ({"model.prediction": "logistics"}, "model.prediction", "is of an ordered process"),
        ({"model.prediction": "epsilon"}, "model.prediction", "use categorical"),
        ({"model.time": "hidden"}, "model.time", "is of an ordered process"),
        ({"model.time": "index"}, "model.time", "is of noise"),
        ({"objective.name": "simple"}, "objective.name", "is of noise"),
        ({"objective.name": "hidden"}, "objective.name", "is of an ordered process"),
        ({"objective.times": "clean"}, "objective.times", "is of an ordered process"),
        ({"sampler.eta": 0.5}, "sampler.eta", "set it to 1"),
        ({"sampler.steps": 0}, "sampler.steps", "use 100"),
        ({"process.steps": 8, "sampler.steps": 9}, "sampler.steps", "finer than the 8"),
        ({"sampler.name": "heun", "sampler.eta": 0.0}, "sampler.name", "use first_order"),
        ({"sampler.clip": True}, "sampler.clip", "of noise"),
        ({"sampler.remask_cap": 0.5}, "sampler.remask_cap", "of an ordered process"),
        ({"sampler.nucleus": 1.5}, "sampler.nucleus", "not in (0, 1]"),
        ({"evaluation.likelihood_groups": 1}, "evaluation.likelihood_groups", "stratum"),
        ({"evaluation.exact_images": 5}, "evaluation.exact_images", "of an ordered process"),
        ({"evaluation.ode_images": 5}, "evaluation.ode_images", "of noise"),
    ],
)
def test_impossible_combinations(changes, key, reason):
    lines = told(check, changed(changes))
    assert reason in about(key, lines) and about(key, lines), lines


def test_real_values_are_refused():
    assert refused(check_data, changed({}), Description("real", "1", (8, 8, 1), None)).startswith("config.data.name: ")
