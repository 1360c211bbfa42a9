"""Training data on their way to the devices: all of them there, or batches that the host reads ahead."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Key, PyTree

from ddpm_jax.data import Source, draw, host_batches, prefetch
from ddpm_jax.devices.plan import Plan
from ddpm_jax.files import Record


@runtime_checkable
class Feed(Protocol):
    """Training data, as a step draws its batch from what a dispatch is given."""

    resident: ClassVar[bool]

    def data(self, start: int) -> AbstractContextManager[Callable[[int, int], PyTree]]:
        """From the step that a run starts at to a context of `(step, count) -> data` of a dispatch."""
        ...

    def draw(self, data: PyTree, keys: Key[jax.Array, " rows"], i: int | jax.Array) -> Record:
        """The rows of the i-th step of a dispatch: `{"image", "condition", "row"}`."""
        ...

    @property
    def example(self) -> PyTree:
        """Shapes and types of the data of a dispatch."""
        ...


@dataclass(frozen=True, eq=False)
class Resident:
    """The whole set on every device; a step draws its batch itself.

    Pictures lie there flat, `[examples, values]`: a TPU pads the last axis to 128, forty times three channels, and
    would copy all of them for a gather.
    """

    source: Source
    plan: Plan
    flip: bool
    resident: ClassVar[bool] = True

    @cached_property
    def arrays(self) -> PyTree:
        """Images and conditions, on the devices."""
        return self.plan.replicate(_flat(self.source.arrays()))

    @contextmanager
    def data(self, start: int) -> Iterator[Callable[[int, int], PyTree]]:
        """Whatever the step, all of it."""
        yield lambda step, count: self.arrays

    def draw(self, data: PyTree, keys: Key[jax.Array, " rows"], i: int | jax.Array) -> Record:
        """Rows drawn with replacement."""
        described = self.source.description
        rows = draw(data[0], data[1], keys, flip=self.flip, shape=described.shape)
        pictures = {name: kind.shape for name, kind in described.conditions.kinds if len(kind.shape) > 2}
        told = {name: rows["condition"][name].reshape(-1, *shape) for name, shape in pictures.items()}
        return {**rows, "condition": {**rows["condition"], **told}}

    @property
    def example(self) -> PyTree:
        """Shapes and types of all of it."""
        return jax.eval_shape(_flat, self.source.arrays())  # read outside: an encoder may run then


def _axes(rows: Any) -> int:
    return getattr(rows, "ndim", 0)  # what a frozen encoder reads is indexed by rows, but is no array


def _flat(arrays: PyTree) -> PyTree:
    images, conditions = arrays
    pictures = {name: rows.reshape(len(rows), -1) for name, rows in conditions.items() if _axes(rows) > 3}
    return images.reshape(len(images), -1), {**conditions, **pictures}


@dataclass(frozen=True, eq=False)
class FromHost:
    """Batches that the host reads ahead; a dispatch is given those of all its steps, `[dispatch, batch, ...]`."""

    source: Source
    plan: Plan
    batch: int
    dispatch: int
    seed: int
    flip: bool
    resident: ClassVar[bool] = False

    @contextmanager
    def data(self, start: int) -> Iterator[Callable[[int, int], PyTree]]:
        """Those of the steps asked for, which come in turn."""
        rows = self.plan.local_rows(self.batch)
        batches = host_batches(self.source, self.seed, self.batch, rows, self.flip)
        with closing(prefetch(batches, start, 2**62, depth=2 * self.dispatch)) as ahead:

            def steps(step: int, count: int) -> PyTree:
                ready = list(itertools.islice(ahead, count))
                ready += [ready[-1]] * (self.dispatch - count)  # a shorter dispatch is the same program
                return self.plan.put_steps(jax.tree.map(lambda *parts: np.stack(parts), *ready))

            yield steps

    def draw(self, data: PyTree, keys: Key[jax.Array, " rows"], i: int | jax.Array) -> Record:
        """The i-th step's."""
        return jax.tree.map(lambda a: a[i], data)

    @property
    def example(self) -> PyTree:
        """Shapes and types of those of a dispatch."""
        shape = (self.dispatch, self.batch, *self.source.description.shape)
        return {
            "image": jax.ShapeDtypeStruct(shape, jnp.uint8),
            "condition": {
                name: jax.ShapeDtypeStruct((*shape[:2], *kind.shape), kind.dtype)
                for name, kind in self.source.description.conditions.kinds
            },
            "row": jax.ShapeDtypeStruct(shape[:2], jnp.int32),
        }
