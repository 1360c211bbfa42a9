"""DDPM++ and NCSN++: equal to the published networks, and what is their own among the networks."""

import dataclasses
import importlib.util
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import models
from ddpm_jax.conditions import labels
from ddpm_jax.models import Conditioning

_spec = importlib.util.spec_from_file_location("make_ncsnpp_fixture", Path(__file__).parent / "make_ncsnpp_fixture.py")
assert _spec and _spec.loader
peer = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(peer)

NAMES = ("ddpmpp", "ncsnpp")
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
    "conditioning": "map_label",
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
        conditioning=Conditioning(labels(peer.LABELS)),
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
        params, jnp.asarray(peer.images()), jnp.array(peer.TIMES[name]), {"label": jnp.array(peer.CONDITION)}
    )
    kept = np.load(peer.FIXTURE)
    assert models.parameter_count(params) == kept[f"{name}_count"]
    assert 0.3 < kept[name].std() < 3
    np.testing.assert_allclose(output, kept[name], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("name", "count"), [("ddpmpp", 55_732_739), ("ncsnpp", 56_395_523)])
def test_the_defaults_are_the_published_cifar10_networks(name, count):
    network = models.make(name, (32, 32, 3), out_channels=3)
    assert models.parameter_count(jax.eval_shape(network.init, jax.random.key(0))) == count


# Promises of their own


def test_spatial_axes_are_alike(make_small, filled, inputs):
    """Exchanging two axes of an image, and of every window, exchanges them in the output."""
    network = make_small("ncsnpp", (4, 4, 1), 1, attention_resolutions=(4,))
    params, (x, time), apply = filled(network), inputs("ncsnpp", 2, (4, 4, 1)), jax.jit(network.apply)
    turned = jax.tree.map(lambda leaf: leaf.swapaxes(0, 1) if leaf.ndim == 4 else leaf, params)
    output = apply(params, x, time)
    np.testing.assert_allclose(apply(turned, x.swapaxes(1, 2), time).swapaxes(1, 2), output, atol=1e-4)
    assert np.abs(output - output.swapaxes(1, 2)).max() > 0.1


@pytest.mark.slow
def test_fresh_network_answers_nearly_zero_and_is_float32(make_small, inputs):
    network = make_small("ncsnpp", (4, 1), 1, 2, attention_resolutions=(4,))
    params = jax.jit(network.init)(jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    x, time = inputs("ncsnpp", 2, (4, 1))
    assert 0 < np.abs(jax.jit(network.apply)(params, x, time)).max() < 1e-3
    block = params["middle_0"]
    bound = {name: np.abs(block[name]["kernel"]).max() for name in ("conv_1", "conv_2", "query_key_value")}
    # Uniform in +-sqrt(6 / (fan in + fan out)), where a window of 3 counts; the published factors: 1, 1e-5, sqrt 0.2.
    assert bound["conv_1"] == pytest.approx(np.sqrt(6 / (3 * 16 + 3 * 16)), rel=0.02)
    assert bound["conv_2"] == pytest.approx(1e-5 * np.sqrt(6 / (3 * 16 + 3 * 16)), rel=0.02)
    assert bound["query_key_value"] == pytest.approx(np.sqrt(0.2 * 6 / (16 + 48)), rel=0.02)


def test_frequencies_are_fixed_and_no_parameters(make_small, filled, inputs):
    network = make_small("ncsnpp", (4, 1), 1)
    params, (x, _) = filled(network), inputs("ncsnpp", 2, (4, 1))
    plain = make_small("ddpmpp", (4, 1), 1)
    same = jax.eval_shape(plain.init, jax.random.key(0))
    assert set(params) - set(same) == {"down_1_input"}
    # One frequency f for every channel, 1/4: times apart by 4 are the same to the network, others are not.
    quarter = dataclasses.replace(network, module=network.module.clone(frequencies=(0.25,) * 8))
    apply = jax.jit(quarter.apply)
    outputs = [apply(params, x, jnp.full(2, t)) for t in (0.5, 4.5, 1.5)]
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-4)
    assert np.abs(outputs[0] - outputs[2]).max() > 0.02


def test_bfloat16_is_the_type_of_activations(labelled, inputs):
    network, params, _, _ = labelled("ncsnpp")
    module, (x, time) = network.module.clone(dtype="bfloat16"), inputs("ncsnpp", 1, (4, 4, 1))

    def activations(params):
        return module.apply({"params": params}, x, time, {"label": jnp.arange(1)}, None, capture_intermediates=True)[1]

    found = jax.eval_shape(activations, params)["intermediates"]
    last = ("last", "last_norm", "time_1", "time_2", "conditioning", "__call__")
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
def test_a_mistake_names_what_to_change(refused, shape, options, line):
    refused("ncsnpp", shape, options, line)


@pytest.mark.parametrize("name", NAMES)
def test_right_options_pass(name):
    models.check(name, (32, 32, 3), **models.options(name))
    models.check(
        name,
        (28, 28, 1),
        conditioning=Conditioning(labels(10)),
        multipliers=(1, 2, 2),
        attention_resolutions=(14, 7),
        dropout=0,
    )
