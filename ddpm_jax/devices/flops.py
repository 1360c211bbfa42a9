"""Floating-point operations of a traced function: those of its matrix products and convolutions, loops counted out.

The compiler's own count takes the body of a loop once, which is no use for a chain of sampling steps. Imports nothing
of the other rooms.
"""

import math
from typing import Any

import jax
from jaxtyping import PyTree

from ddpm_jax.plugins import Function


def of_function(function: Function, *inputs: Any) -> float:
    """FLOPs of one call on inputs of these shapes; nan where a loop's length is not known before it runs."""
    return of_jaxpr(jax.make_jaxpr(function)(*inputs))


def of_jaxpr(jaxpr: Any) -> float:
    """FLOPs of the matrix products and convolutions of a traced function, two for a multiplication and its addition.

    Counted as PyTorch's `FlopCounterMode` does, which leaves all else out and takes a convolution's border as whole. Of
    the branches of a condition the dearest counts.
    """
    total = 0.0
    for step in jaxpr.eqns:
        name, inner = step.primitive.name, [of_jaxpr(one) for one in _inner(step.params)]
        if name == "dot_general":
            (contracted, _), _ = step.params["dimension_numbers"]
            shape = step.invars[0].aval.shape
            total += 2.0 * step.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)
        elif name == "conv_general_dilated":
            kernel, numbers = step.invars[1].aval, step.params["dimension_numbers"]
            total += 2.0 * step.outvars[0].aval.size * kernel.size / kernel.shape[numbers.rhs_spec[0]]
        elif name == "canonical_convolution":  # of ddpm_jax.models.convolution
            kernel = step.invars[1].aval
            total += 2.0 * step.outvars[0].aval.size * kernel.size / kernel.shape[-1]
        elif name.startswith(
            "efficient_attention"
        ):  # of ddpm_jax.models.efficient_attention: two products, or their five
            query, key = (step.invars[i].aval for i in range(2))
            total += (2 if len(step.outvars) == 1 else 5) * 2.0 * query.size * key.shape[2]
        elif name == "shard_map":  # what it holds is of one device
            total += step.params["mesh"].size * sum(inner)
        elif name == "while":
            total += math.nan if any(inner) else 0.0
        elif name == "cond":
            total += max(inner)
        else:
            total += (step.params.get("length", 1) if name == "scan" else 1) * sum(inner)
    return total


def _inner(params: dict[str, PyTree]) -> list[Any]:
    """The traced functions among the parameters of a step."""
    values = [item for value in params.values() for item in (value if isinstance(value, list | tuple) else [value])]
    traced = [getattr(value, "jaxpr", value) for value in values]
    return [value for value in traced if hasattr(value, "eqns")]


def speed(flops: float, peak: float | None, steps: int, seconds: float) -> dict[str, float]:
    """FLOP/s of the model over some steps, and their share of the devices' peak, as far as they are known.

    Args:
        flops: of the model in one step, without what rematerialisation computes again.
        peak: of all devices together.
        steps: how many.
        seconds: how long they took.

    Returns:
        `flops_per_second`, and `model_flops_utilisation` in [0, 1].
    """
    if flops <= 0:
        return {}
    rate = flops * steps / max(seconds, 1e-9)
    return {"flops_per_second": rate, **({"model_flops_utilisation": rate / peak} if peak else {})}
