"""The promises that every network makes to the rest of the package."""

import sys
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import models
from ddpm_jax.conditions import labels
from ddpm_jax.errors import UserError

UNETS = ("unet", "ddpmpp", "ncsnpp")
NAMES = (*UNETS, "dit", "transformer", "causal_transformer", "pixelcnn")
DEAR = ("ncsnpp", "ddpmpp")  # to compile
every_network = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in DEAR else name for name in NAMES]
)
LABELS = jnp.arange(4)
CONDITION = {"label": LABELS}


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        *((name, shape, {}) for name in UNETS for shape in ((8, 2), (4, 4, 2, 1))),
        ("unet", (4, 8, 3), {}),
        ("dit", (9, 2), {"patch": 3}),
        ("dit", (4, 8, 3), {"patch": 2}),
        ("dit", (4, 2, 6, 1), {"patch": 2}),
        ("dit", (3, 5, 1), {"patch": 1}),
        *((name, shape, {}) for name in ("transformer", "causal_transformer") for shape in ((9, 2), (4, 2, 3, 1))),
        ("pixelcnn", (2, 6, 3), {}),
    ],
)
def test_any_number_of_spatial_axes(make_small, filled, inputs, name, shape, options):
    network = make_small(name, shape, 5, **options)
    output = jax.jit(network.apply)(filled(network), *inputs(name, 2, shape))
    assert output.shape == (2, *shape[:-1], 5)
    assert output.dtype == jnp.float32
    assert 0.05 < output.std() < 50


@every_network
def test_labels(labelled, inputs, name):
    _, params, apply, _ = labelled(name)
    x, time = (jnp.repeat(value[-1:], 4, axis=0) for value in inputs(name, 2, (4, 4, 1)))
    each = apply(params, x, time, CONDITION)
    differences = np.abs(each[:, None] - each).max((2, 3, 4)) + 10 * np.eye(4)
    assert differences.min() > 0.01
    null = apply(params, x, time, {"label": jnp.full(4, 3)})
    np.testing.assert_allclose(null, each[3:].repeat(4, axis=0), atol=1e-5)
    np.testing.assert_allclose(apply(params, x[:1], time[:1], None), null[:1], atol=1e-5)  # whatever the batch
    for unknown in (-1, 4) if name in ("ddpmpp", "ncsnpp") else (4,):  # no such label: never in silence
        assert np.isnan(apply(params, x, time, {"label": jnp.full(4, unknown)})).all()


@pytest.mark.slow
@every_network
def test_evaluation_is_deterministic_and_training_follows_its_keys(labelled, inputs, name):
    _, params, apply, train = labelled(name)
    (x, time), keys = inputs(name, 4, (4, 4, 1)), jax.random.split(jax.random.key(1), 4)
    plain = apply(params, x, time, CONDITION)
    np.testing.assert_array_equal(plain, apply(params, x, time, CONDITION))
    (_, training), (_, again), (_, other) = (train(params, x, time, CONDITION, k) for k in (keys, keys, keys[::-1]))
    np.testing.assert_array_equal(training, again)
    assert (np.abs(training - plain).max((1, 2, 3)) > 0.05).all()
    assert (np.abs(training - other).max((1, 2, 3)) > 0.05).all()


@pytest.mark.slow
@every_network
def test_a_row_does_not_depend_on_its_batch(labelled, inputs, name):
    """In evaluation a batch of one is asked for in `test_labels` as well."""
    _, params, apply, train = labelled(name)
    (x, time), keys = inputs(name, 4, (4, 4, 1)), jax.random.split(jax.random.key(2), 4)
    (_, whole), plain = train(params, x, time, CONDITION, keys), apply(params, x, time, CONDITION)
    i = np.array([2, 1, 3, 0])
    np.testing.assert_allclose(train(params, x[i], time[i], {"label": LABELS[i]}, keys[i])[1], whole[i], atol=2e-5)
    np.testing.assert_allclose(apply(params, x[i], time[i], {"label": LABELS[i]}), plain[i], atol=2e-5)
    i = np.array([3])
    np.testing.assert_allclose(apply(params, x[i], time[i], {"label": LABELS[i]}, keys[i]), whole[i], atol=2e-5)
    np.testing.assert_allclose(apply(params, x[i], time[i], None), plain[i], atol=2e-5)  # the last label is "unknown"


def compare(gradient, other):
    """Whether the gradients are finite, reach every parameter, and are equal."""
    for (path, leaf), same in zip(jax.tree.leaves_with_path(gradient), jax.tree.leaves(other), strict=True):
        assert np.isfinite(leaf).all()
        if jax.tree_util.keystr(path).endswith("['key']['bias']"):
            # A softmax does not change when a constant is added to its logits, so the key's bias has no effect.
            assert max(np.abs(leaf).max(), np.abs(same).max()) < 1e-7
        else:
            assert np.abs(leaf).max() > 1e-6, path
            np.testing.assert_allclose(same, leaf, rtol=0, atol=5e-5 * np.abs(leaf).max())


@every_network
def test_gradient_reaches_every_parameter(labelled, inputs, name):
    _, params, _, train = labelled(name)
    (x, time), keys = inputs(name, 4, (4, 4, 1)), jax.random.split(jax.random.key(3), 4)
    gradient, _ = train(params, x, time, CONDITION, keys)
    compare(gradient, gradient)


@pytest.mark.parametrize(
    "name", [*(pytest.param(name, marks=pytest.mark.slow) for name in UNETS), *NAMES[len(UNETS) :]]
)
def test_remat_keeps_outputs_and_gradients(labelled, inputs, name):
    (network, params, _, train), (again, _, _, train_again) = labelled(name), labelled(name, remat=True)
    assert jax.eval_shape(again.init, jax.random.key(0)) == jax.eval_shape(network.init, jax.random.key(0))
    (x, time), keys = inputs(name, 4, (4, 4, 1)), jax.random.split(jax.random.key(3), 4)
    program = train_again.trace(params, x, time, CONDITION, keys)
    assert "remat" in str(program.jaxpr)
    gradient, output = train(params, x, time, CONDITION, keys)
    same_gradient, same = program.lower().compile()(params, x, time, CONDITION, keys)
    np.testing.assert_allclose(same, output, rtol=0, atol=1e-5)
    compare(gradient, same_gradient)


@every_network
def test_bfloat16_computes_near_float32(labelled, inputs, name):
    (_, params, apply, _), (half, _, half_apply, _) = labelled(name), labelled(name, dtype="bfloat16")
    shapes = jax.eval_shape(half.init, jax.random.key(0))
    assert jax.tree.map(lambda leaf: leaf.dtype, shapes) == jax.tree.map(lambda leaf: leaf.dtype, params)
    x, time = inputs(name, 4, (4, 4, 1))
    output, exact = half_apply(params, x, time, CONDITION), apply(params, x, time, CONDITION)
    assert output.dtype == jnp.float32
    error = np.linalg.norm(output - exact) / np.linalg.norm(exact)
    assert 1e-5 < error < 0.1


@every_network
def test_wrong_calls_raise(make_small, filled, inputs, name):
    network = make_small(name, (4, 4, 1), 1)
    params, (x, time) = filled(network), inputs(name, 2, (4, 4, 1))
    with pytest.raises(ValueError, match="told nothing"):
        network.apply(params, x, time, {"label": jnp.array([0, 1])})
    with pytest.raises(ValueError, match="shape"):
        network.apply(params, x[:, :2], time)


class Scale(nn.Module):
    """A network of one's own."""

    out_channels: int
    slope: float

    @nn.compact
    def __call__(self, x, time, condition, dropout_keys):
        return nn.Dense(self.out_channels)(self.slope * x) + (dropout_keys is not None)


def test_a_network_bound_to_its_parameters_is_the_network_in_one_mode():
    network = models.Network(Scale(2, 1.5), (4, 4, 1), labels(3))
    params, x, time = network.init(jax.random.key(0)), jnp.ones((2, 4, 4, 1)), jnp.zeros(2)
    evaluated = network.apply(params, x, time, {"label": jnp.array([0, 2])})
    np.testing.assert_array_equal(network.bind(params)(x, time, {"label": jnp.array([0, 2])}), evaluated)
    trained = network.bind(params, jax.random.split(jax.random.key(1), 2))(x, time, None)
    np.testing.assert_allclose(trained, evaluated + 1, rtol=1e-6)


def test_a_network_of_ones_own_is_a_dotted_path(monkeypatch):
    mine = SimpleNamespace(scale=lambda out_channels, slope=2.0: Scale(out_channels, slope), none=lambda: "nothing")
    monkeypatch.setitem(sys.modules, "mine", mine)
    assert models.options("mine:scale") == {"slope": 2.0}
    models.check("mine:scale", (4, 4, 1))
    network = models.make("mine:scale", (4, 4, 1), 3, slope=0.0)
    assert (list(network.conditions), network.causal) == ([], False)
    params = network.init(jax.random.key(0))
    np.testing.assert_array_equal(network.bind(params)(jnp.ones((2, 4, 4, 1)), jnp.zeros(2)), np.zeros((2, 4, 4, 3)))
    label = models.Conditioning(labels(3))
    for name, told, options, words in (
        ("mine:scale", label, {}, "takes none"),
        ("mine:scale", None, {"steep": 1.0}, "cannot be made"),
        ("mine:none", None, {}, "neither"),
        ("mine:other", None, {}, "not found"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            models.check(name, (4, 4, 1), told, **options)
        assert "\n" not in str(caught.value)
