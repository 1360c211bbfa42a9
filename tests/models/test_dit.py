"""The diffusion transformer: equal to the published code, and what is its own among the networks."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import models
from ddpm_jax.conditions import labels
from ddpm_jax.models import Conditioning, dit

_spec = importlib.util.spec_from_file_location("make_dit_fixture", Path(__file__).parent / "make_dit_fixture.py")
assert _spec and _spec.loader
peer = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(peer)

# Equality with the published code

PARTS = {
    "query_key_value": "attn.qkv",
    "projection": "attn.proj",
    "mlp_1": "mlp.fc1",
    "mlp_2": "mlp.fc2",
    "modulation": "adaLN_modulation.1",
}
ENDS = {
    "first": "x_embedder.proj",
    "time_1": "t_embedder.mlp.0",
    "time_2": "t_embedder.mlp.2",
    "label": "y_embedder.embedding_table",
    "modulation": "final_layer.adaLN_modulation.1",
    "last": "final_layer.linear",
}


def from_torch(path, shape) -> jax.Array:
    """The fixture's weight for our parameter: (out, in) becomes (in, out)."""
    *blocks, layer, kind = (part.key for part in path if part.key != "conditioning")
    name = f"blocks.{blocks[0].removeprefix('block_')}.{PARTS[layer]}" if blocks else ENDS[layer]
    if kind == "embedding":
        return jnp.asarray(peer.weight(f"{name}.weight", shape.shape))
    if kind == "bias":
        return jnp.asarray(peer.weight(f"{name}.bias", shape.shape))
    inside, outside = shape.shape
    if layer == "first":  # a convolution there, of windows of 2x2 and 4 channels
        value = peer.weight(f"{name}.weight", (outside, 4, 2, 2)).transpose(0, 2, 3, 1).reshape(outside, inside)
    else:
        value = peer.weight(f"{name}.weight", (outside, inside))
    if layer == "time_1":  # there cosines stand before sines
        value = np.roll(value, inside // 2, axis=1)
    return jnp.asarray(value.T)


def test_equals_the_published_code():
    options = {"channels": peer.CHANNELS, "depth": peer.DEPTH, "heads": peer.HEADS}
    network = models.make("dit", (8, 8, 4), 8, conditioning=Conditioning(labels(peer.CLASSES)), **options)
    params = jax.tree.map_with_path(from_torch, jax.eval_shape(network.init, jax.random.key(0)))
    condition = {"label": jnp.array(peer.LABELS)}
    output = jax.jit(network.apply)(params, jnp.asarray(peer.images()), jnp.array(peer.TIMES), condition)
    expected = np.load(peer.FIXTURE)["output"]
    assert 0.3 < expected.std() < 3
    # Measured 3e-6.
    assert np.abs(output - expected).max() < 3e-5


@pytest.mark.parametrize(
    ("size", "count"),
    [((384, 12, 6), 32_865_056), ((768, 12, 12), 130_315_808), ((1152, 28, 16), 674_834_720)],
)
def test_as_many_parameters_as_published(size, count):
    """For latents of 32x32x4 with 1000 classes and a learned variance; the fixed position embedding is not counted."""
    options = dict(zip(("channels", "depth", "heads"), size, strict=True))
    network = models.make("dit", (32, 32, 4), 8, conditioning=Conditioning(labels(1000)), **options)
    assert models.parameter_count(jax.eval_shape(network.init, jax.random.key(0))) == count
    if size[0] == 1152:
        kept = np.load(peer.FIXTURE)
        assert count == kept["xl_count"] - kept["xl_positions"] == 675_129_632 - 256 * 1152


# Patches and positions


@pytest.mark.parametrize("space", [(6,), (4, 6), (4, 2, 6)])
def test_patches_are_windows_and_come_back(space):
    x = np.arange(2 * np.prod(space) * 3, dtype=np.float32).reshape(2, *space, 3)
    patches = dit.to_patches(jnp.asarray(x), 2)
    for number, corner in enumerate(np.ndindex(*(size // 2 for size in space))):
        window = tuple(slice(2 * i, 2 * i + 2) for i in corner)
        np.testing.assert_array_equal(patches[:, number], x[:, *window].reshape(2, -1))
    np.testing.assert_array_equal(dit.from_patches(patches, 2, space), x)


def test_positions_differ_along_every_axis_alike():
    grid = (3, 4, 5)
    embedding = np.asarray(dit.position_embedding(grid, 14)).reshape(*grid, 14)
    assert not embedding[..., 12:].any()  # 14 features are 4 for each axis, and 2 that are left over
    for axis in range(3):
        # The last axis stands first; the others do not enter its features.
        part = np.moveaxis(embedding[..., 4 * (2 - axis) :][..., :4], axis, 0)
        assert (part == part[:, :1, :1]).all()
        coordinates = np.arange(grid[axis])[:, None] * [1.0, 0.01]
        np.testing.assert_allclose(part[:, 0, 0], np.hstack([np.sin(coordinates), np.cos(coordinates)]), atol=1e-6)


# Promises of its own


def test_every_site_is_seen_from_every_site(labelled, inputs):
    _, params, apply, _ = labelled("dit")
    x, time = inputs("dit", 1, (4, 4, 1))
    changed = apply(params, x.at[0, 0, 0].add(1.0), time) - apply(params, x, time)
    assert np.abs(changed).max(-1).min() > 1e-4


def test_fresh_network_answers_zero_and_starts_as_published(inputs):
    # Wide enough to measure deviations.
    network = models.make("dit", (4, 4, 1), 2, Conditioning(labels(3)), channels=96, depth=1, heads=4)
    params = jax.jit(network.init)(jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    x, time = inputs("dit", 2, (4, 4, 1))
    np.testing.assert_array_equal(jax.jit(network.apply)(params, x, time), np.zeros((2, 4, 4, 2)))
    block = params["block_0"]
    for layer in (block["modulation"], params["modulation"], params["last"]):
        assert not any(leaf.any() for leaf in jax.tree.leaves(layer))
    for layer in (params["time_1"]["kernel"], params["time_2"]["kernel"], params["conditioning"]["label"]["embedding"]):
        assert np.std(layer) == pytest.approx(0.02, rel=0.15)
    for name, fans in (("query_key_value", 4), ("projection", 2), ("mlp_1", 5), ("mlp_2", 5)):
        assert np.std(block[name]["kernel"]) == pytest.approx(np.sqrt(2 / (96 * fans)), rel=0.05)  # Xavier


def test_has_derivatives_along_a_direction(labelled, inputs):
    """The flow's likelihood differentiates forwards, distillation twice."""
    _, params, apply, _ = labelled("dit")
    x, time = inputs("dit", 1, (4, 4, 1))

    def output(scale):
        return apply(params, x * scale, time)

    _, tangent = jax.jit(lambda scale: jax.jvp(output, (scale,), (1.0,)))(1.0)
    np.testing.assert_allclose(tangent, (output(1.01) - output(0.99)) / 0.02, atol=0.02 * np.abs(tangent).max())


# Mistakes


@pytest.mark.parametrize(
    ("shape", "options", "line"),
    [
        ((28, 28, 1), {"patch": 8}, "patch: 28x28 is not whole patches of side 8; choose from 1, 2, 4, 7, 14, 28"),
        ((32, 20, 3), {"patch": 8}, "patch: 32x20 is not whole patches of side 8; choose from 1, 2, 4"),
        ((32, 32, 3), {"patch": 0}, "patch: 0 is not a whole number of at least 1"),
        ((32, 32, 3), {"patch": 2.0}, "patch: 2.0 is not a whole number"),
        ((32, 32, 3), {"depth": 0}, "depth: 0 is not"),
        ((32, 32, 3), {"heads": 0}, "heads: 0 is not"),
        ((32, 32, 3), {"channels": 100, "heads": 8}, "heads: 100 channels cannot be split into 8 heads"),
        ((32, 32, 3), {"channels": 33, "heads": 3}, "channels: 33 is not an even number of at least 4"),
        ((8, 8, 8, 3), {"channels": 4, "heads": 1}, "channels: 4 is not an even number of at least 6"),
        ((32, 32, 3), {"dropout": 1.0}, "dropout: 1.0 is not a probability in [0, 1)"),
        ((32, 32, 3), {"dtype": "half"}, "dtype: 'half' is unknown"),
        ((32, 32, 3), {"remat": 1}, "remat: 1 is not True or False"),
        ((32, 32, 3), {"path": 2}, "path: the transformer has no such option; did you mean 'patch'?"),
    ],
)  # fmt: skip
def test_a_mistake_names_what_to_change(refused, shape, options, line):
    refused("dit", shape, options, line)


def test_right_options_pass():
    models.check("dit", (32, 32, 3), **models.options("dit"))
    models.check("dit", (28, 28, 1), conditioning=Conditioning(labels(10)), patch=4, channels=64, heads=4, dropout=0)


@pytest.mark.parametrize("name", models.NETWORKS)
def test_options_of_the_same_name_are_of_the_same_type(name):
    # They are one key of the config.
    ours, theirs = models.options("dit"), models.options(name)
    assert {"channels", "dropout", "dtype"} <= set(ours) & set(theirs)
    assert all(type(ours[key]) is type(theirs[key]) for key in set(ours) & set(theirs))
