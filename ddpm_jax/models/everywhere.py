"""What is the same at all sites, and the sum over sites: each is the other's gradient.

A bias, a scale or an embedding has such a sum for its gradient. On a CPU, XLA takes it on one core and value by value;
as a matrix product it is some ten times faster (8 MB, two cores). Which of the two it is, is chosen where a program is
lowered for a device, not where it is traced: so a program for an accelerator, made on a CPU, has the accelerator's.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float


def repeat(a: Float[Array, "*batch features"], count: int) -> Float[Array, "*batch {count} features"]:
    """a at each of `count` sites."""
    return _repeat.bind(a, count=count)


def total(x: Float[Array, "*batch sites features"]) -> Float[Array, "*batch features"]:
    """The sum over sites."""
    return _total.bind(x)


def everywhere(a: Float[Array, "batch features"], x: Float[Array, "batch *space channels"]) -> Array:
    """a as something to add to, or multiply with, all sites of x."""
    return repeat(a, x[0, ..., 0].size).reshape(a.shape[0], *x.shape[1:-1], a.shape[-1])


def _broadcast(a: Array, *, count: int) -> Array:
    return jnp.broadcast_to(a[..., None, :], (*a.shape[:-1], count, a.shape[-1]))


def _sum(x: Array) -> Array:
    return x.sum(-2)


def _product(x: Array) -> Array:
    return (jnp.ones((*x.shape[:-2], 1, x.shape[-2]), x.dtype) @ x)[..., 0, :]


_repeat, _total = Primitive("repeat_at_sites"), Primitive("sum_over_sites")
_repeat.def_impl(jax.jit(_broadcast, static_argnames="count"))
_repeat.def_abstract_eval(lambda a, *, count: ShapedArray((*a.shape[:-1], count, a.shape[-1]), a.dtype))
_total.def_impl(jax.jit(_total.bind))
_total.def_abstract_eval(lambda x: ShapedArray((*x.shape[:-2], x.shape[-1]), x.dtype))
mlir.register_lowering(_repeat, mlir.lower_fun(_broadcast, multiple_results=False))
mlir.register_lowering(_total, mlir.lower_fun(_sum, multiple_results=False))
mlir.register_lowering(_total, mlir.lower_fun(_product, multiple_results=False), platform="cpu")
ad.deflinear2(_repeat, lambda ct, a, *, count: [total(ct)])
ad.deflinear2(_total, lambda ct, x: [repeat(ct, x.aval.shape[-2])])


def _batched(primitive: Any) -> Any:
    def rule(arguments: Any, axes: Any, **how: Any) -> tuple[Array, int]:
        return primitive.bind(jnp.moveaxis(arguments[0], axes[0], 0), **how), 0  # leading axes are a batch

    return rule


batching.primitive_batchers[_repeat] = _batched(_repeat)
batching.primitive_batchers[_total] = _batched(_total)
