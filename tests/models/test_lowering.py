"""What a program is made of depends on the device that it is lowered for, never on the one that it is traced on."""

import re

import jax
import jax.numpy as jnp
import pytest

from ddpm_jax.devices import flops
from ddpm_jax.models import affine, everywhere
from ddpm_jax.models.convolution import convolve

PLATFORMS = ("cpu", "cuda", "tpu")


def text(function, *arguments, platform):
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()


def products(function, *arguments, platform):
    return len(re.findall(r"stablehlo\.dot_general", text(function, *arguments, platform=platform)))


def test_sums_over_sites_are_products_on_a_cpu_alone():
    x, b = jnp.ones((4, 64, 8)), jnp.ones((4, 8))
    gradient = jax.grad(lambda x, b: jnp.sin(x + everywhere.repeat(b, 64)).sum(), 1)
    assert [products(gradient, x, b, platform=platform) for platform in PLATFORMS] == [1, 0, 0]
    norm = affine.GroupNorm(2)
    params = norm.init(jax.random.key(0), x)
    assert products(norm.apply, params, x, platform="cpu") > products(norm.apply, params, x, platform="tpu") == 0


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_of_a_convolution_take_the_arrangement_of_their_device(stride):
    x, kernel = jnp.ones((4, 8, 8, 5)), jnp.ones((3, 3, 5, 6))
    gradient = jax.grad(lambda x, k: jnp.sin(convolve(x, k, stride)).sum(), (0, 1))
    numbers = {
        platform: set(re.findall(r"dim_numbers = (.*?), window", text(gradient, x, kernel, platform=platform)))
        for platform in PLATFORMS
    }
    assert len(numbers["cpu"]) == 1  # ours: all in one
    assert numbers["cuda"] == numbers["tpu"] and len(numbers["tpu"]) == 3  # JAX's own


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unet", "dit", "transformer", "causal_transformer", "pixelcnn"])
def test_networks_lower_for_every_platform_and_count_the_same(make_small, inputs, name):
    network = make_small(name, (4, 4, 1), 5)
    params = jax.eval_shape(network.init, jax.random.key(0))
    x, time = inputs(name, 2, (4, 4, 1))

    def loss(params, x, time):
        return jnp.square(network.apply(params, x, time)).sum()

    step = jax.jit(jax.grad(loss)).trace(params, x, time)
    counts = {
        platform: step.lower(lowering_platforms=(platform,)).as_text().count("dot_general") for platform in PLATFORMS
    }
    assert 0 < counts["cuda"] == counts["tpu"] < counts["cpu"]
    assert flops.of_function(jax.grad(loss), params, x, time) > 0
