"""A network as two pure functions, so that no other folder needs to know how its layers are written."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from ddpm_jax.conditions import NONE, Condition, Conditions


@dataclass(frozen=True)
class Network:
    """`init(key) -> params` and `apply(params, x, time, condition, dropout_keys) -> output`.

    >>> from ddpm_jax import models
    >>> network = models.make("dit", (8, 8, 1), 1, channels=8, depth=1, heads=1, patch=4)
    >>> network.apply(network.init(jax.random.key(0)), jnp.zeros((2, 8, 8, 1)), jnp.zeros(2)).shape
    (2, 8, 8, 1)

    `module` is a Linen module that is called with `(x, time, condition, dropout_keys)`; it is static and hashable.
    `shape` is one input without the batch, `(*space, channels)`. `conditions` are those it is told, by name. The output
    of a `causal` network at a site depends on the groups of sites before it only, so it can be computed group by group:
    `start`, `advance`.
    """

    module: Any
    shape: tuple[int, ...]
    conditions: Conditions = NONE
    causal: bool = False

    @property
    def looped(self) -> tuple[str, ...]:
        """The names of blocks that are a loop, which gathers each one's shares when it runs (see `shares`)."""
        return getattr(self.module, "looped", ())

    @property
    def once(self) -> "Network":
        """The same network without rematerialisation: it computes nothing twice."""
        return replace(self, module=self.module.clone(remat=False)) if getattr(self.module, "remat", False) else self

    def init(self, key: Key[Array, ""]) -> PyTree[Float[Array, "..."]]:
        """Fresh parameters: nested dicts of float32 arrays. They depend on `key` alone, not on a batch size."""
        with jax.enable_x64(False):  # initialisers would follow the flag
            return _init(self, key)

    def apply(
        self,
        params: PyTree[Float[Array, "..."]],
        x: Float[Array, "batch *space channels"],
        time: Float[Array, " batch"],
        condition: Condition | None = None,
        dropout_keys: Key[Array, " batch"] | None = None,
    ) -> Float[Array, "batch *answer"]:
        """The output for `x` at `time`, the number this network is told (such as DDPM's 0 to 999), float32.

        `[batch, *space, out_channels]`, or `[batch, out_channels]` of a network in `models.POOLED`.

        `condition` has a value for each of the network's conditions, a row an example; None says nothing. ValueError
        where it has others. `dropout_keys`: None evaluates; a key for each example trains, and then row i of the output
        depends on key i alone.
        """
        if x.shape[1:] != self.shape:
            raise ValueError(f"the network was made for inputs of shape {self.shape}, not {x.shape[1:]}")
        condition = self._condition(condition, x.shape[0])
        return self.module.apply({"params": params}, x, time, condition, dropout_keys)

    def bind(
        self, params: PyTree[Float[Array, "..."]], dropout_keys: Key[Array, " batch"] | None = None
    ) -> "BoundNetwork":
        """With these parameters; in training mode if there are keys for dropout."""
        return BoundNetwork(self, params, dropout_keys)

    def start(
        self,
        params: PyTree[Float[Array, "..."]],
        count: int,
        condition: Condition | None = None,
        groups: int | None = None,
    ) -> PyTree:
        """What a causal network remembers of `count` images before their first group: a pytree whose shapes stay.

        With `groups` there is room for so many of the first. Zeros at the ends of its axes make room for more.
        """
        condition = self._condition(condition, count)
        return self.module.apply({"params": params}, self.shape, count, condition, groups, method="start_cache")

    def advance(
        self,
        params: PyTree[Float[Array, "..."]],
        cache: PyTree[Array],
        x: Float[Array, "batch *space channels"],
        step: Int[Array, ""],
    ) -> tuple[Float[Array, "batch chunk out"], PyTree[Array]]:
        """A causal network's output at the sites of group `step`, and what it remembers from then on.

        `x` holds the groups before `step`; what it holds elsewhere does not matter. Steps are taken in turn from 0.
        Equal to `apply` at these sites, without computing the others again.
        """
        return self.module.apply({"params": params}, cache, x, step, method="advance")

    def _condition(self, condition: Condition | None, count: int) -> Condition:
        if not condition:
            return self.conditions.null(count)
        if set(condition) != set(self.conditions):
            known = ", ".join(self.conditions) or "nothing"
            raise ValueError(f"a condition of {', '.join(condition)} was given to a network that is told {known}")
        return condition


@dataclass(frozen=True, eq=False)
class BoundNetwork:
    """A network with its parameters, in one mode: what a denoiser calls."""

    network: Network
    params: PyTree
    dropout_keys: Key[Array, " batch"] | None = None

    def __call__(
        self, x: Float[Array, "batch *space channels"], time: Float[Array, " batch"], condition: PyTree = None
    ) -> Float[Array, "batch *answer"]:
        """See `Network.apply`."""
        return self.network.apply(self.params, x, time, condition, self.dropout_keys)

    def start(self, count: int, condition: PyTree = None, groups: int | None = None) -> PyTree[Array]:
        """See `Network.start`."""
        return self.network.start(self.params, count, condition, groups)

    def advance(
        self, cache: PyTree[Array], x: Float[Array, "batch *space channels"], step: Int[Array, ""]
    ) -> tuple[Float[Array, "batch chunk out"], PyTree[Array]]:
        """See `Network.advance`."""
        return self.network.advance(self.params, cache, x, step)


@partial(jax.jit, static_argnums=0)  # the many small draws become one program, and the network itself is not run
def _init(network: Network, key: Array) -> PyTree:
    condition = network.conditions.null(1)
    return network.module.init(key, jnp.zeros((1, *network.shape)), jnp.zeros(1), condition, None)["params"]


def parameter_count(params: PyTree) -> int:
    """The number of scalar parameters in a tree of arrays (or of their shapes, from `jax.eval_shape`)."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
