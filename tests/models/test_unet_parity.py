"""The U-Net equals diffusers' network."""

import importlib.util
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import models

_spec = importlib.util.spec_from_file_location("make_unet_fixture", Path(__file__).parent / "make_unet_fixture.py")
assert _spec and _spec.loader
peer = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(peer)

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
