"""One convolution for all networks: the compiler's own, with other gradients on CPUs.

On a CPU, XLA (jaxlib 0.10) hands a convolution to a fast routine only where its operands lie as [batch, *space,
channels] and [*space, in, out]. It rearranges others in the outermost computation, but not inside a loop, where the
gradients that JAX derives (with batch and channels exchanged) ran up to 160 times slower than outside: 32x32x64, batch
16. There both gradients are written in that arrangement. Values and gradients are the same convolutions, and which way
they go is chosen where a program is lowered for a device.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

Padding = tuple[tuple[int, int], ...]


def convolve(
    x: Float[Array, "batch *space channels"],
    kernel: Float[Array, "*window channels features"],
    stride: int = 1,
    padding: Padding | str = "SAME",
) -> Float[Array, "batch *other features"]:
    """y[i] = sum over k of x[stride i + k - before] kernel[k], along any number of spatial axes.

    `padding` is (before, after) zeros for every axis, or "SAME" or "VALID" as in `jax.lax.padtype_to_pads`. Has
    derivatives of every order, forwards and backwards.
    """
    window = kernel.shape[:-2]
    if isinstance(padding, str):
        padding = tuple(lax.padtype_to_pads(x.shape[1:-1], window, (stride,) * len(window), padding))
    return _convolution.bind(x, kernel, stride=stride, padding=padding)


def _native(x: Array, kernel: Array, *, stride: int, padding: Padding, **dilation: Any) -> Array:
    axes = x.ndim - 2
    space = "DHW"[-axes:] if axes <= 3 else "".join(chr(ord("a") + i) for i in range(axes))
    numbers = (f"N{space}C", f"{space}IO", f"N{space}C")
    return lax.conv_general_dilated(x, kernel, (stride,) * axes, padding, dimension_numbers=numbers, **dilation)


def _input_gradient(ct: Array, x: Any, kernel: Array, *, stride: int, padding: Padding) -> Array:
    """By the compiler's rule, or on a CPU by ours."""
    how = {"stride": stride, "padding": padding}
    shape = jax.ShapeDtypeStruct(x.aval.shape, x.aval.dtype)

    def theirs(ct: Array, kernel: Array) -> Array:
        return jax.linear_transpose(lambda x: _native(x, kernel, **how), shape)(ct)[0]

    return lax.platform_dependent(ct, kernel, cpu=partial(_of_inputs, shape=shape.shape, **how), default=theirs)


def _kernel_gradient(ct: Array, x: Array, kernel: Any, *, stride: int, padding: Padding) -> Array:
    """By the compiler's rule, or on a CPU by ours."""
    how = {"stride": stride, "padding": padding}
    shape = jax.ShapeDtypeStruct(kernel.aval.shape, kernel.aval.dtype)

    def theirs(ct: Array, x: Array) -> Array:
        return jax.linear_transpose(lambda kernel: _native(x, kernel, **how), shape)(ct)[0]

    return lax.platform_dependent(ct, x, cpu=partial(_of_kernel, shape=shape.shape, **how), default=theirs)


def _of_inputs(ct: Array, kernel: Array, *, shape: tuple[int, ...], stride: int, padding: Padding) -> Array:
    """The convolution of the cotangent, zeros between its sites, with the kernel turned round."""
    axes = ct.ndim - 2
    turned = jnp.flip(kernel, tuple(range(axes))).swapaxes(-1, -2)
    pads = tuple(
        (k - 1 - before, size + before - (out - 1) * stride - 1)
        for size, k, out, (before, _) in zip(shape[1:-1], kernel.shape, ct.shape[1:-1], padding, strict=False)
    )
    return _native(ct, turned, stride=1, padding=pads, lhs_dilation=(stride,) * axes)


def _of_kernel(ct: Array, x: Array, *, shape: tuple[int, ...], stride: int, padding: Padding) -> Array:
    """The convolution of the images with the cotangent as its kernel; channels take the batch's place and it theirs."""
    axes = ct.ndim - 2
    space = tuple(range(1, axes + 1))
    pads = tuple(
        (before, k + (out - 1) * stride - size - before)
        for size, k, out, (before, _) in zip(x.shape[1:-1], shape, ct.shape[1:-1], padding, strict=False)
    )
    # The exchanges are slow when they are fused with what makes their operands.
    x, ct = lax.optimization_barrier((x, ct))
    images, window = x.transpose(axes + 1, *space, 0), ct.transpose(*space, 0, axes + 1)
    gradient = _native(images, window, stride=1, padding=pads, rhs_dilation=(stride,) * axes)
    return gradient.transpose(*space, 0, axes + 1)


_convolution = Primitive("canonical_convolution")
_convolution.def_impl(jax.jit(_native, static_argnames=("stride", "padding")))
mlir.register_lowering(_convolution, mlir.lower_fun(_native, multiple_results=False))
ad.defbilinear(_convolution, _input_gradient, _kernel_gradient)


@_convolution.def_abstract_eval
def _shape(x: Any, kernel: Any, **how: Any) -> Any:
    out = jax.eval_shape(partial(_native, **how), x, kernel)
    return ShapedArray(out.shape, out.dtype)


def _batched(arguments: Any, axes: Any, **how: Any) -> tuple[Array, int]:
    x, kernel = arguments
    if axes[1] is None:  # more images
        x = jnp.moveaxis(x, axes[0], 0)
        y = _convolution.bind(x.reshape(-1, *x.shape[2:]), kernel, **how)
        return y.reshape(*x.shape[:2], *y.shape[1:]), 0
    return jax.vmap(partial(_native, **how), axes)(x, kernel), 0


batching.primitive_batchers[_convolution] = _batched
