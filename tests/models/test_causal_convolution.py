"""The layers of a PixelCNN: what each sees, and that parts make the whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.models.causal_convolution import (
    UNIT_VARIANCE,
    Doubled,
    GatedBlock,
    Place,
    ShiftedConvolution,
    concat_elu,
    empty_memory,
)

either_stream = pytest.mark.parametrize("right", [False, True])


def draw(*shape, seed=0):
    return jnp.asarray(np.random.RandomState(seed).randn(*shape), jnp.float32)


def test_the_initialisation_keeps_the_scale():
    x = jnp.linspace(-8, 8, 20_001)
    density = jnp.exp(-(x**2) / 2) / np.sqrt(2 * np.pi) * (x[1] - x[0])
    mean_square = (concat_elu(x[:, None]) ** 2).mean(-1) @ density
    assert UNIT_VARIANCE * mean_square == pytest.approx(1, abs=0.01)


@either_stream
@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_sees_what_is_above_and_to_the_left(right, stride):
    layer, x = ShiftedConvolution(3, right, stride), draw(2, 4, 6, 2)
    params = jax.jit(layer.init)(jax.random.key(0), x)
    kernel = np.asarray(params["params"]["convolution"]["kernel"])
    output, _ = jax.jit(layer.apply)(params, x)
    expected = np.zeros((2, 4 // stride, 6 // stride, 3), np.float32)
    columns = (-1, 0) if right else (-1, 0, 1)
    for i, j in np.ndindex(expected.shape[1:3]):
        for a, row in enumerate((-1, 0)):
            for b, column in enumerate(columns):
                y, z = stride * i + row, stride * j + column
                if 0 <= y < 4 and 0 <= z < 6:
                    expected[:, i, j] += x[:, y, z] @ kernel[a, b]
    np.testing.assert_allclose(output, expected, atol=1e-5)


@either_stream
def test_twice_the_size_without_sites_from_later(right):
    layer, x = Doubled(2, right), draw(1, 2, 3, 2)
    params = jax.jit(layer.init)(jax.random.key(0), x)
    jacobian = jax.jit(jax.jacobian(lambda x: layer.apply(params, x)[0]))(x)[:, :, :, 0]
    touched = np.abs(jacobian).max((2, 5)) > 0  # [row, column, from row, from column]
    for row, column in np.ndindex(4, 6):
        near = {(row // 2, column // 2)}
        if not right and column % 2 and column < 5:
            near.add((row // 2, column // 2 + 1))
        assert set(zip(*np.nonzero(touched[row, column]), strict=True)) == near
    # The same everywhere: the four sites that one becomes.
    np.testing.assert_allclose(jacobian[:2, :2, :, 0, 0], jacobian[2:, 4:, :, 1, 2], atol=1e-6)


@either_stream
def test_a_block_part_by_part(right):
    layer = GatedBlock(3, right, 0.0, jnp.float32)
    x, other = draw(2, 3, 4, 3), draw(2, 3, 4, 5, seed=1)
    params = jax.jit(layer.init)(jax.random.key(0), x, other, None, None)
    whole, _ = jax.jit(layer.apply)(params, x, other, None, None)
    advance = jax.jit(lambda x, other, memory, place: layer.apply(params, x, other, None, None, memory, place))
    memory = (empty_memory(right, 2, 4, 6, jnp.float32),) * 2
    width = 1 if right else 4
    for row, column in np.ndindex(3, 4 // width):
        part = (slice(None), slice(row, row + 1), slice(column, column + width))
        place = Place(jnp.int32(row), jnp.int32(column))
        output, memory = advance(x[part], other[part], memory, place)
        np.testing.assert_allclose(output, whole[part], atol=1e-5)


def test_a_block_is_the_gated_formula():
    layer, x, other = GatedBlock(2, True, 0.0, jnp.float32), draw(1, 1, 1, 2), draw(1, 1, 1, 3, seed=1)
    params = jax.jit(layer.init)(jax.random.key(0), x, other, None, None)
    output, _ = jax.jit(layer.apply)(params, x, other, None, None)
    weights = jax.tree.map(np.asarray, params["params"])  # one site: of each kernel the last row and column counts

    def elus(v):
        return np.concatenate([np.where(w > 0, w, np.expm1(w)) for w in (v, -v)])

    h = elus(x.reshape(-1)) @ weights["conv_1"]["convolution"]["kernel"][-1, -1]
    h += elus(other.reshape(-1)) @ weights["other"]["kernel"]
    h = elus(h) @ weights["conv_2"]["convolution"]["kernel"][-1, -1]
    np.testing.assert_allclose(output.reshape(-1), x.reshape(-1) + h[:2] / (1 + np.exp(-h[2:])), atol=1e-6)
