"""The layers against Linen's own: the same parameters, values and gradients; float32 inside of bfloat16."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from ddpm_jax.models import affine, everywhere

PAIRS = {
    "dense": (affine.Dense(7), nn.Dense(7)),
    "no bias": (affine.Dense(7, use_bias=False), nn.Dense(7, use_bias=False)),
    "convolution": (affine.Convolution(7, (3, 3)), nn.Conv(7, (3, 3))),
    "strided": (affine.Convolution(7, (3, 3), 2, padding=((1, 1), (1, 1))), nn.Conv(7, (3, 3), 2, padding=1)),
    "group norm": (affine.GroupNorm(3), nn.GroupNorm(3, epsilon=1e-6)),
    "layer norm": (affine.LayerNorm(), nn.LayerNorm(epsilon=1e-6)),
    "plain layer norm": (affine.LayerNorm(affine=False), nn.LayerNorm(epsilon=1e-6, use_scale=False, use_bias=False)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_equals_linen_s(name):
    ours, theirs = PAIRS[name]
    random = np.random.RandomState(0)
    x = jnp.float32(2 + random.randn(3, 6, 4, 12))
    shapes, same = (
        jax.tree.map(jnp.shape, jax.eval_shape(module.init, jax.random.key(0), x)) for module in (theirs, ours)
    )
    assert same == shapes
    params = jax.tree.map(lambda s: jnp.float32(random.randn(*s)), shapes, is_leaf=lambda s: isinstance(s, tuple))

    def everything(module):
        def loss(params, x):
            y = module.apply(params, x)
            weight = jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)
            return (y**2 * weight).sum(), y

        return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, x)

    for got, expected in zip(jax.tree.leaves(everything(ours)), jax.tree.leaves(everything(theirs)), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("module", [affine.GroupNorm(2, jnp.bfloat16), affine.LayerNorm(dtype=jnp.bfloat16)])
def test_moments_are_float32(module):
    # In bfloat16 a sum of 4,096 values near 8 stops growing at 2,048.
    x = (8 + jax.random.normal(jax.random.key(0), (1, 64, 64, 4))).astype(jnp.bfloat16)
    y, _ = jax.jit(module.init_with_output)(jax.random.key(0), x)
    assert y.dtype == jnp.bfloat16
    y = np.asarray(y, np.float64)
    assert abs(y.mean()) < 0.02 and y.std() == pytest.approx(1, abs=0.02)


def test_everywhere_is_at_every_site():
    x, a = jnp.zeros((2, 3, 4, 5)), jnp.arange(14.0).reshape(2, 7)
    spread = jnp.broadcast_to(everywhere.everywhere(a, x), (2, 3, 4, 7))
    np.testing.assert_array_equal(spread, np.broadcast_to(np.asarray(a)[:, None, None], (2, 3, 4, 7)))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="about XLA's CPU compiler")
def test_on_a_cpu_gradients_of_biases_are_products_and_values_are_not():
    """The point of `repeat`: what it repeats costs no product forwards, and no sum over sites backwards."""
    x, b = jnp.ones((4, 64, 8)), jnp.ones((4, 8))

    def operations(function):
        text = jax.jit(function).lower(x, b).compile().as_text()
        return " dot(" in text, " reduce(" in text

    assert operations(lambda x, b: jnp.sin(x) + everywhere.repeat(b, 64)) == (False, False)
    assert operations(jax.grad(lambda x, b: 0.5 * ((x + everywhere.repeat(b, 64)) ** 2).sum(), 1)) == (True, False)
