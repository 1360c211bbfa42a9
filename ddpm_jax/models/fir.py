"""Halving and doubling the size of images with a short symmetric filter, along any number of spatial axes.

A filter is its taps along one axis, an even number of them; along several axes it is their outer product. The taps are
divided by their sum. (1, 1) averages pairs and repeats the nearest value; (1, 3, 3, 1) is the filter of StyleGAN 2
(Karras et al. 2020, arXiv:1912.04958), whose aliasing is weaker. Outside the image is 0, as published: the outermost
values of a constant image change under (1, 3, 3, 1).
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def halve(
    x: Float[Array, "batch *space channels"], taps: Sequence[int], pad: int | None = None
) -> Float[Array, "batch *half channels"]:
    """Half the size: y[i] = sum over k of w[k] x[2 i + k - pad] along every axis, w = taps / sum(taps).

    The default padding, len(taps)/2 - 1 zeros at either end, takes an even size n to n/2 and centres the filter.
    """
    pad = len(taps) // 2 - 1 if pad is None else pad
    weights = [tap / sum(taps) for tap in taps]
    for axis in range(1, x.ndim - 1):
        x = _pad(x, pad, axis)
        count = (x.shape[axis] - len(taps)) // 2 + 1
        parts = (w * lax.slice_in_dim(x, k, k + 2 * count - 1, 2, axis) for k, w in enumerate(weights))
        x = sum(parts, jnp.zeros((), x.dtype))
    return x


def double(x: Float[Array, "batch *space channels"], taps: Sequence[int]) -> Float[Array, "batch *twice channels"]:
    """Twice the size: zeros between the values, then the filter times 2, along every axis. 2^axes `halve`'s transpose.

    y[j] = sum over i of 2 w[j + p - 2 i] x[i], p = len(taps)/2 - 1, w = taps / sum(taps) and 0 outside.
    """
    pad, reach = len(taps) // 2 - 1, len(taps) // 2
    weights = [2 * tap / sum(taps) for tap in taps]
    for axis in range(1, x.ndim - 1):
        size, padded = x.shape[axis], _pad(x, reach, axis)
        phases = []
        for phase in (0, 1):  # of the even and of the odd outputs, each of which sees every second tap
            total = jnp.zeros((), x.dtype)
            for k in range((phase + pad) % 2, len(taps), 2):
                start = reach + (phase + pad - k) // 2
                total = total + weights[k] * lax.slice_in_dim(padded, start, start + size, axis=axis)
            phases.append(total)
        x = jnp.stack(phases, axis + 1).reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
    return x


def _pad(x: Array, count: int, axis: int) -> Array:
    return jnp.pad(x, [(count, count) if i == axis else (0, 0) for i in range(x.ndim)])
