"""The convolution against a sum over the window, its derivatives against JAX's own, and its fast arrangement."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ddpm_jax.models.convolution import convolve


def random(*shape, seed=0):
    return np.random.RandomState(seed).randn(*shape).astype(np.float32)


def by_hand(x, kernel, stride, padding):
    """The sum over the window's places, in float64."""
    window = kernel.shape[:-2]
    x = np.pad(np.asarray(x, np.float64), [(0, 0), *padding, (0, 0)])
    sizes = [(n - k) // stride + 1 for n, k in zip(x.shape[1:-1], window, strict=True)]
    y = np.zeros((len(x), *sizes, kernel.shape[-1]))
    for place in itertools.product(*map(range, window)):
        part = tuple(slice(p, p + stride * (n - 1) + 1, stride) for p, n in zip(place, sizes, strict=True))
        y += x[(slice(None), *part)] @ np.asarray(kernel, np.float64)[place]
    return y


def native(x, kernel, stride, padding):
    """JAX's own convolution, whose derivatives are JAX's own too."""
    space = "HWD"[: x.ndim - 2]
    numbers = (f"N{space}C", f"{space}IO", f"N{space}C")
    return lax.conv_general_dilated(x, kernel, (stride,) * len(space), padding, dimension_numbers=numbers)


CASES = [
    ((2, 7, 3), (3, 3, 4), 1, ((1, 1),)),
    ((2, 8, 3), (3, 3, 4), 2, ((0, 1),)),
    ((2, 6, 5, 3), (3, 3, 3, 4), 1, ((1, 1), (1, 1))),
    ((2, 6, 8, 3), (3, 3, 3, 4), 2, ((0, 1), (0, 1))),
    ((2, 7, 5, 3), (3, 3, 3, 4), 2, ((1, 1), (1, 1))),
    ((2, 6, 6, 3), (2, 3, 3, 4), 2, ((0, 0), (0, 0))),  # the last rows and columns are not seen
    ((2, 5, 6, 3), (2, 2, 3, 4), 1, ((0, 0), (0, 0))),
    ((2, 5, 6, 1), (3, 3, 1, 2), 1, ((2, 2), (2, 2))),
    ((1, 4, 4, 4, 2), (3, 3, 3, 2, 3), 2, ((0, 1), (0, 1), (0, 1))),
]


@pytest.mark.parametrize(("shape", "window", "stride", "padding"), CASES)
def test_the_sum_over_the_window(shape, window, stride, padding):
    x, kernel = random(*shape), random(*window, seed=1)
    y = convolve(jnp.asarray(x), jnp.asarray(kernel), stride, padding)
    np.testing.assert_allclose(y, by_hand(x, kernel, stride, padding), atol=1e-5)


def test_named_paddings():
    x, kernel = jnp.asarray(random(2, 6, 6, 3)), jnp.asarray(random(3, 3, 3, 4))
    np.testing.assert_allclose(convolve(x, kernel, 2), by_hand(x, kernel, 2, ((0, 1), (0, 1))), atol=1e-5)
    np.testing.assert_allclose(convolve(x, kernel, 1, "VALID"), by_hand(x, kernel, 1, ((0, 0), (0, 0))), atol=1e-5)


@pytest.mark.parametrize(("shape", "window", "stride", "padding"), CASES)
def test_derivatives_are_those_of_jax_s_own_convolution(shape, window, stride, padding):
    x, kernel, dx, dk = (jnp.asarray(random(*s, seed=i)) for i, s in enumerate([shape, window, shape, window]))

    def both(function, x, kernel, dx, dk):
        def f(x, kernel):
            return function(x, kernel, stride, padding)

        y, tangent = jax.jvp(f, (x, kernel), (dx, dk))
        ct = jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)
        first = jax.vjp(f, x, kernel)[1](ct)

        def directional(x, kernel):  # second order: a gradient of a forward derivative of something that is not linear
            return (jnp.tanh(jax.jvp(lambda x: jnp.sin(f(x, kernel)), (x,), (dx,))[1]) * ct).sum()

        second = jax.grad(directional, (0, 1))(x, kernel)
        third = jax.jvp(jax.grad(lambda k: (f(x, k) ** 3).sum()), (kernel,), (dk,))
        return tangent, first, second, third

    found = (jax.jit(both, static_argnums=0)(function, x, kernel, dx, dk) for function in (convolve, native))
    for ours, theirs in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-4 * max(1.0, np.abs(theirs).max()))


def test_mapped_over_images_kernels_and_both():
    x, kernels = jnp.asarray(random(3, 2, 5, 5, 2)), jnp.asarray(random(3, 3, 3, 2, 4, seed=1))
    each = [[np.asarray(convolve(a, k)) for k in kernels] for a in x]
    over_images = jax.vmap(lambda a: convolve(a, kernels[0]))(x)
    np.testing.assert_allclose(over_images, [row[0] for row in each], atol=1e-5)
    over_kernels = jax.vmap(lambda k: convolve(x[0], k))(kernels)
    np.testing.assert_allclose(over_kernels, each[0], atol=1e-5)
    np.testing.assert_allclose(jax.vmap(convolve)(x, kernels), [each[i][i] for i in range(3)], atol=1e-5)
    gradient = jax.grad(lambda k, a: (convolve(a, k) ** 2).sum())
    per_image = jax.jit(jax.vmap(gradient, (None, 0)))(kernels[0], x)
    alone = [jax.jit(gradient)(kernels[0], a) for a in x]
    np.testing.assert_allclose(per_image, np.stack(alone), rtol=1e-4, atol=1e-3)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="about XLA's CPU compiler")
@pytest.mark.parametrize("stride", [1, 2])
def test_in_a_compiled_loop_every_convolution_is_in_the_fast_arrangement(stride):
    """Others run without XLA's convolution routine in a loop's body: the gradients of `native` are of that kind."""
    x, kernel = jnp.asarray(random(4, 8, 8, 5)), jnp.asarray(random(3, 3, 5, 5))

    def arrangements(function):
        def step(_, carry):
            x, kernel = carry
            loss = lambda x, k: (function(x, k, stride, "SAME") ** 2).sum()  # noqa: E731
            by_x, by_kernel = jax.grad(loss, (0, 1))(x, kernel)
            return x - 1e-3 * by_x, kernel - 1e-3 * by_kernel

        program = jax.jit(lambda *carry: lax.fori_loop(0, 5, step, carry)).lower(x, kernel).compile()
        return re.findall(r"dim_labels=(\S+?)[,\s]", program.as_text())

    assert len(arrangements(convolve)) == 3
    assert set(arrangements(convolve)) == {"b01f_01io->b01f"}
    assert set(arrangements(native)) != {"b01f_01io->b01f"}
