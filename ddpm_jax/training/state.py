"""Everything that a run carries from one step to the next."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """The training state, a pytree. Its leaves are arrays, or what stands for them: shapes, shardings.

    Attributes:
        params: what the gradient changes.
        frozen: what it does not (a pretrained encoder, a teacher); saved once.
        ema: exponential moving averages of `params`, one for each decay, by the decay's text ("0.999").
        opt_state: optax's.
        extra: state of the time distribution (a history of losses); empty for most.
        step: steps done, int32 `[]`.
        skipped: of these, those whose gradient was not finite and which changed nothing: in all, and in a row up to
            now; int32 `[2]`.
    """

    params: PyTree
    frozen: PyTree
    ema: dict[str, PyTree]
    opt_state: PyTree
    extra: PyTree
    step: Any
    skipped: Any


def new_state(
    params: PyTree, decays: tuple[float, ...], optimizer: Any, frozen: Any = None, extra: Any = None
) -> TrainState:
    """The state before the first step; averages start at the parameters."""
    return TrainState(
        params=params,
        frozen={} if frozen is None else frozen,
        ema={str(decay): jax.tree.map(jnp.copy, params) for decay in decays},
        opt_state=optimizer.init(params),
        extra={} if extra is None else extra,
        step=jnp.zeros((), jnp.int32),
        skipped=jnp.zeros((2,), jnp.int32),
    )


def weights(state: TrainState, ema: float) -> PyTree:
    """The parameters to use: the average of this decay, or the raw ones for 0."""
    return state.ema[str(ema)] if ema else state.params
