"""What rematerialisation keeps: memory falls, products are not computed again if they are kept, gradients stay."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import models
from ddpm_jax.errors import UserError

SMALL = {
    "unet": {"channels": 8, "multipliers": (1,), "blocks": 1, "attention_resolutions": (8,), "groups": 4},
    "dit": {"channels": 16, "depth": 2, "heads": 2},
}


def gradient(filled, name, **options):
    """What computes the gradient of a mean square, and how many products its program has."""
    network = models.make(name, (8, 8, 3), 3, **SMALL[name], dropout=0.0, **options)
    params = filled(network)
    x, t = jax.random.normal(jax.random.key(1), (16, 8, 8, 3)), jnp.linspace(0, 999, 16)
    program = jax.jit(jax.grad(lambda params: (network.apply(params, x, t) ** 2).mean())).trace(params)
    text = str(program.jaxpr)
    return lambda: program.lower().compile()(params), text.count("dot_general[") + text.count("canonical_convolution[")


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_products_that_are_kept_are_not_computed_again(filled, name):
    """That a gradient stays with nothing kept is in `test_networks`."""
    (exact, plain), (_, again), (products, kept) = (
        gradient(filled, name),
        gradient(filled, name, remat=True),
        gradient(filled, name, remat=True, remat_keep="products"),
    )
    assert again > kept >= plain
    assert again - plain > 3 * (kept - plain)
    for a, b in zip(jax.tree.leaves(exact()), jax.tree.leaves(products()), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"remat_keep": "everything"}, "config.model.remat_keep: 'everything' is unknown"),
        ({"attention": "flash"}, "config.model.attention: 'flash' is unknown"),
    ],
)
def test_refused(options, words):
    with pytest.raises(UserError, match=words):
        models.check("unet", (32, 32, 3), **options)
