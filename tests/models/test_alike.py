"""Blocks in a loop: the same outputs, gradients and dropout as one after another, and a program that does not grow."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import models
from ddpm_jax.conditions import Conditions, Text
from ddpm_jax.models import alike

SHAPE = (4, 4, 2)
OPTIONS = {"channels": 16, "heads": 2, "dropout": 0.3}
TOLD = Conditions((("text", Text(("a", "green", "pear"), 3)),))


def network(name, depth, **options):
    return models.make(name, SHAPE, 2, **{**OPTIONS, "depth": depth, **options})


def run(net, params, keys):
    x, time = jax.random.normal(jax.random.key(1), (3, *SHAPE)), jnp.array([0.1, 0.5, 0.9])
    condition = jax.tree.map(jnp.asarray, TOLD.rows({"text": ["a pear", "green", "a green pear"]}))
    return net.apply(params, x, time, condition if net.conditions else {}, keys)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dit", "transformer"])
@pytest.mark.parametrize("remat", [False, True])
@pytest.mark.parametrize("told", [False, True])
def test_a_loop_is_block_after_block(monkeypatch, name, remat, told):
    options = {"conditioning": models.Conditioning(TOLD, 16, 0, True)} if told else {}
    net, keys = network(name, 3, remat=remat, **options), jax.random.split(jax.random.key(2), 3)
    params = net.init(jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(leaf.size), leaf.shape), params)

    def loss(params):
        return (run(net, params, keys) ** 2).mean()

    expected = jax.jit(jax.value_and_grad(loss))(params)
    monkeypatch.setattr(alike, "LEAST", 2)
    got = jax.jit(jax.value_and_grad(partial(loss)))(params)  # traced anew
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("name", ["dit", "transformer"])
def test_what_is_traced_does_not_grow_with_the_depth(name):
    def products(depth):
        net = network(name, depth)
        params = jax.eval_shape(net.init, jax.random.key(0))
        return str(jax.make_jaxpr(lambda params: run(net, params, None))(params)).count("dot_general")

    few, *many = (products(depth) for depth in (alike.LEAST - 1, alike.LEAST, 2 * alike.LEAST))
    assert many[0] == many[1] < few
