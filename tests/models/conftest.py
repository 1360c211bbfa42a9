"""What the tests of the networks share: small networks, parameters without zeros, inputs, and refusals."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import models
from ddpm_jax.conditions import labels
from ddpm_jax.errors import UserError

_SMALL_UNET = {"channels": 8, "multipliers": (1, 2), "blocks": 1, "attention_resolutions": ()}
_SMALL = {
    "unet": {**_SMALL_UNET, "groups": 4},
    "ddpmpp": _SMALL_UNET,
    "ncsnpp": _SMALL_UNET,
    "dit": {"channels": 12, "depth": 2, "heads": 2},
    "transformer": {"channels": 12, "depth": 2, "heads": 2},
    "causal_transformer": {"channels": 12, "depth": 2, "heads": 2},
    "pixelcnn": {"channels": 6, "blocks": 1, "multipliers": (1, 2)},
}
_TIMES = {"ddpmpp": (-1.0, 1.0), "ncsnpp": (-1.0, 1.0)}


def _make_small(name: str, shape: tuple[int, ...], out_channels: int, told: Any = 0, **options) -> models.Network:
    if name in models.CAUSAL:  # row by row, and of real inputs, as the others'
        options.setdefault("sites", models.Sites(tuple(range(math.prod(shape[:-1])))))
    told = (models.Conditioning(labels(told)) if told else None) if isinstance(told, int) else told
    return models.make(name, shape, out_channels, told, **{**_SMALL[name], **options})


def _filled(network: models.Network, seed: int = 0):
    random = np.random.RandomState(seed)

    def draw(shape):
        fan_in = np.prod(shape.shape[:-1]) if len(shape.shape) > 1 else 1
        return jnp.asarray(random.randn(*shape.shape) / np.sqrt(fan_in), jnp.float32)

    return jax.tree.map(draw, jax.eval_shape(network.init, jax.random.key(0)))


def _inputs(name: str, batch: int, shape: tuple[int, ...], seed: int = 0):
    x = np.random.RandomState(seed).randn(batch, *shape).astype(np.float32)
    return jnp.asarray(x), jnp.linspace(*_TIMES.get(name, (0.0, 999.0)), batch)


def _refused(name: str, shape: tuple[int, ...], options: dict, line: str):
    with pytest.raises(UserError) as caught:
        models.check(name, shape, **options)
    assert str(caught.value).startswith(f"config.model.{line}")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError):
        models.make(name, shape, 1, **options)


@functools.cache
def _labelled(name: str, **options):
    if "attention_resolutions" in _SMALL[name]:
        options["attention_resolutions"] = (4,)
    network = _make_small(name, (4, 4, 1), 2, 3, dropout=0.3, **options)

    def loss(params, *rest):
        output = network.apply(params, *rest)
        return (output**2).mean(), output

    return network, _filled(network, seed=2), jax.jit(network.apply), jax.jit(jax.grad(loss, has_aux=True))


@pytest.fixture(scope="session")
def make_small():
    """`(name, shape, out_channels, told, **options)`: a small network; a unet has two levels and no attention.

    `told` is a number of labels, or a `Conditioning`.
    """
    return _make_small


@pytest.fixture(scope="session")
def filled():
    """`(network)`: parameters of scale 1 or so, unlike fresh ones, so that nothing is hidden by a zero."""
    return _filled


@pytest.fixture(scope="session")
def inputs():
    """`(name, batch, shape)`: normal noise and different times of the range that the network is told."""
    return _inputs


@pytest.fixture(scope="session")
def refused():
    """`(name, shape, options, line)`: asserts that the options are refused in one line, which begins with `line`."""
    return _refused


@pytest.fixture(scope="session")
def labelled():
    """`(name, **options)`: a small network with 3 labels, dropout and, in a unet, attention.

    It takes 4x4x1 to 4x4x2. Answers the network, its parameters, its compiled `apply`, and compiled, of the same
    arguments, the gradient of a mean square together with the output; the same to every test.
    """
    return _labelled
