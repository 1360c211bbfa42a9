"""Which attention: plain, or one that never holds the weights of all tokens at all others.

The latter is cuDNN's kernel on NVIDIA GPUs and JAX's own in Pallas on a TPU (Dao et al. 2022), where they can; else
`attention.attend_in_blocks`, also where the compiler divides a program over TPUs (evaluation under `fsdp`), as it
cannot divide a kernel.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir
from jaxtyping import Array, Float

from ddpm_jax.models.attention import attend_before, attend_in_blocks, attend_where

LONG = 4096
"""Tokens from which not all weights are held, whatever is asked for: 16,384 would take 1 GB a head of one image."""

LANES = 128
"""The kernel of TPUs takes a multiple of so many tokens."""

Heads = Float[Array, "batch heads tokens features"]


def attend(query: Heads, key: Heads, value: Heads, chunk: int = 0, fused: bool = False) -> Heads:
    """softmax(query key^T / sqrt(features)) value, over the same and earlier groups of `chunk` tokens, or over all (0).

    `fused`: without all weights in memory, by a kernel where there is one. It has a gradient but no forward derivative,
    so it serves in training only.
    """
    if fused:
        return (_cudnn if _has_cudnn(query, chunk) else attend_efficiently)(query, key, value, chunk)
    if query.shape[2] > LONG:
        return attend_in_blocks(query, key, value, chunk)
    return attend_before(query, key, value, chunk) if chunk else attend_where(query, key, value)


def _has_cudnn(query: Heads, chunk: int) -> bool:
    """Whether a GPU is there to lower for: JAX looks for cuDNN as it traces. Its kernel takes bfloat16, a multiple of 8
    and up to 128 features, chunk 0 or 1."""
    able = chunk <= 1 and query.dtype == jnp.bfloat16 and query.shape[-1] <= 128 and query.shape[-1] % 8 == 0
    return able and jax.default_backend() == "gpu"


def _cudnn(query: Heads, key: Heads, value: Heads, chunk: int) -> Heads:
    last = (a.transpose(0, 2, 1, 3) for a in (query, key, value))
    h = jax.nn.dot_product_attention(*last, is_causal=bool(chunk), implementation="cudnn")
    return h.transpose(0, 2, 1, 3)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def attend_efficiently(query: Heads, key: Heads, value: Heads, chunk: int = 0) -> Heads:
    """`attend`, by what is chosen where a program is lowered for a device."""
    return _attention.bind(query, key, value, chunk=chunk)


def _forward(query: Heads, key: Heads, value: Heads, chunk: int) -> tuple[Heads, tuple[Heads, Heads, Heads]]:
    return _attention.bind(query, key, value, chunk=chunk), (query, key, value)


def _backward(chunk: int, kept: tuple[Heads, Heads, Heads], gradient: Heads) -> tuple[Heads, Heads, Heads]:
    return tuple(_gradients.bind(*kept, gradient, chunk=chunk))


attend_efficiently.defvjp(_forward, _backward)


def _pallas(query: Heads, key: Heads, value: Heads, chunk: int) -> Heads:
    from jax.experimental.pallas.ops.tpu.flash_attention import flash_attention

    return flash_attention(query, key, value, causal=bool(chunk), sm_scale=1 / math.sqrt(query.shape[-1]))


def _anywhere(query: Any, chunk: int, devices: int) -> Any:
    return attend_in_blocks


def _on_tpus(query: Any, chunk: int, devices: int) -> Any:
    """Pallas's where it can: one device, whole lanes of tokens, lanes of features or fewer, chunk 0 or 1."""
    tokens, features = query.shape[2:]
    able = chunk <= 1 and tokens % LANES == 0 and (features <= LANES or features % LANES == 0)
    return _pallas if devices == 1 and able else attend_in_blocks


def _valued(attend: Any, query: Heads, key: Heads, value: Heads) -> tuple[Heads]:
    # as the gradient computes it: what is the same twice is computed once
    return (jax.vjp(attend, query, key, value)[0],)


def _pulled(attend: Any, query: Heads, key: Heads, value: Heads, gradient: Heads) -> tuple[Heads, ...]:
    return jax.vjp(attend, query, key, value)[1](gradient)


def _rule(choose: Any, function: Any) -> Any:
    """How a primitive is lowered, by what is chosen for a platform."""

    def rule(context: Any, *arguments: Any, chunk: int) -> Any:
        devices = getattr(context.module_context.axis_context, "num_devices", 1)
        attend = partial(choose(context.avals_in[0], chunk, devices), chunk=chunk)
        return mlir.lower_fun(partial(function, attend), multiple_results=True)(context, *arguments)

    return rule


def _batched(primitive: Any) -> Any:
    """An axis of many batches is put before that of the batch."""

    def rule(arguments: Any, axes: Any, *, chunk: int) -> tuple[Any, Any]:
        size = next(a.shape[axis] for a, axis in zip(arguments, axes, strict=True) if axis is not None)
        moved = [
            jnp.broadcast_to(a, (size, *a.shape)) if axis is None else jnp.moveaxis(a, axis, 0)
            for a, axis in zip(arguments, axes, strict=True)
        ]
        found = primitive.bind(*(a.reshape(-1, *a.shape[2:]) for a in moved), chunk=chunk)
        if primitive.multiple_results:
            return [a.reshape(size, -1, *a.shape[1:]) for a in found], [0] * len(found)
        return found.reshape(size, -1, *found.shape[1:]), 0

    return rule


_attention, _gradients = Primitive("efficient_attention"), Primitive("efficient_attention_gradients")
_gradients.multiple_results = True
_attention.def_impl(jax.jit(_attention.bind, static_argnames="chunk"))
_attention.def_abstract_eval(lambda query, key, value, *, chunk: ShapedArray(query.shape, query.dtype))
_gradients.def_impl(jax.jit(_gradients.bind, static_argnames="chunk"))
_gradients.def_abstract_eval(
    lambda query, key, value, gradient, *, chunk: [ShapedArray(a.shape, a.dtype) for a in (query, key, value)]
)
for _choose, _platform in ((_anywhere, None), (_on_tpus, "tpu")):
    mlir.register_lowering(_attention, _rule(_choose, _valued), platform=_platform)
    mlir.register_lowering(_gradients, _rule(_choose, _pulled), platform=_platform)
batching.primitive_batchers[_attention] = _batched(_attention)
batching.primitive_batchers[_gradients] = _batched(_gradients)
