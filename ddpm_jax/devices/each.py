"""A function of rows, in batches over all devices, that gives back every row: of samples, likelihoods, losses."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import lax
from jaxtyping import PyTree

if TYPE_CHECKING:
    from ddpm_jax.devices.plan import Plan


@dataclass(frozen=True, eq=False)
class Each:
    """`(shared, rows, progress=None) -> results` as host arrays, the same in every process.

    Attributes:
        plan: the devices.
        function: `(shared, rows) -> results`; both pytrees of arrays with one row an example.
        batch: rows at once, a multiple of the devices.
    """

    plan: "Plan"
    function: Callable[[Any, Any], Any]
    batch: int

    @cached_property
    def program(self) -> Any:
        """The function on a batch, compiled; its results are whole on every device."""
        if self.plan.axis is None:
            return jax.jit(self.function, out_shardings=self.plan.sharding())
        axis = self.plan.axis

        def gathered(shared: PyTree, rows: PyTree) -> Any:
            return jax.tree.map(lambda a: lax.all_gather(a, axis, tiled=True), self.function(shared, rows))

        return self.plan.mapped(gathered, (None, 0), ())

    def __call__(
        self, shared: PyTree, rows: PyTree, progress: Callable[[range], Iterator[int]] | None = None
    ) -> PyTree:
        """All rows. The last batch is padded by its first row, and the padding's results are dropped.

        `progress` wraps the iterator over batches' first rows (a progress bar).
        """
        rows = jax.tree.map(np.asarray, rows)
        total = len(jax.tree.leaves(rows)[0])
        parts = []
        starts = range(0, total, self.batch)
        for start in progress(starts) if progress else starts:
            chosen = np.arange(start, start + self.batch)
            chosen[chosen >= total] = start
            given = self.plan.put_rows(jax.tree.map(lambda a, chosen=chosen: a[chosen], rows))
            result = self.program(shared, given)
            parts.append(jax.tree.map(lambda a, start=start: np.asarray(a)[: total - start], result))
        return jax.tree.map(lambda *pieces: np.concatenate(pieces), *parts)
