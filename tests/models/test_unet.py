"""The U-Net: what is its own among the networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import models
from ddpm_jax.conditions import labels
from ddpm_jax.errors import UserError
from ddpm_jax.models import unet


def test_spatial_axes_are_alike(make_small, filled, inputs):
    """Exchanging two axes of a volume, and of every window, exchanges them in the output."""
    # At stride 2 and in attention too; a mixed-up axis anywhere would show.
    network = make_small("unet", (4, 4, 4, 1), 1, attention_resolutions=(4,))
    params, (x, time) = filled(network), inputs("unet", 1, (4, 4, 4, 1))
    turned = jax.tree.map(lambda leaf: leaf.transpose(2, 1, 0, 3, 4) if leaf.ndim == 5 else leaf, params)
    apply = jax.jit(network.apply)
    output = apply(params, x, time)
    again = apply(turned, x.transpose(0, 3, 2, 1, 4), time).transpose(0, 3, 2, 1, 4)
    np.testing.assert_allclose(again, output, atol=2e-4)
    assert np.abs(output - output.transpose(0, 3, 2, 1, 4)).max() > 0.1


def test_fresh_network_answers_nearly_zero_and_is_float32(make_small, inputs):
    network = make_small("unet", (4, 1), 1, multipliers=(1,))
    params = jax.jit(network.init)(jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    x, time = inputs("unet", 2, (4, 1))
    assert 0 < np.abs(jax.jit(network.apply)(params, x, time)).max() < 1e-3
    assert np.std(params["up_0_0"]["conv_2"]["kernel"]) < 1e-5 < np.std(params["up_0_0"]["conv_1"]["kernel"])


@pytest.mark.parametrize("shape", [(8, 2), (4, 4, 2, 1)])
def test_options_for_any_number_of_axes(make_small, filled, inputs, shape):
    """Heads, scale and shift, and Fourier features together."""
    network = make_small("unet", shape, 5, heads=2, scale_shift=True, fourier_features=(7, 8))
    params, (x, time) = filled(network), inputs("unet", 2, shape)
    assert params["first"]["kernel"].shape == (*(3,) * (len(shape) - 1), 5 * shape[-1], 8)
    assert params["down_1_0"]["embedding"]["kernel"].shape == (32, 2 * 16)
    output = jax.jit(network.apply)(params, x, time)
    assert output.shape == (2, *shape[:-1], 5)
    assert 0.05 < output.std() < 50


def test_options_that_add_no_parameters_are_the_defaults_when_off(make_small):
    shapes = [
        jax.eval_shape(make_small("unet", (4, 4, 1), 1, attention_resolutions=(4,), **more).init, jax.random.key(0))
        for more in ({}, {"heads": 4, "remat": True}, {"scale_shift": False, "fourier_features": ()})
    ]
    assert shapes[0] == shapes[1] == shapes[2]  # parameters of one are parameters of the other


def test_a_residual_block_scales_and_shifts():
    random = np.random.RandomState(2)
    block = unet.ResidualBlock(features=6, groups=2, dropout=0.0, dtype=jnp.float32, scale_shift=True)
    x, embedding = random.randn(2, 5, 4), random.randn(2, 3)
    shapes = jax.eval_shape(block.init, jax.random.key(0), jnp.float32(x), jnp.float32(embedding), None)["params"]
    params = jax.tree.map(lambda shape: random.randn(*shape.shape), shapes)
    arrays = ({"params": params}, x, embedding)
    output = jax.jit(block.apply)(*jax.tree.map(jnp.float32, arrays), None)

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


@pytest.mark.slow
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
        ((32, 20, 3), {"multipliers": (1, 1, 1, 1)}, "multipliers: an image of 32x20 can be halved 2 times"),
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
def test_a_mistake_names_what_to_change(refused, shape, options, line):
    refused("unet", shape, options, line)


def test_right_options_pass():
    models.check("unet", (32, 32, 3))
    models.check(
        "unet",
        (28, 28, 1),
        conditioning=models.Conditioning(labels(10)),
        multipliers=(1, 2, 2),
        attention_resolutions=(14, 7),
        dropout=0,
    )
    models.check("unet", (32, 32, 3), **models.options("unet"))
    models.check("unet", (8, 8, 1), multipliers=(1,), attention_resolutions=(), fourier_features=(), heads=4)


def test_unknown_network():
    with pytest.raises(UserError, match=r"config\.model\.name: .*'u-net'.*'unet'"):
        models.make("u-net", (8, 8, 1), 1)
