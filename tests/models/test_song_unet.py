"""DDPM++ and NCSN++: equal to the published networks, and the promises made to the rest of the package."""

import dataclasses
import importlib.util
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import models
from ddpm_jax.errors import UserError

_spec = importlib.util.spec_from_file_location(
    "make_song_unet_fixture", Path(__file__).parent / "make_song_unet_fixture.py"
)
assert _spec and _spec.loader
peer = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(peer)

NAMES = ("ddpmpp", "ncsnpp")
SMALL = {"channels": 8, "multipliers": (1, 2), "blocks": 1, "attention_resolutions": ()}


def filled(network: models.Network, seed: int = 0):
    """Parameters of scale 1 or so everywhere, unlike fresh ones, so that nothing is hidden by a zero."""
    random = np.random.RandomState(seed)

    def draw(shape):
        fan_in = np.prod(shape.shape[:-1]) if len(shape.shape) > 1 else 1
        return jnp.asarray(random.randn(*shape.shape) / np.sqrt(fan_in), jnp.float32)

    return jax.tree.map(draw, jax.eval_shape(network.init, jax.random.key(0)))


def inputs(batch: int, shape: tuple[int, ...], seed: int = 0):
    x = np.random.RandomState(seed).randn(batch, *shape).astype(np.float32)
    return jnp.asarray(x), jnp.linspace(-1.0, 1.0, batch)


# Equality with the published networks

PARTS = {
    "norm_1": "norm0",
    "conv_1": "conv0",
    "embedding": "affine",
    "norm_2": "norm1",
    "conv_2": "conv1",
    "shortcut": "skip",
    "attention_norm": "norm2",
    "query_key_value": "qkv",
    "projection": "proj",
}
ENDS = {
    "labels": "map_label",
    "time_1": "map_layer0",
    "time_2": "map_layer1",
    "first": "enc.16x16_conv",
    "last_norm": "dec.16x16_aux_norm",
    "last": "dec.16x16_aux_conv",
}


def torch_name(path: tuple[str, ...]) -> str:
    """The published name of the parameter at `path` in our tree."""
    *blocks, kind = path
    kind = "bias" if kind == "bias" else "weight"
    if blocks[0] in ENDS:
        return f"{ENDS[blocks[0]]}.{kind}"
    side, *rest = blocks[0].split("_")
    level = len(peer.MULTIPLIERS) - 1 if side == "middle" else int(rest[0])
    what = {"half": "down", "input": "aux_residual", "twice": "up"}.get(rest[-1])
    what = what or ("in" if side == "middle" else "block") + rest[-1]
    size = peer.SIZE >> level
    part = "" if blocks[1] == "conv" else f".{PARTS[blocks[1]]}"
    return f"{'enc' if side == 'down' else 'dec'}.{size}x{size}_{what}{part}.{kind}"


def from_torch(path, shape) -> jax.Array:
    """The fixture's weight for our parameter: (out, in, *window) becomes (*window, in, out)."""
    names, size = tuple(part.key for part in path), shape.shape
    name = torch_name(names)
    if names[-1] == "kernel":
        size = (*size[:-3:-1], *size[:-2])
        if re.search("skip|qkv|proj", name):
            size = (*size, 1, 1)  # a 1x1 convolution there, a dense layer here
    value = peer.weight(name, size)
    if "qkv" in name:  # query, key and value of a channel stand together there, those of all channels here
        value = value.reshape(-1, 3, *value.shape[1:]).swapaxes(0, 1).reshape(value.shape)
    if names[-1] == "kernel":
        value = np.moveaxis(value, (0, 1), (-1, -2))
    return jnp.asarray(value.reshape(shape.shape))


@pytest.mark.parametrize("name", NAMES)
def test_equals_the_published_network(name):
    network = models.make(
        name,
        (peer.SIZE, peer.SIZE, 3),
        out_channels=3,
        labels=peer.LABELS,
        channels=peer.CHANNELS,
        multipliers=peer.MULTIPLIERS,
        blocks=peer.BLOCKS,
        attention_resolutions=peer.ATTENTION,
    )
    if name == "ncsnpp":
        frequencies = tuple(map(float, peer.FREQUENCIES))
        network = dataclasses.replace(network, module=network.module.clone(frequencies=frequencies))
    params = jax.tree.map_with_path(from_torch, jax.eval_shape(network.init, jax.random.key(0)))
    output = jax.jit(network.apply)(
        params, jnp.asarray(peer.images()), jnp.array(peer.TIMES[name]), jnp.array(peer.CONDITION)
    )
    kept = np.load(peer.FIXTURE)
    assert models.parameter_count(params) == kept[f"{name}_count"]
    assert 0.3 < kept[name].std() < 3
    np.testing.assert_allclose(output, kept[name], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("name", "count"), [("ddpmpp", 55_732_739), ("ncsnpp", 56_395_523)])
def test_the_defaults_are_the_published_cifar10_networks(name, count):
    network = models.make(name, (32, 32, 3), out_channels=3)
    assert models.parameter_count(jax.eval_shape(network.init, jax.random.key(0))) == count


# Promises


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(8, 2), (4, 4, 2, 1)])
def test_any_number_of_spatial_axes(name, shape):
    network = models.make(name, shape, out_channels=5, **SMALL)
    x, time = inputs(2, shape)
    output = jax.jit(network.apply)(filled(network), x, time)
    assert output.shape == (2, *shape[:-1], 5)
    assert output.dtype == jnp.float32
    assert 0.05 < output.std() < 50


def test_spatial_axes_are_alike():
    """Exchanging two axes of an image, and of every window, exchanges them in the output."""
    network = models.make("ncsnpp", (4, 8, 1), out_channels=1, **{**SMALL, "attention_resolutions": (4,)})
    other = models.make("ncsnpp", (8, 4, 1), out_channels=1, **{**SMALL, "attention_resolutions": (8,)})
    params, (x, time) = filled(network), inputs(2, (4, 8, 1))
    turned = jax.tree.map(lambda leaf: leaf.swapaxes(0, 1) if leaf.ndim == 4 else leaf, params)
    output = jax.jit(network.apply)(params, x, time)
    again = jax.jit(other.apply)(turned, x.swapaxes(1, 2), time).swapaxes(1, 2)
    np.testing.assert_allclose(again, output, atol=1e-4)


@pytest.fixture(scope="module")
def small():
    """A small NCSN++ with 3 labels and attention, its parameters, and its compiled `apply`."""
    options = {**SMALL, "attention_resolutions": (4,), "dropout": 0.3}
    network = models.make("ncsnpp", (4, 4, 1), out_channels=2, labels=3, **options)
    return network, filled(network), jax.jit(network.apply)


def test_labels(small):
    _, params, apply = small
    x, time = (jnp.repeat(value[-1:], 4, axis=0) for value in inputs(2, (4, 4, 1)))
    each = apply(params, x, time, jnp.arange(4))
    differences = np.abs(each[:, None] - each).max((2, 3, 4)) + 10 * np.eye(4)
    assert differences.min() > 0.01
    np.testing.assert_allclose(apply(params, x, time, None), jnp.repeat(each[3:], 4, axis=0), atol=1e-5)
    for unknown in (-1, 4):  # no such label: never in silence
        assert np.isnan(apply(params, x, time, jnp.full(4, unknown))).all()


def test_dropout_belongs_to_the_example(small):
    _, params, apply = small
    x, time = inputs(4, (4, 4, 1))
    condition, keys = jnp.arange(4), jax.random.split(jax.random.key(1), 4)
    plain, training = apply(params, x, time, condition), apply(params, x, time, condition, keys)
    other = apply(params, x, time, condition, keys[::-1])
    assert (np.abs(training - plain).max((1, 2, 3)) > 0.02).all()
    assert (np.abs(training - other).max((1, 2, 3)) > 0.02).all()
    np.testing.assert_array_equal(training, apply(params, x, time, condition, keys))
    for rows in ([3], [2, 1, 3, 0]):
        i = np.array(rows)
        part = apply(params, x[i], time[i], condition[i], keys[i])
        np.testing.assert_allclose(part, training[i], atol=2e-5)


def test_rematerialisation_changes_no_number(small):
    network, params, _ = small
    again = dataclasses.replace(network, module=network.module.clone(remat=True))
    assert jax.tree.structure(jax.eval_shape(again.init, jax.random.key(0))) == jax.tree.structure(params)
    x, time = inputs(2, (4, 4, 1))
    keys = jax.random.split(jax.random.key(3), 2)

    def loss(params, network):
        output = network.apply(params, x, time, jnp.arange(2), keys)
        return (output**2).mean(), output

    run = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
    plain, other = run(params, network), run(params, again)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5, rtol=1e-4), plain, other)
    for path, leaf in jax.tree.leaves_with_path(plain[0]):
        assert np.abs(leaf).max() > 1e-6, path  # the gradient reaches every parameter
    jaxpr = str(jax.make_jaxpr(lambda p: loss(p, again)[0])(params))
    assert "remat" in jaxpr or "checkpoint" in jaxpr


def test_fresh_network_answers_nearly_zero_and_is_float32():
    network = models.make("ncsnpp", (4, 1), 1, labels=2, **{**SMALL, "attention_resolutions": (4,)})
    params = network.init(jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    x, time = inputs(2, (4, 1))
    assert 0 < np.abs(jax.jit(network.apply)(params, x, time)).max() < 1e-3
    block = params["middle_0"]
    bound = {name: np.abs(block[name]["kernel"]).max() for name in ("conv_1", "conv_2", "query_key_value")}
    # Uniform in +-sqrt(6 / (fan in + fan out)), where a window of 3 counts; the published factors: 1, 1e-5, sqrt 0.2.
    assert bound["conv_1"] == pytest.approx(np.sqrt(6 / (3 * 16 + 3 * 16)), rel=0.02)
    assert bound["conv_2"] == pytest.approx(1e-5 * np.sqrt(6 / (3 * 16 + 3 * 16)), rel=0.02)
    assert bound["query_key_value"] == pytest.approx(np.sqrt(0.2 * 6 / (16 + 48)), rel=0.02)


def test_frequencies_are_fixed_and_no_parameters():
    network = models.make("ncsnpp", (4, 1), 1, **SMALL)
    params, (x, _) = filled(network), inputs(2, (4, 1))
    plain = models.make("ddpmpp", (4, 1), 1, **SMALL)
    same = jax.eval_shape(plain.init, jax.random.key(0))
    assert set(params) - set(same) == {"down_1_input"}
    # One frequency f for every channel, 1/4: times apart by 4 are the same to the network, others are not.
    quarter = dataclasses.replace(network, module=network.module.clone(frequencies=(0.25,) * 8))
    apply = jax.jit(quarter.apply)
    outputs = [apply(params, x, jnp.full(2, t)) for t in (0.5, 4.5, 1.5)]
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-4)
    assert np.abs(outputs[0] - outputs[2]).max() > 0.02


def test_bfloat16_computes_near_float32(small):
    network, params, apply = small
    half = dataclasses.replace(network, module=network.module.clone(dtype="bfloat16"))
    shapes = jax.eval_shape(half.init, jax.random.key(0))
    assert jax.tree.map(lambda leaf: leaf.dtype, shapes) == jax.tree.map(lambda leaf: leaf.dtype, params)
    (x, time), condition = inputs(4, (4, 4, 1)), jnp.arange(4)
    output, exact = jax.jit(half.apply)(params, x, time, condition), apply(params, x, time, condition)
    assert output.dtype == jnp.float32
    error = np.linalg.norm(output - exact) / np.linalg.norm(exact)
    assert 1e-5 < error < 0.1


def test_bfloat16_is_the_type_of_activations(small):
    network, params, _ = small
    module, (x, time) = network.module.clone(dtype="bfloat16"), inputs(1, (4, 4, 1))

    def activations(params):
        return module.apply({"params": params}, x, time, jnp.arange(1), None, capture_intermediates=True)[1]

    found = jax.eval_shape(activations, params)["intermediates"]
    last = ("last", "last_norm", "time_1", "time_2", "labels", "__call__")
    types = {path[0].key: leaf.dtype for path, leaf in jax.tree.leaves_with_path(found)}
    assert {types.pop(name) for name in last} == {jnp.dtype("float32")}
    assert set(types.values()) == {jnp.dtype("bfloat16")}


# Mistakes


@pytest.mark.parametrize(
    ("shape", "options", "line"),
    [
        ((28, 28, 1), {"multipliers": (1, 2, 2, 2)},
         "multipliers: an image of 28x28 can be halved 2 times, not 3; use at most 3 multipliers"),
        ((32, 32, 3), {"multipliers": ()}, "multipliers: there must be at least one"),
        ((32, 32, 3), {"multipliers": (1, 0)}, "multipliers: (1, 0) has one below 1"),
        ((32, 32, 3), {"multipliers": [1, 2]}, "multipliers: [1, 2] is not a tuple"),
        ((32, 32, 3), {"channels": 2}, "channels: 2 is not an even number"),
        ((32, 32, 3), {"channels": 33}, "channels: 33 is not an even number"),
        ((32, 32, 3), {"blocks": 0}, "blocks: 0"),
        ((32, 32, 3), {"dropout": 1.0}, "dropout: 1.0 is not a probability in [0, 1)"),
        ((32, 32, 3), {"attention_resolutions": (15,)},
         "attention_resolutions: size 15 does not occur; choose from 32, 16, 8"),
        ((32, 32, 3), {"dtype": "bfloat"}, "dtype: 'bfloat' is unknown; did you mean 'bfloat16'?"),
        ((32, 32, 3), {"remat": 1}, "remat: 1 is not True or False"),
        ((32, 32, 3), {"chanels": 64}, "chanels: NCSN++ has no such option; did you mean 'channels'?"),
        ((32, 32, 3), {"taps": (1, 1)}, "taps: NCSN++ has no such option"),
    ],
)  # fmt: skip
def test_a_mistake_names_what_to_change(shape, options, line):
    with pytest.raises(UserError) as caught:
        models.make("ncsnpp", shape, 1, **options)
    text = str(caught.value)
    assert text.startswith(f"config.model.{line}")
    assert "\n" not in text


@pytest.mark.parametrize("name", NAMES)
def test_right_options_pass(name):
    models.check(name, (32, 32, 3), **models.options(name))
    models.check(name, (28, 28, 1), labels=10, multipliers=(1, 2, 2), attention_resolutions=(14, 7), dropout=0)
