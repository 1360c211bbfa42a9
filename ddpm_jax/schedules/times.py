"""Training-time distributions: which interval (s, t] each example of a batch looks at.

A time distribution is a function `(key, count) -> (t, s)` for the whole batch at once, so that the times of a batch
may depend on one another (stratified times). In continuous time s = t.
"""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float, Key

Times = Callable[[Key[Array, ""], int], tuple[Float[Array, " batch"], Float[Array, " batch"]]]


def discrete(steps: int) -> Times:
    """t = i/T and s = (i - 1)/T with i uniform in 1 ... T (Ho et al. 2020, algorithm 1)."""

    def times(key: Key[Array, ""], count: int) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
        index = jax.random.randint(key, (count,), 1, steps + 1)
        return index / steps, (index - 1) / steps

    return times
