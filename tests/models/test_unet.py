"""The U-Net: equal to diffusers' network, and the promises made to the rest of the package."""

import importlib.util
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import models
from ddpm_jax.errors import UserError
from ddpm_jax.models import unet

_spec = importlib.util.spec_from_file_location("make_unet_fixture", Path(__file__).parent / "make_unet_fixture.py")
assert _spec and _spec.loader
peer = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(peer)

SMALL = {"channels": 8, "multipliers": (1, 2), "blocks": 1, "attention_resolutions": (), "groups": 4}


def filled(network: models.Network, seed: int = 0):
    """Parameters of scale 1 or so everywhere, unlike fresh ones, so that nothing is hidden by a zero."""
    random = np.random.RandomState(seed)

    def draw(shape):
        fan_in = np.prod(shape.shape[:-1]) if len(shape.shape) > 1 else 1
        return jnp.asarray(random.randn(*shape.shape) / np.sqrt(fan_in), jnp.float32)

    return jax.tree.map(draw, jax.eval_shape(network.init, jax.random.key(0)))


def inputs(batch: int, shape: tuple[int, ...], seed: int = 0):
    x = np.random.RandomState(seed).randn(batch, *shape).astype(np.float32)
    return jnp.asarray(x), jnp.linspace(0.0, 999.0, batch)


# Equality with diffusers

PARTS = {
    "conv_1": "conv1",
    "conv_2": "conv2",
    "norm_1": "norm1",
    "norm_2": "norm2",
    "embedding": "time_emb_proj",
    "shortcut": "conv_shortcut",
    "norm": "group_norm",
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "projection": "to_out.0",
}
ENDS = {
    "time_1": "time_embedding.linear_1",
    "time_2": "time_embedding.linear_2",
    "first": "conv_in",
    "last_norm": "conv_norm_out",
    "last": "conv_out",
}


def torch_name(path: tuple[str, ...], levels: int = 4) -> str:
    """diffusers' name of the parameter at `path` in our tree."""
    *blocks, kind = path
    kind = "bias" if kind == "bias" else "weight"
    if blocks[0] in ENDS:
        return f"{ENDS[blocks[0]]}.{kind}"
    side, *numbers = re.findall(r"[a-z]+|\d+", blocks[0])
    if side == "middle":
        room, number = "mid_block", numbers[0]
    else:
        level, number = int(numbers[0]), numbers[1]
        room = f"{side}_blocks.{level if side == 'down' else levels - 1 - level}"
    if number in ("half", "twice"):
        return f"{room}.{'down' if number == 'half' else 'up'}samplers.0.conv.{kind}"
    group = "attentions" if numbers[-1] == "attention" else "resnets"
    return f"{room}.{group}.{number}.{PARTS[blocks[1]]}.{kind}"


def from_torch(path, shape) -> jax.Array:
    """The fixture's weight for our parameter: (out, in, *window) becomes (*window, in, out)."""
    names = tuple(part.key for part in path)
    name, size = torch_name(names), shape.shape
    if names[-1] != "kernel":
        return jnp.asarray(peer.weight(name, size))
    if names[-2] == "shortcut":
        size = (1, 1, *size)  # a 1x1 convolution there, a dense layer here
    value = peer.weight(name, (*size[:-3:-1], *size[:-2]))
    return jnp.asarray(np.moveaxis(value, (0, 1), (-1, -2)).reshape(shape.shape))


@pytest.fixture(scope="module")
def cifar10():
    """The published CIFAR-10 network with the fixture's weights, and its output for the fixture's inputs."""
    network = models.make("unet", (32, 32, 3), out_channels=3)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    params = jax.tree.map_with_path(from_torch, shapes)
    return params, jax.jit(network.apply)(params, jnp.asarray(peer.images()), jnp.array(peer.TIMES))


def test_equals_diffusers_as_kept(cifar10):
    params, output = cifar10
    kept = np.load(peer.FIXTURE)
    assert models.parameter_count(params) == kept["count"] == 35_746_307
    assert 0.3 < kept["output"].std() < 3
    assert np.abs(output - kept["output"]).max() < 1e-4


@pytest.mark.peers
def test_equals_diffusers_live(cifar10):
    pytest.importorskip("diffusers")
    expected, count = peer.answer()
    assert models.parameter_count(cifar10[0]) == count
    assert np.abs(cifar10[1] - expected).max() < 1e-4


# Promises


@pytest.mark.parametrize("shape", [(8, 2), (4, 8, 3), (4, 4, 2, 1)])
def test_any_number_of_spatial_axes(shape):
    network = models.make("unet", shape, out_channels=5, **SMALL)
    x, time = inputs(2, shape)
    output = jax.jit(network.apply)(filled(network), x, time)
    assert output.shape == (2, *shape[:-1], 5)
    assert output.dtype == jnp.float32
    assert 0.05 < output.std() < 50


def test_spatial_axes_are_alike():
    """Exchanging two axes of a volume, and of every window, exchanges them in the output."""
    # At stride 2 and in attention too; a mixed-up axis anywhere would show.
    network = models.make("unet", (4, 4, 4, 1), out_channels=1, **{**SMALL, "attention_resolutions": (4,)})
    params, (x, time) = filled(network), inputs(1, (4, 4, 4, 1))
    turned = jax.tree.map(lambda leaf: leaf.transpose(2, 1, 0, 3, 4) if leaf.ndim == 5 else leaf, params)
    apply = jax.jit(network.apply)
    output = apply(params, x, time)
    again = apply(turned, x.transpose(0, 3, 2, 1, 4), time).transpose(0, 3, 2, 1, 4)
    np.testing.assert_allclose(again, output, atol=2e-4)
    assert np.abs(output - output.transpose(0, 3, 2, 1, 4)).max() > 0.1


@pytest.fixture(scope="module")
def small():
    """A small network with 3 labels and attention, its parameters, and its compiled `apply`."""
    options = {**SMALL, "attention_resolutions": (4,), "dropout": 0.3}
    network = models.make("unet", (4, 4, 1), out_channels=2, labels=3, **options)
    return network, filled(network), jax.jit(network.apply)


def test_labels(small):
    _, params, apply = small
    x, time = (jnp.repeat(value[-1:], 4, axis=0) for value in inputs(2, (4, 4, 1)))
    each = apply(params, x, time, jnp.arange(4))
    differences = np.abs(each[:, None] - each).max((2, 3, 4)) + 10 * np.eye(4)
    assert differences.min() > 0.01
    null = apply(params, x, time, jnp.full(4, 3))
    np.testing.assert_allclose(null[0], each[3], atol=1e-5)
    np.testing.assert_allclose(apply(params, x, time, None), null, atol=1e-5)
    assert np.isnan(apply(params, x, time, jnp.full(4, 4))).all()  # no such label: never in silence


def test_evaluation_is_deterministic_and_training_follows_its_keys(small):
    _, params, apply = small
    x, time = inputs(4, (4, 4, 1))
    condition, keys = jnp.array([0, 1, 2, 3]), jax.random.split(jax.random.key(1), 4)
    plain = apply(params, x, time, condition)
    np.testing.assert_array_equal(plain, apply(params, x, time, condition))
    training = apply(params, x, time, condition, keys)
    np.testing.assert_array_equal(training, apply(params, x, time, condition, keys))
    other = apply(params, x, time, condition, keys[::-1])
    assert (np.abs(training - plain).max((1, 2, 3)) > 0.05).all()
    assert (np.abs(training - other).max((1, 2, 3)) > 0.05).all()


def test_a_row_does_not_depend_on_its_batch(small):
    _, params, apply = small
    x, time = inputs(4, (4, 4, 1))
    condition, keys = jnp.array([0, 1, 2, 3]), jax.random.split(jax.random.key(2), 4)
    whole = apply(params, x, time, condition, keys)
    for rows in ([3], [2, 1, 3, 0]):
        i = np.array(rows)
        part = apply(params, x[i], time[i], condition[i], keys[i])
        np.testing.assert_allclose(part, whole[i], atol=2e-5)


def test_gradient_is_finite_and_reaches_every_parameter(small):
    network, params, _ = small
    x, time = inputs(4, (4, 4, 1))
    keys = jax.random.split(jax.random.key(3), 4)

    def loss(params):
        return (network.apply(params, x, time, jnp.arange(4), keys) ** 2).mean()

    gradient = jax.jit(jax.grad(loss))(params)
    for path, leaf in jax.tree.leaves_with_path(gradient):
        assert np.isfinite(leaf).all()
        # A softmax does not change when a constant is added to its logits, so the key's bias has no effect.
        if not jax.tree_util.keystr(path).endswith("['key']['bias']"):
            assert np.abs(leaf).max() > 1e-6, path


def test_fresh_network_answers_nearly_zero_and_is_float32():
    network = models.make("unet", (4, 1), 1, **{**SMALL, "multipliers": (1,)})
    params = network.init(jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    x, time = inputs(2, (4, 1))
    assert 0 < np.abs(jax.jit(network.apply)(params, x, time)).max() < 1e-3
    assert np.std(params["up_0_0"]["conv_2"]["kernel"]) < 1e-5 < np.std(params["up_0_0"]["conv_1"]["kernel"])


def test_bfloat16_computes_near_float32(small):
    _, params, apply = small
    half = models.make("unet", (4, 4, 1), 2, 3, **{**SMALL, "attention_resolutions": (4,), "dtype": "bfloat16"})
    shapes = jax.eval_shape(half.init, jax.random.key(0))
    assert jax.tree.map(lambda leaf: leaf.dtype, shapes) == jax.tree.map(lambda leaf: leaf.dtype, params)
    (x, time), condition = inputs(4, (4, 4, 1)), jnp.arange(4)
    output, exact = jax.jit(half.apply)(params, x, time, condition), apply(params, x, time, condition)
    assert output.dtype == jnp.float32
    error = np.linalg.norm(output - exact) / np.linalg.norm(exact)
    assert 1e-5 < error < 0.1


@pytest.mark.parametrize("shape", [(8, 2), (4, 4, 2, 1)])
def test_options_for_any_number_of_axes(shape):
    """Heads, scale and shift, and Fourier features together."""
    options = {**SMALL, "heads": 2, "scale_shift": True, "fourier_features": (7, 8)}
    network = models.make("unet", shape, out_channels=5, **options)
    params, (x, time) = filled(network), inputs(2, shape)
    assert params["first"]["kernel"].shape == (*(3,) * (len(shape) - 1), 5 * shape[-1], 8)
    assert params["down_1_0"]["embedding"]["kernel"].shape == (32, 2 * 16)
    output = jax.jit(network.apply)(params, x, time)
    assert output.shape == (2, *shape[:-1], 5)
    assert 0.05 < output.std() < 50


def test_options_that_add_no_parameters_are_the_defaults_when_off():
    plain = {**SMALL, "attention_resolutions": (4,)}
    shapes = [
        jax.eval_shape(models.make("unet", (4, 4, 1), 1, **plain, **more).init, jax.random.key(0))
        for more in ({}, {"heads": 4, "remat": True}, {"scale_shift": False, "fourier_features": ()})
    ]
    assert shapes[0] == shapes[1] == shapes[2]  # parameters of one are parameters of the other


def test_a_residual_block_scales_and_shifts():
    random = np.random.RandomState(2)
    block = unet.ResidualBlock(features=6, groups=2, dropout=0.0, dtype=jnp.float32, scale_shift=True)
    x, embedding = random.randn(2, 5, 4), random.randn(2, 3)
    shapes = jax.eval_shape(block.init, jax.random.key(0), jnp.float32(x), jnp.float32(embedding), None)["params"]
    params = jax.tree.map(lambda shape: random.randn(*shape.shape), shapes)
    output = block.apply({"params": jax.tree.map(jnp.float32, params)}, jnp.float32(x), jnp.float32(embedding), None)

    def swish(h):
        return h / (1 + np.exp(-h))

    def affine(layer, h):
        return h @ params[layer]["kernel"] + params[layer]["bias"]

    def norm(layer, h):
        halves = np.split(h, 2, axis=1)
        h = np.concatenate([(half - half.mean()) / half.std() for half in halves], axis=1)
        return h * params[layer]["scale"] + params[layer]["bias"]

    def convolved(layer, h):
        padded, kernel = np.pad(h, ((1, 1), (0, 0))), params[layer]["kernel"]
        return sum(padded[i : i + 5] @ kernel[i] for i in range(3)) + params[layer]["bias"]

    for image, vector, got in zip(x, embedding, np.asarray(output), strict=True):
        numbers = affine("embedding", swish(vector))
        h = norm("norm_2", convolved("conv_1", swish(norm("norm_1", image))))
        h = convolved("conv_2", swish(h * (1 + numbers[:6]) + numbers[6:]))
        np.testing.assert_allclose(got, affine("shortcut", image) + h, atol=2e-4)


def test_remat_keeps_outputs_and_gradients():
    options = {**SMALL, "multipliers": (1,), "attention_resolutions": (2,), "dropout": 0.3}
    network, again = (models.make("unet", (2, 2, 1), 2, 3, **options, remat=remat) for remat in (False, True))
    params, (x, time), keys = filled(network), inputs(4, (2, 2, 1)), jax.random.split(jax.random.key(4), 4)

    def loss(network):
        def value(params):
            output = network.apply(params, x, time, jnp.arange(4), keys)
            return (output**2).mean(), output

        return jax.value_and_grad(value, has_aux=True)

    assert "remat" in str(jax.make_jaxpr(loss(again))(params))
    (_, output), gradient = jax.jit(loss(network))(params)
    (_, same), same_gradient = jax.jit(loss(again))(params)
    np.testing.assert_allclose(output, same, atol=1e-5)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient))
    for leaf, other in zip(jax.tree.leaves(gradient), jax.tree.leaves(same_gradient), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=1e-3, atol=1e-5 * largest)


def test_published_networks_are_within_the_options():
    """The counts of improved DDPM's CIFAR-10 network (its code) and of a stack without halving like VDM's."""
    options = {"blocks": 3, "attention_resolutions": (16, 8), "heads": 4, "dropout": 0.3, "scale_shift": True}
    network = models.make("unet", (32, 32, 3), 6, **options)
    assert models.parameter_count(jax.eval_shape(network.init, jax.random.key(0))) == 52_546_438
    options = {"multipliers": (1,), "blocks": 32, "attention_resolutions": (), "fourier_features": (7, 8)}
    network = models.make("unet", (32, 32, 3), 3, **options)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    assert len([name for name in shapes if name.startswith(("down_", "up_"))]) == 32 + 33
    assert shapes["first"]["kernel"].shape == (3, 3, 5 * 3, 128)


# Mistakes


@pytest.mark.parametrize(
    ("shape", "options", "line"),
    [
        ((28, 28, 1), {"multipliers": (1, 2, 2, 2)},
         "multipliers: an image of 28x28 can be halved 2 times, not 3; use at most 3 multipliers"),
        ((32, 20, 3), {"multipliers": (1, 1, 1, 1)}, "an image of 32x20 can be halved 2 times"),
        ((32, 32, 3), {"multipliers": ()}, "multipliers: there must be at least one"),
        ((32, 32, 3), {"multipliers": (1, 0)}, "multipliers: (1, 0) has one below 1"),
        ((32, 32, 3), {"multipliers": [1, 2]}, "multipliers: [1, 2] is not a tuple"),
        ((32, 32, 3), {"channels": 48}, "groups: 48 channels cannot be split into 32 groups; use 24"),
        ((32, 32, 3), {"groups": 0}, "groups: 0 is not"),
        ((32, 32, 3), {"channels": 0}, "channels: 0 is not an even number"),
        ((32, 32, 3), {"channels": 33}, "channels: 33 is not an even number"),
        ((32, 32, 3), {"channels": 64.0}, "channels: 64.0 is not a whole number"),
        ((32, 32, 3), {"blocks": 0}, "blocks: 0"),
        ((32, 32, 3), {"dropout": 1.0}, "dropout: 1.0 is not a probability in [0, 1)"),
        ((32, 32, 3), {"dropout": -0.1}, "dropout: -0.1"),
        ((32, 32, 3), {"dropout": float("nan")}, "dropout: nan is not a number"),
        ((32, 32, 3), {"attention_resolutions": (15,)},
         "attention_resolutions: size 15 does not occur; choose from 32, 16, 8, 4"),
        ((32, 32, 3), {"heads": 0}, "heads: 0 is not"),
        ((32, 32, 3), {"heads": 3}, "heads: 128 channels cannot be split into 3 heads"),
        ((32, 32, 3), {"fourier_features": 7}, "fourier_features: 7 is not a tuple of whole numbers"),
        ((32, 32, 3), {"fourier_features": (7, 17)}, "fourier_features: (7, 17) has a power outside 0..16"),
        ((32, 32, 3), {"scale_shift": 1}, "scale_shift: 1 is not True or False"),
        ((32, 32, 3), {"remat": "yes"}, "remat: 'yes' is not True or False"),
        ((32, 32, 3), {"dtype": "bfloat"}, "dtype: 'bfloat' is unknown; did you mean 'bfloat16'?"),
        ((32, 32, 3), {"chanels": 64}, "chanels: the U-Net has no such option; did you mean 'channels'?"),
    ],
)  # fmt: skip
def test_a_mistake_names_what_to_change(shape, options, line):
    with pytest.raises(UserError) as caught:
        models.check("unet", shape, **options)
    text = str(caught.value)
    assert text.startswith("config.model.")
    assert line in text
    assert "\n" not in text
    with pytest.raises(UserError):
        models.make("unet", shape, 1, **options)


def test_right_options_pass():
    models.check("unet", (32, 32, 3))
    models.check("unet", (28, 28, 1), labels=10, multipliers=(1, 2, 2), attention_resolutions=(14, 7), dropout=0)
    models.check("unet", (32, 32, 3), **models.options("unet"))
    models.check("unet", (8, 8, 1), multipliers=(1,), attention_resolutions=(), fourier_features=(), heads=4)


def test_unknown_network():
    with pytest.raises(UserError, match=r"config\.model\.name: there is no network 'u-net'; did you mean 'unet'\?"):
        models.make("u-net", (8, 8, 1), 1)


def test_wrong_calls_raise():
    network = models.make("unet", (4, 4, 1), 1, **SMALL)
    params, (x, time) = filled(network), inputs(2, (4, 4, 1))
    with pytest.raises(ValueError, match="without labels"):
        network.apply(params, x, time, jnp.array([0, 1]))
    with pytest.raises(ValueError, match="shape"):
        network.apply(params, x[:, :2], time)
